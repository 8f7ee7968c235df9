"""Documents that the scorer's benchmark looks at: pages to judge, and pools of good and bad pages."""

from __future__ import annotations

import gzip
from collections.abc import Collection, Iterator
from pathlib import Path

import debian
import record
import xxhash
from resiliparse.extract.html2text import extract_plain_text

JUDGED = {
    "python3.11-doc": 220, "linux-doc-6.1": 280, "debian-handbook": 90, "libreoffice-help-en-us": 220,
    "python-pandas-doc": 150, "openjdk-17-doc": 120, "sagemath-doc": 120,
}  # fmt: skip
"""About how many pages of each package are judged."""
PROSE = {
    "python3.11-doc": ("tutorial", "howto", "library", "reference", "whatsnew"),
    "linux-doc-6.1": ("admin-guide", "core-api", "filesystems", "process", "driver-api", "networking"),
    "debian-handbook": (),
    "libreoffice-help-en-us": (),
    "python-pandas-doc": ("user_guide", "getting_started", "development"),
}
"""Where documentation is prose."""
LISTS = (
    "genindex", "py-modindex", "package-tree", "package-use", "overview-tree", "allclasses", "allpackages", "index-",
    "search", "contents", "constant-values", "serialized-form", "deprecated-list", "module-summary",
)  # fmt: skip
"""Names of pages that are navigation."""
INDEXED = ("openjdk-17-doc", "sagemath-doc", "linux-doc-6.1", "python3.11-doc", "python-pandas-doc")
NOTES = ("*/copyright", "*/changelog*.gz")
ALL = frozenset((*PROSE, *INDEXED, *NOTES))
NEAR = frozenset(("python3.11-doc", "debian-handbook", "python-pandas-doc", "openjdk-17-doc", "*/copyright"))
FAR = ALL - NEAR
"""Where pages to train on come from, and where those to look at, for the harder comparison."""
LEAST = 400
"""Characters below which a page is left out."""


def pages_to_judge() -> list[str]:
    """Pages of documentation and of news, without the navigation around them."""
    texts = [text for package, count in JUDGED.items() for text in debian.texts(package, count)]
    news = sorted((record.SHARED / "extraction" / "html").glob("*.html.gz"))
    texts += [_page(gzip.decompress(path.read_bytes()), main_content=True) for path in news]
    kept = {text for text in texts if len(text) >= LEAST}
    return sorted(kept, key=lambda text: xxhash.xxh3_64_intdigest(text.encode()))


def good_pages(packages: Collection[str] = ALL, each: int = 450) -> list[str]:
    """Documentation that is prose."""
    found: list[str] = []
    for package, folders in PROSE.items():
        if package not in packages:
            continue
        paths = [path for path in debian.pages(package) if not folders or set(folders) & set(path.parts)]
        paths = [path for path in paths if not path.name.startswith(LISTS)]
        found += [_page(path.read_bytes(), main_content=True) for path in paths[:: max(1, len(paths) // each)]]
    return sorted({text for text in found if len(text) >= LEAST})


def bad_pages(packages: Collection[str] = ALL, each: int = 450) -> list[str]:
    """Indices and other lists of links, licences, and logs of changes."""
    with_lists = [name for name in INDEXED if name in packages]
    lists = [path for name in with_lists for path in debian.pages(name) if path.name.startswith(LISTS)]
    found = [_page(path.read_bytes(), main_content=False) for path in lists[:: max(1, len(lists) // (2 * each))]]
    for pattern in [pattern for pattern in NOTES if pattern in packages]:
        paths = sorted(Path("/usr/share/doc").glob(pattern))
        found += [text for path in paths[:: max(1, len(paths) // each)] for text in _plain(path)]
    return sorted({text for text in found if len(text) >= LEAST})


def _page(content: bytes, main_content: bool) -> str:
    return str(extract_plain_text(content.decode("utf-8", "replace"), main_content=main_content))


def _plain(path: Path) -> Iterator[str]:
    if path.is_file():
        content = path.read_bytes()
        yield (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8", "replace")
