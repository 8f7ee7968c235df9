"""Near duplicates: how many planted copies are found, how many documents are wrongly dropped, and how fast.

    python benchmarks/l1_duplicates.py [--corpus debian]

The corpus is that of `l1_rules.py`. Near duplicates that it already has are dropped first, so that every further
removal must be explained by what is planted: of each document one copy in which some words were replaced, and one
decoy in which 60 % were. A copy and its original whose true similarity lies below the threshold needn't be found.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import l1_rules
import pyarrow as pa
import pyarrow.compute as pc
import record

from tiers.document import documents
from tiers.l1_filtered.near_duplicates import NearDuplicates
from tiers.l1_filtered.shingles import jaccard, shingles


def edited(text: str, share: float, seed: int) -> str:
    """`text` with a share of its words replaced by words from elsewhere in it."""
    order = random.Random(seed)
    words = text.split(" ")
    for place in order.sample(range(len(words)), round(share * len(words))):
        words[place] = order.choice(words)[::-1]
    return " ".join(words)


def run(stage: NearDuplicates, table: pa.Table) -> tuple[pa.Table, float]:
    """What the stage drops of `table`, and the CPU seconds that it took."""
    start = time.process_time()
    spilled = stage.spill(table)
    parts = [stage.reduce(spilled.filter(pc.equal(spilled["partition"], n))) for n in range(stage.partitions)]
    place = {row_id: number for number, row_id in enumerate(table["id"].to_pylist())}
    decision = stage.decide(pa.concat_tables(parts), lambda ids: table.take([place[row_id] for row_id in ids]))
    return decision, time.process_time() - start


def planted(texts: Iterable[str], share: float) -> dict[str, str]:
    """Each text, a copy with a share of its words replaced, and a decoy with 60 % replaced, by name."""
    rows = {}
    for number, text in enumerate(texts):
        rows[f"{number}.original"] = text
        rows[f"{number}.copy"] = edited(text, share, number)
        rows[f"{number}.decoy"] = edited(text, 0.6, number)
    return rows


def measure(stage: NearDuplicates, texts: list[str], share: float) -> dict[str, Any]:
    """Counts and rates for copies with `share` of their words replaced."""
    rows = planted(texts, share)
    table = documents({"text": text, "source": name} for name, text in rows.items())
    names = dict(zip(table["id"].to_pylist(), rows, strict=True))
    decision, seconds = run(stage, table)
    gone = {names[row_id]: names[detail.split()[-1]] for row_id, detail in _pairs(decision)}
    similar = [
        number
        for number in range(len(texts))
        if jaccard(
            shingles(rows[f"{number}.original"], stage.n), shingles(rows[f"{number}.copy"], stage.n), stage.max_shingles
        )
        >= stage.threshold
    ]
    found = sum(f"{number}.copy" in gone or f"{number}.original" in gone for number in similar)
    return {
        "documents": len(rows),
        "copies_above_threshold": len(similar),
        "found": found,
        "recall": found / len(similar) if similar else None,
        "dropped": len(gone),
        "dropped_for_an_unrelated_document": sum(a.split(".")[0] != b.split(".")[0] for a, b in gone.items()),
        "decoys_dropped": sum(name.endswith("decoy") for name in gone),
        "documents_per_cpu_second": round(len(rows) / seconds, 1),
    }


def _pairs(decision: pa.Table) -> Iterable[tuple[str, str]]:
    return zip(decision["id"].to_pylist(), decision["detail"].to_pylist(), strict=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--corpus", choices=("local", "debian"), default="local")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "tierline-debian")
    parser.add_argument("--documents", type=int, default=500)
    arguments = parser.parse_args()

    found = l1_rules.local_texts() if arguments.corpus == "local" else l1_rules.debian_texts(arguments.cache)
    texts = [text for text in dict.fromkeys(found) if len(text.split()) >= 100 and len(text) <= 50_000]
    texts = sorted(texts, key=lambda text: record.hash_texts([text]))[: arguments.documents]
    # Documents that resemble another one by far less than the threshold go, so that no removal is ambiguous.
    table = documents({"text": text, "source": str(number)} for number, text in enumerate(texts))
    alike = set(run(NearDuplicates(threshold=0.4, bands=50, rows=4), table)[0]["id"].to_pylist())
    texts = [text for row_id, text in zip(table["id"].to_pylist(), texts, strict=True) if row_id not in alike]

    stage = NearDuplicates()
    result = {f"{share:.1%} of words replaced": measure(stage, texts, share) for share in (0.005, 0.01, 0.02)}
    record.print_table(
        f"Near duplicates planted among {len(texts)} documents ({arguments.corpus})",
        ("copies", "above 0.8", "found", "recall", "decoys dropped", "unrelated", "documents/CPU s"),
        (
            (
                name,
                row["copies_above_threshold"],
                row["found"],
                row["recall"],
                row["decoys_dropped"],
                row["dropped_for_an_unrelated_document"],
                row["documents_per_cpu_second"],
            )
            for name, row in result.items()
        ),
    )
    corpus = {
        "name": arguments.corpus,
        "documents": len(texts),
        "mean_characters": round(sum(map(len, texts)) / len(texts)),
        "sha256": record.hash_texts(texts),
    }
    path = record.write_result("l1_duplicates", result, ("numpy", "pyarrow", "xxhash"), corpus)
    print(f"wrote {path.relative_to(record.ROOT)}")


if __name__ == "__main__":
    main()
