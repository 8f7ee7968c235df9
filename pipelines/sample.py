"""Makes a small web crawl out of the Python documentation that every machine already has.

It gives Tierline something real to work on without a download: pages about the standard library's modules, the
language's topics, the installed packages and their classes and functions, in the dress of web pages and written as
WARC files. Same machine, same seed, same bytes.
"""

from __future__ import annotations

import gzip
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import xxhash

from pipelines.sample_pages import Candidate, Site, candidates
from tiers.errors import RecipeError

DATE = "2026-01-01T00:00:00Z"
"""The date of every record. A crawl has one; a clock would make two samples differ."""

SHARES: Mapping[str, float] = {"topic": 0.14, "module": 0.34, "readme": 0.12, "object": 0.40}
"""How many of each hundred pages are of each kind, as long as there are enough."""

_SITE = "https://docs.example.org"


@dataclass(frozen=True)
class SampleSummary:
    """What was written.

    Attributes:
        files: The WARC files, in order.
        pages: How many pages of each kind.
        redirects: How many records merely redirect, as in any crawl.
        skipped: How many modules could not be imported.
        bytes: The size of all files.
    """

    files: tuple[Path, ...]
    pages: Mapping[str, int]
    redirects: int
    skipped: int
    bytes: int


def write_sample(
    out: Path,
    pages: int | None = 600,
    seed: int = 0,
    shares: Mapping[str, float] = SHARES,
    files: int = 8,
) -> SampleSummary:
    """Writes a sample crawl as gzip WARC files of about equal size, `sample-000.warc.gz` and so on.

    Args:
        out: The folder to write into; it is made where it is missing.
        pages: How many pages; `None` for all there are.
        seed: Picks another share of the pages.
        shares: The share of each kind of page: topic, module, readme, object. Kinds that run out are made up for
            by the others.
        files: How many WARC files.

    Raises:
        RecipeError: a parameter is out of its range.
        SourceError: docutils or markdown-it-py is missing.
    """
    if files < 1 or (pages is not None and pages < 1):
        raise RecipeError("a sample has at least one page and one file", got={"pages": pages, "files": files})
    if not shares.keys() <= SHARES.keys() or any(share < 0 for share in shares.values()) or not sum(shares.values()):
        raise RecipeError("shares are positive numbers by kind of page", got=dict(shares), expected=list(SHARES))
    found = candidates()
    chosen = _choose(found.pages, pages, seed, shares)
    site = Site(_SITE, found.pages)
    out.mkdir(parents=True, exist_ok=True)
    bodies: list[list[bytes]] = [[_record("warcinfo", f"{_SITE}/{n}/{seed}", _INFO)] for n in range(files)]
    sizes = [0] * files
    redirects = 0
    for page in chosen:
        record = _response(page.url(_SITE), site.render(page))
        if _hash(0, page.name) % 25 == 0:
            redirects += 1
            record = _redirect(page, _SITE) + record
        smallest = sizes.index(min(sizes))
        bodies[smallest].append(record)
        sizes[smallest] += len(record)
    names = [out / f"sample-{number:03}.warc.gz" for number in range(files)]
    for name, body in zip(names, bodies, strict=True):
        name.write_bytes(b"".join(body))
    counts = Counter(page.kind for page in chosen)
    written = sum(name.stat().st_size for name in names)
    return SampleSummary(tuple(names), {kind: counts[kind] for kind in SHARES}, redirects, found.skipped, written)


def _hash(seed: int, text: str) -> int:
    return xxhash.xxh3_64_intdigest(text.encode(), seed=seed)


def _choose(found: Sequence[Candidate], pages: int | None, seed: int, shares: Mapping[str, float]) -> list[Candidate]:
    """A seeded share of each kind, in an order that mixes them.

    Pages are drawn by the last part of their name: what is called the same in several places is documented almost
    the same, and a crawl without near duplicates would be no crawl.
    """
    by_kind: dict[str, list[Candidate]] = {kind: [] for kind in SHARES}
    for page in sorted(found, key=lambda page: (_hash(seed, page.name.rpartition(".")[2]), page.name)):
        by_kind[page.kind].append(page)
    if pages is None:
        chosen = [page for kind in shares for page in by_kind[kind]]
    else:
        total = sum(shares.values())
        quota = {kind: min(int(pages * share / total), len(by_kind[kind])) for kind, share in shares.items()}
        for kind in sorted(quota, key=lambda kind: -shares[kind]):
            quota[kind] = min(len(by_kind[kind]), quota[kind] + pages - sum(quota.values()))
        chosen = [page for kind in shares for page in by_kind[kind][: quota[kind]]]
    return sorted(chosen, key=lambda page: (_hash(seed + 1, page.kind + page.name), page.name))


_INFO = b"software: Tierline sample\r\nformat: WARC File Format 1.1\r\n"


def _response(url: str, html: str) -> bytes:
    body = html.encode("utf-8", "replace")
    head = (
        "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n"
        f"Server: nginx\r\nVary: Accept-Encoding\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return _record("response", url, head.encode() + body)


def _redirect(page: Candidate, site: str) -> bytes:
    head = f"HTTP/1.1 301 Moved Permanently\r\nLocation: {page.url(site)}\r\nContent-Length: 0\r\n\r\n"
    return _record("response", page.url(f"{site}/latest"), head.encode())


def _record(kind: str, url: str, block: bytes) -> bytes:
    """One WARC record as a gzip member of its own; its id follows from what it holds."""
    identity = uuid.uuid5(uuid.NAMESPACE_URL, f"{url}#{xxhash.xxh3_128_hexdigest(block)}")
    content_type = "application/warc-fields" if kind == "warcinfo" else "application/http; msgtype=response"
    target = f"WARC-Target-URI: {url}\r\n" if kind == "response" else ""
    head = (
        f"WARC/1.1\r\nWARC-Type: {kind}\r\nWARC-Record-ID: <urn:uuid:{identity}>\r\nWARC-Date: {DATE}\r\n{target}"
        f"Content-Type: {content_type}\r\nContent-Length: {len(block)}\r\n\r\n"
    )
    return gzip.compress(head.encode() + block + b"\r\n\r\n", 6, mtime=0)
