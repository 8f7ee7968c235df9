"""Extraction of main content: F1 against the gold text of real pages, and its cost in processor time.

F1 is that of scrapinghub's article-extraction-benchmark (evaluate.py; MIT): precision and recall over multisets of
4-grams of words, counted in shares of each page, so that long ones weigh no more; F1 is that of their means over pages.
Every parameter of `blocks` was chosen on the even pages in the order of their names, so that the odd ones
were held out, though their scores were seen beside.
Intervals are bootstrap 95 % over pages.

Processor time is that of the whole page: decoding, checks, parsing, text, formulas and images, in turns on the same
pages; `blocks, text alone` leaves out formulas and images, which the other libraries don't give either. trafilatura
alone and resiliparse alone are called as their documentation shows, on decoded text. The time of trafilatura's own
process, its start included, counts in `trafilatura` and `cascade`.

WARC to text is `read_warc` and the stage beside a loop of fastwarc and resiliparse alone: on a crawl of the same pages,
most of which are scripts, and on real archives.

    python benchmarks/extraction.py [--rounds 5]

The pages lie in ../shared/data/extraction; without them there is nothing to measure.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
import resource
import statistics
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import record
import trafilatura
from fastwarc.warc import ArchiveIterator, WarcRecordType
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.encoding import bytes_to_str, detect_encoding
from resiliparse.parse.html import HTMLTree

from tiers.l0_raw import ExtractHtml, read_warc
from tiers.l0_raw.html import Refused
from tiers.stage import Context

PAGES = record.SHARED / "extraction"
ARCHIVES = ("aut-example.warc.gz", "ukwa-govuk-1.warc.gz", "resiliparse-warcfile.warc.gz")
OURS: dict[str, dict[str, Any]] = {
    "blocks, text alone": {"formulas": False, "max_images": 0},
    "blocks": {},
    "cascade": {"extractor": "cascade"},
    "resiliparse": {"extractor": "resiliparse"},
    "trafilatura": {"extractor": "trafilatura"},
}
Score = tuple[float, float, float]
"""Shares of a page's 4-grams that are in both texts, in the extracted one only, and in the gold one only."""


def shingles(text: str) -> Counter[tuple[str, ...]]:
    words = re.findall(r"\w+", text)
    return Counter(tuple(words[at : at + 4]) for at in range(max(1, len(words) - 3)) if words)


def score(gold: str, text: str) -> Score:
    expected, found = shingles(gold), shingles(text)
    counts = (expected & found).total(), (found - expected).total(), (expected - found).total()
    whole = sum(counts) or 1
    return counts[0] / whole, counts[1] / whole, counts[2] / whole


def f1(scores: Sequence[Score]) -> tuple[float, float, float]:
    """Precision, recall and F1 over pages; a page where nothing was found counts for recall alone."""
    precision = statistics.mean(both / (both + only) for both, only, _ in scores if both + only)
    recall = statistics.mean(both / (both + missed) for both, _, missed in scores if both + missed)
    return precision, recall, 2 * precision * recall / (precision + recall)


def interval(scores: Sequence[Score], draws: int = 1000) -> list[float]:
    """The bootstrap 95 % interval of F1 over pages."""
    draw = random.Random(0)
    values = sorted(f1(draw.choices(scores, k=len(scores)))[2] for _ in range(draws))
    return [round(values[int(draws * 0.025)], 4), round(values[int(draws * 0.975)], 4)]


def extractors() -> dict[str, Callable[[bytes], str | None]]:
    """What is compared: from bytes of UTF-8 to text; `None` where it failed."""

    def stage(**parameters: Any) -> Callable[[bytes], str | None]:
        extract = ExtractHtml(**parameters).extracting()

        def text(page: bytes) -> str | None:
            try:
                return extract(page, "utf-8", "https://example.org/").text
            except Refused:
                return None

        return text

    return {
        "trafilatura alone": lambda page: trafilatura.extract(page.decode(), deduplicate=False),
        "resiliparse alone": lambda page: extract_plain_text(HTMLTree.parse(page.decode()), main_content=True),
        **{f"Tierline, {name}": stage(**parameters) for name, parameters in OURS.items()},
    }


