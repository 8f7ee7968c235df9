"""Near duplicates from ten thousand to a million documents: cost of each, memory, and what is found.

    python benchmarks/l1_duplicates_scale.py [--documents 10000 100000 1000000] [--folder DIR]

Documents are passages of about 130 words, cut together from sentences of Debian's documentation, so that no two are
alike by chance. Of every ten, six are originals, three are copies of one of them with up to 1 % of the words replaced,
and one is a decoy, a copy with 60 % of them replaced. They lie shuffled in shards of 20,000, as a run's L0, and
`near_duplicates` runs over them as any run does: spill → reduce → decide → apply, commits and ledger included, in a
process of its own whose CPU seconds and peak resident memory are taken. The cost of starting it is not: it works once
on a small run before.

Precision is the share of removals of an original or its copy for the other one; recall is the share of planted copies
of which one of the two was removed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import debian
import l1_rules
import record
from rich.console import Console

from pipelines.artifact import Store, read_table
from pipelines.dataflow import run_plan
from pipelines.engine import LocalEngine
from pipelines.plan import make_plan
from pipelines.progress import RunProgress
from pipelines.recipe import Recipe
from tiers.stage import Context

SHARD = 20_000
WORDS = 130
CHANGES = (0.0, 0.005, 0.01)


def sentences(cache: Path) -> list[str]:
    """Sentences of five to forty words, each once."""
    texts = " ".join(l1_rules.debian_texts(cache))
    found = (" ".join(part.split()) for part in re.split(r"(?<=[.!?])\s+", texts))
    return [part for part in dict.fromkeys(found) if 5 <= len(part.split()) <= 40]


def edited(words: list[str], share: float, order: random.Random) -> str:
    changed = list(words)
    for place in order.sample(range(len(words)), round(share * len(words))):
        changed[place] = order.choice(words)[::-1]
    return " ".join(changed)


def synthesised(parts: list[str], documents: int) -> Iterator[dict[str, str]]:
    """Rows whose `url` tells the group and the kind: http://GROUP/KIND."""
    order = random.Random(documents)
    for group in range(documents * 6 // 10):
        words: list[str] = []
        while len(words) < WORDS:
            words += order.choice(parts).split()
        yield {"text": " ".join(words), "url": f"http://{group}/original"}
        if group % 2 == 0:
            yield {"text": edited(words, order.choice(CHANGES), order), "url": f"http://{group}/copy"}
        if group % 6 == 1:
            yield {"text": edited(words, 0.6, order), "url": f"http://{group}/decoy"}


def write_corpus(parts: list[str], documents: int, folder: Path) -> None:
    """Shards of JSON lines, each row in a random one."""
    folder.mkdir(parents=True)
    files = [(folder / f"{n:05}.jsonl").open("w") for n in range(max(1, documents // SHARD))]
    order = random.Random(1)
    for row in synthesised(parts, documents):
        order.choice(files).write(json.dumps(row) + "\n")
    for file in files:
        file.close()


def recipe(folder: Path) -> Recipe:
    return Recipe.model_validate(
        {"name": "scale", "inputs": [{"path": f"{folder}/*.jsonl"}], "l1": ["near_duplicates"]}
    )


def run(folder: Path, goal: str) -> None:
    quiet = RunProgress(Console(quiet=True), quiet=True)
    run_plan(
        make_plan(recipe(folder / "corpus")), str(folder / "run"), LocalEngine(), Context(models=folder), quiet, goal
    )


def judge(store: Store) -> dict[str, Any]:
    """Precision and recall of what was removed, and how many decoys were."""
    plan = store.read_json("plan.json")
    rows: dict[str, tuple[str, str]] = {}
    step = plan["steps"][0]["folder"]
    for shard in plan["shards"]:
        table = read_table(store, f"{step}/data/{shard['name']}.arrow", ["id", "url"])
        for row_id, url in zip(table["id"].to_pylist(), table["url"].to_pylist(), strict=True):
            rows[row_id] = tuple(url.removeprefix("http://").split("/"))
    decision = read_table(store, f"{plan['steps'][1]['folder']}/decision.arrow")
    pairs = Counter(group for group, kind in rows.values() if kind == "copy")
    gone = [rows[row_id] for row_id in decision["id"].to_pylist()]
    kept = [rows[detail.split()[-1]] for detail in decision["detail"].to_pylist()]
    right = {a[0] for a, b in zip(gone, kept, strict=True) if a[0] == b[0] and "decoy" not in (a[1], b[1])}
    return {
        "planted_copies": len(pairs),
        "removed": len(gone),
        "precision": round(len(right) / len(gone), 5),
        "recall": round(len(right & set(pairs)) / len(pairs), 5),
        "decoys": sum(kind == "decoy" for _, kind in rows.values()),
        "decoys_removed": sum(kind == "decoy" for _, kind in gone),
    }


def measured(folder: Path) -> dict[str, Any]:
    """Runs L1 over a run's L0: CPU seconds of all threads, seconds, and the peak of resident memory."""
    started, cpu = time.perf_counter(), time.process_time()
    run(folder, "L1")
    used = {"cpu_seconds": time.process_time() - cpu, "seconds": time.perf_counter() - started}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    spent = sum(json.loads(path.read_text())["cpu_seconds"] for path in (folder / "run").glob("L1/*/commits/*.json"))
    return {**used, "apply_cpu_seconds": spent, "peak_memory_mib": round(peak)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--documents", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--cache", type=Path, default=debian.CACHE)
    parser.add_argument(
        "--folder", type=Path, help="Where to work, going on from what is there; default: a temporary one."
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", type=Path, nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        run(arguments.measure[0], "L1")
        print(json.dumps(measured(arguments.measure[1])))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or Path(scratch)
        result = measure_all(folder, arguments.documents, sentences(arguments.cache), arguments.rounds)
    record.print_table(
        "near_duplicates by number of documents",
        ("documents", "CPU µs/document", "peak MiB", "copies", "removed", "precision", "recall", "decoys removed"),
        (
            (
                f"{size:,}",
                row["cpu_us_per_document"]["median"],
                row["peak_memory_mib"],
                row["planted_copies"],
                row["removed"],
                row["precision"],
                row["recall"],
                f"{row['decoys_removed']} of {row['decoys']:,}",
            )
            for size, row in result.items()
        ),
    )
    print(
        record.write_result(
            "l1_duplicates_scale", {f"{size}": row for size, row in result.items()}, ("numba", "numpy", "pyarrow")
        )
    )


def measure_all(scratch: Path, sizes: list[int], parts: list[str], rounds: int) -> dict[int, dict[str, Any]]:
    for size in (500, *sizes):
        if (scratch / str(size) / "run" / "L0" / "manifest.json").exists():
            continue
        write_corpus(parts, size, scratch / str(size) / "corpus")
        run(scratch / str(size), "L0")
    found: dict[int, list[dict[str, Any]]] = {size: [] for size in sizes}
    for _ in range(rounds):
        for size in sizes:
            for folder in (scratch / "500", scratch / str(size)):
                shutil.rmtree(folder / "run" / "L1", ignore_errors=True)
            command = [sys.executable, __file__, "--measure", str(scratch / "500"), str(scratch / str(size))]
            done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=record.ROOT)
            found[size].append(json.loads(done.stdout))
            print(size, found[size][-1], flush=True)
    result = {}
    for size, runs in found.items():
        store = Store(str(scratch / str(size) / "run"))
        rows = store.read_json("L0/manifest.json")["rows"]
        result[size] = {
            "rows": rows,
            "cpu_us_per_document": record.spread([one["cpu_seconds"] / rows * 1e6 for one in runs], 2),
            "of_which_apply": record.spread([one["apply_cpu_seconds"] / rows * 1e6 for one in runs], 2),
            "peak_memory_mib": max(one["peak_memory_mib"] for one in runs),
            **judge(store),
        }
    return result


if __name__ == "__main__":
    main()
