"""From WARC to text: our reader and `ExtractHtml` against a bare loop over the libraries that they stand on.

The bare loop is fastwarc's iterator over responses, resiliparse's decoding, parser and extraction, and nothing else: no
offsets, no ids, no reasons, no bounds, no tables. Our side is the extractor `resiliparse`, with and without a search
for formulas, and `blocks`, the default. All read the same file, one gzip member for each record, a request and a
response for each page, and a redirect for every tenth; the pages are HTML documentation. They take turns in one process
after a warm-up of all; the figures are medians of CPU seconds. Reading alone is timed as well.

    python benchmarks/l0_warc.py --corpus /usr/share/doc [--pages 3000] [--rounds 7]
"""

from __future__ import annotations

import argparse
import gzip
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import record
from fastwarc.warc import ArchiveIterator, WarcRecordType
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.encoding import bytes_to_str, detect_encoding
from resiliparse.parse.html import HTMLTree

from tiers.l0_raw import ExtractHtml, read_warc
from tiers.stage import Context

TARGET = 1.15
Counts = dict[str, int]


def warc_record(kind: str, url: str, block: bytes) -> bytes:
    head = (
        f"WARC/1.1\r\nWARC-Type: {kind}\r\nWARC-Record-ID: <urn:uuid:00000000-0000-0000-0000-000000000000>\r\n"
        f"WARC-Date: 2026-01-01T00:00:00Z\r\nWARC-Target-URI: {url}\r\n"
        f"Content-Type: application/http; msgtype={kind}\r\nContent-Length: {len(block)}\r\n\r\n"
    )
    return gzip.compress(head.encode() + block + b"\r\n\r\n", 6, mtime=0)


def records(pages: Iterable[bytes]) -> Iterable[bytes]:
    for number, page in enumerate(pages):
        url = f"https://docs.example.org/{number}.html"
        yield warc_record("request", url, f"GET /{number}.html HTTP/1.1\r\nHost: docs.example.org\r\n\r\n".encode())
        if number % 10 == 9:
            moved = f"HTTP/1.1 301 Moved\r\nLocation: {url}\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n"
            yield warc_record("response", f"{url}/", moved.encode())
        header = f"HTTP/1.1 200 OK\r\nServer: example\r\nContent-Type: text/html\r\nContent-Length: {len(page)}\r\n\r\n"
        yield warc_record("response", url, header.encode() + page)


def some_pages(corpus: Path, count: int) -> list[bytes]:
    """`count` HTML files of the corpus, drawn with a fixed seed, of 500 bytes to 400 kB."""
    paths = sorted(path for path in corpus.rglob("*.html") if path.is_file())
    random.Random(0).shuffle(paths)
    pages = []
    for path in paths:
        if 500 <= path.stat().st_size <= 400_000:
            pages.append(path.read_bytes())
            if len(pages) == count:
                break
    return pages


def bare_read(path: Path) -> Counts:
    pages = size = 0
    with path.open("rb") as stream:
        for found in ArchiveIterator(stream, record_types=WarcRecordType.response):
            if found.http_headers.status_code == 200:
                size += len(found.reader.read())
                pages += 1
    return {"kept": pages, "bytes": size}


def bare_extract(path: Path) -> Counts:
    kept = size = 0
    with path.open("rb") as stream:
        for found in ArchiveIterator(stream, record_types=WarcRecordType.response):
            if found.http_headers.status_code != 200:
                continue
            content = found.reader.read()
            encoding = found.http_charset or detect_encoding(content, from_html_meta=True) or "utf-8"
            text = extract_plain_text(HTMLTree.parse(bytes_to_str(content, encoding)), main_content=True)
            kept += bool(text.strip())
            size += len(text)
    return {"kept": kept, "bytes": size}


def tierline_read(path: Path) -> Counts:
    with path.open("rb") as stream:
        outcomes = [(outcome.kept.num_rows, outcome.dropped.num_rows) for outcome in read_warc(stream, path.name)]
    return {"kept": sum(kept for kept, _ in outcomes), "dropped": sum(dropped for _, dropped in outcomes)}


def tierline_extract(path: Path, **parameters: Any) -> Counts:
    apply = ExtractHtml(**parameters).prepare(Context(models=Path("none")))
    counts = {"kept": 0, "dropped": 0, "failed": 0}
    with path.open("rb") as stream:
        for read in read_warc(stream, path.name):
            outcome = apply(read.kept)
            counts["kept"] += outcome.kept.num_rows
            counts["dropped"] += read.dropped.num_rows + outcome.dropped.num_rows
            counts["failed"] += read.failed.num_rows + outcome.failed.num_rows
    return counts


SIDES: dict[str, Callable[[Path], Counts]] = {
    "fastwarc, reading": bare_read,
    "Tierline, reading": tierline_read,
    "fastwarc + resiliparse": bare_extract,
    "Tierline, resiliparse, formulas: false": partial(tierline_extract, extractor="resiliparse", formulas=False),
    "Tierline, resiliparse": partial(tierline_extract, extractor="resiliparse"),
    "Tierline, blocks": tierline_extract,
}


def measure(path: Path, rounds: int) -> dict[str, Any]:
    counts = {side: work(path) for side, work in SIDES.items()}
    times: dict[str, list[float]] = {side: [] for side in SIDES}
    for number in range(rounds):
        for side in SIDES if number % 2 else reversed(SIDES):
            started = time.process_time()
            SIDES[side](path)
            times[side].append(time.process_time() - started)
    ratios = {
        side: record.spread([a / b for a, b in zip(times[side], times["fastwarc + resiliparse"], strict=True)])
        for side in SIDES
        if side.startswith("Tierline, ") and side != "Tierline, reading"
    }
    reading = [ours - bare for ours, bare in zip(times["Tierline, reading"], times["fastwarc, reading"], strict=True)]
    return {
        "rounds": rounds,
        "counts": counts,
        "cpu_seconds": {side: record.spread(values) for side, values in times.items()},
        "ratios": ratios,
        "reading_costs_more_by_cpu_seconds": record.spread(reading),
        "target": TARGET,
        "met": {side: ratio["median"] <= TARGET for side, ratio in ratios.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, default=Path("/usr/share/doc"), help="a folder of HTML files")
    parser.add_argument("--pages", type=int, default=3_000)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    pages = some_pages(arguments.corpus, arguments.pages)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pages.warc.gz"
        path.write_bytes(b"".join(records(pages)))
        result = measure(path, arguments.rounds)
        corpus = {
            "name": "HTML documentation",
            "pages": len(pages),
            "page_bytes": sum(map(len, pages)),
            "bytes": path.stat().st_size,
            "sha256": record.hash_files([path]),
        }
    rows = [
        (
            side,
            spread["median"],
            spread["min"],
            spread["max"],
            *(result["counts"][side].get(f, "") for f in ("kept", "dropped")),
            result["ratios"][side]["median"] if side in result["ratios"] else "",
        )
        for side, spread in result["cpu_seconds"].items()
    ]
    title = f"CPU seconds for {len(pages):,} pages; ratio to the bare loop in the last column, target {TARGET}"
    record.print_table(title, ("side", "median", "least", "greatest", "kept", "dropped", "ratio"), rows)
    print(record.write_result("l0_warc", result, ("fastwarc", "resiliparse", "pyarrow", "tierline"), corpus))


if __name__ == "__main__":
    main()
