"""Decontamination: recall on planted copies, false alarms on unrelated pages, and speed, with real question sets.

    python benchmarks/decontamination.py [--corpus debian]

Benchmarks are the question sets that lie beside the project, all strings of them. The corpus is that of `l1_rules.py`,
cut to pages of 4 kB. Of each page one copy has a verbatim string of a benchmark in it (of 8 words or more), and one a
*changed* string: every eighth word replaced, so that no 13 words in a row are left.
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path
from typing import Any

import debian
import l1_rules
import record

from tiers.document import documents
from tiers.l1_filtered.benchmark_items import read_items
from tiers.l1_filtered.decontamination import Decontaminate
from tiers.l1_filtered.word_hashes import WORD
from tiers.stage import Context

PAGE = 4096
BATCH = 256


def pages(texts: list[str], count: int) -> list[str]:
    """Pages of `PAGE` bytes, as many of each text as it has."""
    cut = [text[at : at + PAGE] for text in texts for at in range(0, len(text) - PAGE, PAGE)]
    return random.Random(1).sample(cut, min(count, len(cut)))


def planted(page: str, item: str, seed: int) -> str:
    at = page.find(" ", random.Random(seed).randrange(len(page) // 2))
    return f"{page[:at]} {item} {page[at:]}"


def changed(item: str) -> str:
    words = list(WORD.finditer(item))
    for word in reversed(words[4::8]):
        item = f"{item[: word.start()]}xyz{item[word.end() :]}"
    return item


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--corpus", choices=("local", "debian"), default="local")
    parser.add_argument("--cache", type=Path, default=debian.CACHE)
    parser.add_argument("--pages", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    folder = record.SHARED / "qa"
    if not folder.exists():
        print(f"needs the question sets in {folder}")
        return
    files = sorted(folder.iterdir())
    stage = Decontaminate.model_validate({"benchmarks": {path.name.split(".json")[0]: str(path) for path in files}})

    start = time.process_time()
    apply = stage.prepare(Context(models=Path("none")))
    build = time.process_time() - start
    found = l1_rules.local_texts() if arguments.corpus == "local" else l1_rules.debian_texts(arguments.cache)
    clean = pages(list(dict.fromkeys(found)), arguments.pages)
    items = [item.text for name, each in stage.benchmarks.items() for item in read_items(name, each, ())]
    items = [item for item in dict.fromkeys(items) if len(WORD.findall(item)) >= stage.min_words]
    chosen = random.Random(2).sample(items, len(clean))
    sides = {
        "unrelated": clean,
        "verbatim": [planted(page, item, n) for n, (page, item) in enumerate(zip(clean, chosen, strict=True))],
        "changed": [planted(page, changed(item), n) for n, (page, item) in enumerate(zip(clean, chosen, strict=True))],
    }
    result: dict[str, Any] = {"benchmarks": len(files), "strings": len(items), "build_cpu_seconds": round(build, 2)}
    for name, texts in sides.items():
        rows = [{"text": text, "source": str(number)} for number, text in enumerate(texts)]
        tables = [documents(rows[at : at + BATCH]) for at in range(0, len(rows), BATCH)]
        rates = []
        for _ in range(arguments.repeats):
            start = time.process_time()
            dropped = sum(apply(table).dropped.num_rows for table in tables)
            rates.append(len(rows) / (time.process_time() - start))
        result[name] = {"pages": len(rows), "dropped": dropped, "pages_per_cpu_second": record.spread(rates, 0)}
    record.print_table(
        f"{len(items):,} strings of {len(files)} benchmarks in pages of {PAGE // 1024} kB ({arguments.corpus})",
        ("pages", "number", "dropped", "share", "pages/CPU s"),
        (
            (name, row["pages"], row["dropped"], row["dropped"] / row["pages"], row["pages_per_cpu_second"]["median"])
            for name, row in ((name, result[name]) for name in sides)
        ),
    )
    corpus = {"name": arguments.corpus, "pages": len(clean), "sha256": record.hash_texts(clean)}
    record.write_result("decontamination", result, ["numpy", "xxhash"], corpus)


if __name__ == "__main__":
    main()
