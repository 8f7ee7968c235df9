"""Pairs of raw and refined texts to train an editor with, and what is held out of them.

    python benchmarks/editor_data.py build/editor    # documentation packages are fetched with apt-get once, 180 MB

Real pairs are pages of documentation packages: the whole text, and all that stands in it from the first to the last
line of the main content that resiliparse finds by the page's HTML, which an editor doesn't see. Pages whose main
content can't be trusted, since it leaves out long lines or much of what is between, give none. Pages that list what
stands elsewhere, by their names, are worthless.

Synthetic pairs put blocks that stand around content into other content: blocks of documentation, of archived web
pages, and from the templates in `editor_noise.py`; and they break characters. Pages of blocks alone are worthless.

Held out are whole packages, a part of the others' pages, a part of the archived pages' blocks, and all news and blog
pages with the article that people marked.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import debian
import editor_noise
import record
from fastwarc.warc import ArchiveIterator, WarcRecordType
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.encoding import bytes_to_str, detect_encoding

from tiers.l3_edited.alignment import align_lines

TRAINED = (
    *("python3.11-doc", "linux-doc-6.1", "debian-handbook", "sagemath-doc", "apache2-doc", "postgresql-doc-15"),
    *("sqlite3-doc", "cmake-doc", "rust-doc", "libboost1.81-doc", "octave-doc", "lilypond-doc-html", "git-doc"),
    *("ghc-doc", "python-sqlalchemy-doc", "libgtk-3-doc", "gimp-help-en", "gimp-help-de", "scons-doc", "vim-doc"),
    *("slurm-wlm-doc", "exim4-doc-html", "zsh-doc", "asymptote-doc", "aptitude-doc-fr", "postfix-doc"),
    *(f"libreoffice-help-{language}" for language in ("en-us", "de", "es", "fr", "ja", "zh-cn")),
)
HELD_OUT = ("python-pandas-doc", "python-django-doc", "gnuplot-doc", "libreoffice-help-ru", "aptitude-doc-en")
WARC = ("aut-example", "ukwa-govuk-1", "resiliparse-warcfile", "clueweb-quirk", "ukwa-blackbook")
WORTHLESS = re.compile(
    r"/(genindex|py-modindex|modindex|search|index-\d+|index-all|allclasses|allpackages|keyword-index|function-index"
    r"|concept-index|bookindex|quick-toc|sitemap|doc-index|syntaxidx|cmdlist|api-index|changelog-index)[^/]*\.html$"
    r"|[-_](toc|tree|use|index|xref)\.html$|/all\.html$|/class-use/",
    re.IGNORECASE,
)
HAN = re.compile("[\u4e00-\u9fff]")
"""Blocks of archived pages in Chinese are mostly spam, which nobody should need to read."""


class Page(NamedTuple):
    """A page: what it is called, its whole text, and what of it is content; that is empty where it is worthless."""

    id: str
    raw: str
    refined: str


def held_out(name: str, percent: int) -> bool:
    """Whether a page or a block is not trained on."""
    return int(hashlib.md5(name.encode()).hexdigest(), 16) % 100 < percent


def package_pages(package: str, count: int, rng: random.Random) -> Iterator[Page]:
    """Pages of a package that can be trusted, and worthless ones; most without indentation."""
    found = debian.pages(package)
    for path in rng.sample(found, min(count, len(found))):
        html = path.read_text("utf-8", "replace")
        if not 500 < len(html) < 400_000:
            continue
        raw, main = (
            re.sub("[¶🔗🔎]\ufe0e?$", "", text, flags=re.MULTILINE).strip("\n")
            for text in (extract_plain_text(html), extract_plain_text(html, main_content=True))
        )
        if rng.random() < 0.6:
            raw, main = unindented(raw), unindented(main)
        name = f"{package}/{path.relative_to(debian.CACHE / package)}"
        worthless = WORTHLESS.search(str(path)) is not None
        refined = "" if worthless else trimmed(raw, main)
        if raw.strip() and len(raw) < 60_000 and refined is not None:
            yield Page(name, raw, refined)


def trimmed(raw: str, main: str) -> str | None:
    """All of `raw` from the first line of its main content to the last; `None` where that can't be trusted."""
    lines, content = raw.split("\n"), main.split("\n")
    kept = [i for i, j in align_lines(lines, content) if content[j].strip()]
    if len(kept) < 3:
        return None
    first, last = kept[0], kept[-1] + 1
    around = [line for line in lines[:first] + lines[last:] if line.strip()]
    within = [line for line in lines[first:last] if line.strip()]
    if len(kept) < 0.7 * len(within) or max(map(len, around), default=0) > 160:
        return None
    return "\n".join(lines[first:last]) if sum(map(len, around)) <= 40 * len(around) else None


def article_pages(folder: Path = record.SHARED / "extraction") -> Iterator[Page]:
    """News and blog pages, and the article that people marked."""
    for name, truth in sorted(json.loads((folder / "ground-truth.json").read_text("utf-8")).items()):
        html = gzip.decompress((folder / "html" / f"{name}.html.gz").read_bytes()).decode("utf-8", "replace")
        raw, refined = (
            unindented(text.replace("\xa0", " ")).strip("\n")
            for text in (extract_plain_text(html), truth["articleBody"])
        )
        yield Page(name, raw, refined)


def unindented(text: str) -> str:
    return re.sub(r"^[ \t]+", "", text, flags=re.MULTILINE)


