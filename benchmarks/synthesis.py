"""Synthesis: what a small model writes from real pages, what each gate drops of it, and how well gates tell.

    python benchmarks/synthesis.py --cache DIR    # 1 to 2 hours of one core for 50 pages; a second run reads the cache
    python benchmarks/synthesis.py --only gates   # the gates on questions that people wrote, in seconds

Written from: pages of Debian's handbook, of LibreOffice's help and of Python's documentation (`general`), and pages of
SageMath's documentation with formulas (`maths`), fetched with apt-get once. One text of each family is asked for of each
page; passages of textbooks of one point of each page that gave points. Drops are counted by the gate that failed first.

How well the gates tell faithful texts from others is measured on what people wrote: the questions and answers of XQuAD
(`../shared/data/qa`), held to their own paragraph, to another paragraph of the same article, and to their own after one
number or name in them was exchanged for one of another paragraph.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import debian
import pyarrow as pa
import record

from tiers.document import documents
from tiers.l0_raw.html.stage import ExtractHtml
from tiers.l3_edited.synthesis.synthesise import People, Synthesise
from tiers.llm import LLM, open_llm
from tiers.llm.models import default_models
from tiers.stage import Outcome, check_outcome

GENERAL = ("debian-handbook", "libreoffice-help-en-us", "python3.11-doc")
FAMILIES = ("qa", "conversation", "rewrite", "knowledge", "textbook")
SETTINGS = {"share": 1.0, "excerpt_chars": 1000, "max_tokens": 320}


def pages(packages: Sequence[str], count: int, formulas: int) -> pa.Table:
    """About `count` documents with at least so many dollar signs in what is read of them, evenly drawn."""
    extract = ExtractHtml().extracting()
    rows: list[dict[str, Any]] = []
    for package in packages:
        found: list[dict[str, Any]] = []
        every = [path for path in debian.pages(package) if package != "sagemath-doc" or "/en/" in str(path)]
        random.Random(package).shuffle(every)
        for path in every:
            page = extract(path.read_bytes())
            if len(page.text) >= 1200 and page.text[: SETTINGS["excerpt_chars"]].count("$") >= formulas:
                found.append({"text": page.text, "source": f"{package}/{path.name}", "title": page.title or None})
            if len(found) * len(packages) >= count:
                break
        rows += found
    return documents(rows[:count])


def measure(table: pa.Table, domain: str, llm: LLM) -> tuple[dict[str, dict[str, Any]], pa.Table]:
    """Figures of each family on the documents of one domain, and all rows at the end."""
    people, figures = People(llm, llm), {}
    for family in FAMILIES:
        stage = Synthesise(family=family, domain=domain, **SETTINGS)
        start = time.process_time()
        outcome = stage.synthesise(table, people)
        check_outcome(stage, table, outcome)
        figures[family] = counts(table, outcome, time.process_time() - start)
        print(domain, family, json.dumps(figures[family]), flush=True)
        table = outcome.kept
    return figures, table


def counts(table: pa.Table, outcome: Outcome, seconds: float) -> dict[str, Any]:
    """Requests, products, drops by gate, tokens."""
    dropped = Counter(outcome.dropped["reason"].to_pylist())
    asked = outcome.made.num_rows
    return {
        "asked": asked,
        "valid": asked - dropped["truncated"] - dropped["malformed"] - outcome.failed.num_rows,
        "kept": outcome.kept.num_rows - table.num_rows,
        "dropped": dict(dropped.most_common()),
        "failed": outcome.failed.num_rows,
        "requests": outcome.usage.requests,
        "from_cache": outcome.usage.cached,
        "prompt_tokens": outcome.usage.prompt_tokens,
        "completion_tokens": outcome.usage.completion_tokens,
        "cpu_seconds": round(seconds, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--documents", type=int, default=25, help="of each domain")
    parser.add_argument("--llm", default="qwen2.5-coder-0.5b")
    parser.add_argument("--cache", type=Path, help="folder of answers, to go on after an interruption")
    arguments = parser.parse_args()
    llm = open_llm(arguments.llm, default_models(), arguments.cache)
    tables = {
        "general": pages(GENERAL, arguments.documents, 0),
        "maths": pages(("sagemath-doc",), arguments.documents, 6),
    }
    for domain, table in tables.items():
        measure(table, domain, llm)


if __name__ == "__main__":
    main()
