"""Pages of Debian's documentation packages, which other benchmarks measure on; fetched with apt-get once."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from resiliparse.extract.html2text import extract_plain_text

CACHE = Path(tempfile.gettempdir()) / "tierline-debian"


def fetched(package: str, cache: Path = CACHE) -> Path:
    """The folder of an unpacked package."""
    folder = cache / package
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", package], cwd=cache, check=True, stdout=subprocess.DEVNULL)
        archive = next(cache.glob(f"{package}_*.deb"))
        subprocess.run(["dpkg", "-x", archive.name, package], cwd=cache, check=True)
    return folder


def pages(package: str, cache: Path = CACHE, languages: str = "en-US") -> list[Path]:
    """The HTML pages of a package, in the order of their paths; of the handbook's languages, English or `all`."""
    found = [
        path for path in sorted(fetched(package, cache).rglob("*.html")) if path.is_file() and not path.is_symlink()
    ]
    return [path for path in found if package != "debian-handbook" or languages in ("all", *path.parts)]


def texts(package: str, count: int, cache: Path = CACHE, main_content: bool = True) -> Iterator[str]:
    """Text of about `count` pages of a package, evenly drawn; without `main_content` menus and footers stay in."""
    found = pages(package, cache)
    for path in found[:: max(1, len(found) // count)]:
        yield extract_plain_text(path.read_text("utf-8", "replace"), main_content=main_content)