def cpu_seconds() -> float:
    """Of this process and those it has waited for."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def measure(pages: dict[str, bytes], gold: dict[str, str], rounds: int) -> dict[str, Any]:
    keys = sorted(pages)
    chosen, held_out = keys[::2], keys[1::2]
    times: dict[str, list[float]] = {name: [] for name in extractors()}
    texts: dict[str, list[str | None]] = {}
    for number in range(rounds):
        names = list(times) if number % 2 else list(reversed(times))
        for name in names:
            before = cpu_seconds()
            extract = extractors()[name]
            texts[name] = [extract(pages[key]) for key in keys]
            del extract  # ends its process, whose time is known only then
            times[name].append(cpu_seconds() - before)
    result: dict[str, Any] = {}
    for name, found in texts.items():
        scores = {key: score(gold[key], text or "") for key, text in zip(keys, found, strict=True)}
        result[name] = {
            "f1": round(f1(list(scores.values()))[2], 4),
            "f1_interval": interval(list(scores.values())),
            "precision": round(f1(list(scores.values()))[0], 4),
            "recall": round(f1(list(scores.values()))[1], 4),
            "f1_chosen_on": round(f1([scores[key] for key in chosen])[2], 4),
            "f1_held_out": round(f1([scores[key] for key in held_out])[2], 4),
            "kept": sum(bool(text) for text in found),
            "failed_or_empty": sum(not text for text in found),
            "cpu_seconds": record.spread(times[name]),
            "times_as_fast_as_trafilatura_alone": round(
                statistics.median(a / b for a, b in zip(times["trafilatura alone"], times[name], strict=True)), 2
            ),
        }
    return result


def write_warc(pages: dict[str, bytes], path: Path) -> Path:
    """The pages as a crawl, each a gzip member."""
    with path.open("wb") as out:
        for key, page in sorted(pages.items()):
            http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + page
            head = (
                f"WARC/1.1\r\nWARC-Type: response\r\nWARC-Record-ID: <urn:sha256:{key}>\r\n"
                f"WARC-Date: 2026-01-01T00:00:00Z\r\nWARC-Target-URI: https://example.org/{key}\r\n"
                f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(http)}\r\n\r\n"
            )
            out.write(gzip.compress(head.encode() + http + b"\r\n\r\n", 6, mtime=0))
    return path


def bare_loop(paths: list[Path]) -> int:
    """What one writes without a framework: HTML responses of status 200 to text; gives the number of texts."""
    texts = 0
    for path in paths:
        with path.open("rb") as stream:
            for entry in ArchiveIterator(stream, record_types=WarcRecordType.response):
                if entry.http_headers is None or entry.http_headers.status_code != 200:
                    continue
                if not (entry.http_content_type or "").startswith(("text/html", "application/xhtml")):
                    continue
                content = entry.reader.read()
                text = bytes_to_str(content, entry.http_charset or detect_encoding(content))
                texts += bool(extract_plain_text(HTMLTree.parse(text), main_content=True))
    return texts


def with_stage(paths: list[Path], **parameters: Any) -> int:
    """`read_warc` and the stage; gives the number of rows kept."""
    apply = ExtractHtml(**parameters).prepare(Context(models=Path()))
    rows = 0
    for path in paths:
        with path.open("rb") as stream:
            rows += sum(apply(read.kept).kept.num_rows for read in read_warc(stream, path.name))
    return rows


def warc_to_text(paths: list[Path], rounds: int) -> dict[str, Any]:
    sides: dict[str, Callable[[list[Path]], int]] = {
        "bare loop": bare_loop,
        "resiliparse, formulas: false": lambda paths: with_stage(paths, extractor="resiliparse", formulas=False),
        "resiliparse": lambda paths: with_stage(paths, extractor="resiliparse"),
        "blocks": lambda paths: with_stage(paths, extractor="blocks"),
    }
    rows = {name: side(paths) for name, side in sides.items()}
    times: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        for name in list(sides) if number % 2 else list(reversed(sides)):
            before = cpu_seconds()
            sides[name](paths)
            times[name].append(cpu_seconds() - before)
    ratios = {
        name: record.spread([a / b for a, b in zip(times[name], times["bare loop"], strict=True)], 3) for name in sides
    }
    return {"rows": rows, "cpu_seconds": {n: record.spread(t) for n, t in times.items()}, "ratio_to_bare_loop": ratios}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    if not PAGES.exists():
        raise SystemExit(f"{PAGES} is not there")
    truth = json.loads((PAGES / "ground-truth.json").read_text())
    files = {path.name.removesuffix(".html.gz"): path for path in sorted(PAGES.glob("html/*.html.gz"))}
    pages = {key: gzip.decompress(path.read_bytes()) for key, path in files.items()}
    result = measure(pages, {key: truth[key]["articleBody"] for key in pages}, arguments.rounds)
    headings = ("extractor", "F1", "95 %", "chosen on", "held out", "kept", "failed", "CPU s", "× trafilatura")
    rows = [
        (
            name,
            *(each[key] for key in ("f1", "f1_interval", "f1_chosen_on", "f1_held_out", "kept", "failed_or_empty")),
            each["cpu_seconds"]["median"],
            each["times_as_fast_as_trafilatura_alone"],
        )
        for name, each in result.items()
    ]
    record.print_table(f"Main content of {len(pages)} pages, {sum(map(len, pages.values())):,} bytes", headings, rows)
    roads: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        archives = {
            "the same pages": [write_warc(pages, Path(folder) / "pages.warc.gz")],
            "real archives": [record.SHARED / "warc" / name for name in ARCHIVES],
        }
        for title, paths in archives.items():
            road = roads[title] = warc_to_text(paths, 3 * arguments.rounds)
            rows = [
                (
                    name,
                    road["rows"][name],
                    road["cpu_seconds"][name]["median"],
                    road["ratio_to_bare_loop"][name]["median"],
                )
                for name in road["rows"]
            ]
            record.print_table(f"WARC to text, {title}", ("side", "rows", "CPU s", "× bare loop"), rows)
    corpus = {"name": "article-extraction-benchmark", "pages": len(pages), "sha256": record.hash_files(files.values())}
    path = record.write_result(
        "extraction", {"extractors": result, "warc_to_text": roads}, ("trafilatura", "resiliparse", "fastwarc"), corpus
    )
    print(f"wrote {path.relative_to(record.ROOT)}")


if __name__ == "__main__":
    main()
