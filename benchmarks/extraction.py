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
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import record
import trafilatura
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree

from tiers.l0_raw import ExtractHtml
from tiers.l0_raw.html import Refused

PAGES = record.SHARED / "extraction"
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
    corpus = {"name": "article-extraction-benchmark", "pages": len(pages), "sha256": record.hash_files(files.values())}
    path = record.write_result("extraction", result, ("trafilatura", "resiliparse"), corpus)
    print(f"wrote {path.relative_to(record.ROOT)}")


if __name__ == "__main__":
    main()