def blocks_around(page: Page) -> list[str]:
    """The blocks before and behind what is content."""
    before, _, behind = unindented(page.raw).partition(unindented(page.refined))
    found = (block.strip("\n") for part in (before, behind) for block in re.split(r"\n\s*\n", part))
    return [block for block in found if block.strip() and len(block) < 1500]


def web_blocks(folder: Path = record.SHARED / "warc") -> list[str]:
    """Blocks of archived web pages that have short lines, none of which is in the main content."""
    found: set[str] = set()
    for name in WARC:
        with (folder / f"{name}.warc.gz").open("rb") as stream:
            for entry in ArchiveIterator(stream, record_types=WarcRecordType.response):
                if "html" not in (entry.http_content_type or ""):
                    continue
                content = entry.reader.read()
                html = bytes_to_str(content, detect_encoding(content) or "utf-8")
                left = {line.strip() for line in extract_plain_text(html, main_content=True).split("\n")}
                for block in re.split(r"\n\s*\n", unindented(extract_plain_text(html))):
                    lines = [line for line in block.split("\n") if line.strip()]
                    if _is_short(lines) and left.isdisjoint(map(str.strip, lines)) and not HAN.search(block):
                        found.add("\n".join(lines))
    return sorted(found)


def _is_short(lines: Sequence[str]) -> bool:
    return 0 < len(lines) < 30 and max(map(len, lines)) < 140 and sum(map(len, lines)) < 60 * len(lines)


def passages(folder: Path = record.SHARED / "qa") -> list[str]:
    """Paragraphs of encyclopaedias and papers."""
    found: list[str] = []
    for path in sorted(folder.glob("*corpus*")) + sorted(folder.glob("c*.json.gz")):
        rows = json.loads(gzip.decompress(path.read_bytes()))
        if isinstance(rows, dict):
            rows = rows.get("data") or [{"text": "\n".join(part)} for part in rows.values()]
        for row in rows:
            parts = row.get("paragraphs") or [row]
            found += [part.get("context") or part.get("text") or "" for part in parts]
    return [text for text in found if len(text) > 80]


class Mixer:
    """Makes synthetic pages of content and blocks, repeatably."""

    def __init__(self, pages: Sequence[Page], prose: Sequence[str], web: Sequence[str], seed: int) -> None:
        self.pages, self.prose, self.web = [page for page in pages if page.refined], prose, web
        packages: dict[str, set[str]] = {}
        for page in self.pages:
            packages.setdefault(page.id.split("/")[0], set()).update(blocks_around(page))
        self.packages = [sorted(blocks) for blocks in packages.values() if blocks]
        self.rng = random.Random(seed)

    def block(self) -> str:
        """A block from a template, a web page or a page of documentation."""
        source = self.rng.random()
        if source < 0.45:
            return editor_noise.block(self.rng)
        return self.rng.choice(self.web if source < 0.67 else self.rng.choice(self.packages))

    def page(self, number: int) -> Page:
        """Paragraphs of some content, with blocks around and between them, and with a broken character now and then."""
        rng = self.rng
        if rng.random() < 0.35:
            source, content = "passages", rng.sample(self.prose, rng.randint(4, 14))
        else:
            page = rng.choice(self.pages)
            source, content = page.id, re.split(r"\n\n+", page.refined)
            start = rng.randrange(max(1, len(content) - 4))
            content = content[start : start + rng.randint(4, 30)]
        often = rng.choice((0, 0, 0.03, 0.08, 0.2))
        raw = self._some()
        for at, part in enumerate(content):
            raw += [self.block()] * (at > 0 and rng.random() < often)
            raw.append(editor_noise.broken(part, rng) if rng.random() < 0.08 else part)
        gap = rng.choice(("\n\n", "\n\n", "\n"))
        return Page(f"synthetic {number}: {source}", gap.join(raw + self._some()), gap.join(content))

    def junk(self, number: int) -> Page:
        """A page of nothing but blocks."""
        blocks = [self.block() for _ in range(self.rng.randint(4, 24))]
        return Page(f"junk {number}", self.rng.choice(("\n\n", "\n")).join(blocks), "")

    def _some(self) -> list[str]:
        return [self.block() for _ in range(self.rng.choice((0, 0, 1, 2, 3, 5, 8, 14)))]

    def pages_of(self, count: int, junk: int) -> Iterator[Page]:
        """So many synthetic pages of at most 9,000 characters, and so many without content."""
        found = (self.page(number) for number in range(count))
        yield from (page for page in found if len(page.raw) < 9000 and page.refined.strip())
        yield from (self.junk(number) for number in range(junk))


def write_pairs(pages: Iterable[Page], path: Path) -> int:
    """Writes pages as JSON lines, and returns how many they are."""
    count = 0
    with gzip.open(path, "wt", encoding="utf-8") as stream:
        for page in pages:
            stream.write(json.dumps(page._asdict(), ensure_ascii=False) + "\n")
            count += 1
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pages", type=int, default=330, help="of each package")
    parser.add_argument("--synthetic", type=int, default=3300)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(7)
    found = [page for package in TRAINED for page in package_pages(package, arguments.pages, rng)]
    pages = [page for page in found if not held_out(page.id, 6)]
    prose = [text for text in passages() if not held_out(text, 6)]
    web = [block for block in web_blocks() if not held_out(block, 25)]
    mixed = Mixer(pages, prose, web, seed=11).pages_of(arguments.synthetic, arguments.synthetic // 6)
    for name, part in (("pages", pages), ("synthetic", mixed)):
        path = arguments.folder / f"{name}.jsonl.gz"
        print(f"wrote {path}: {write_pairs(part, path):,} pairs")


if __name__ == "__main__":
    main()
