"""What running a tier as accountable shards costs over a bare loop, in CPU time.

Both sides call the same prepared stage functions, language and quality rules, on the same Arrow shards of the
documentation on this machine, and write what is kept as Arrow IPC with the same compression. The bare loop does
nothing else. The run also plans, counts, checks every balance and schema, writes ledgers, hashes and commits every
shard, and writes manifests.

They take turns in one process after a warm-up of both. The figure is the median of the ratios of their processor
times, all threads counted; other work on the machine still blurs it, so the ratio of the least times stands beside it.

    python benchmarks/overhead.py [--pages 1200] [--rounds 11]
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pyarrow as pa
import record
from rich.console import Console

from pipelines.dataflow import run_plan
from pipelines.engine import LocalEngine
from pipelines.plan import make_plan
from pipelines.progress import RunProgress
from pipelines.recipe import Recipe
from pipelines.sample import write_sample
from tiers.stage import Context, Outcome

TARGET = 1.10
RULES = {
    "gopher_quality": {"min_alphabetic_words": 0.65},
    "c4": {"terminal_punctuation": False, "curly_bracket": False, "min_sentences": 3},
}
"""Those of configs/quickstart.yaml, which suit this corpus: with fewer rows kept, the run would have less to do."""
Apply = Callable[[pa.Table], Outcome]


def bare(shards: list[Path], applies: list[Apply], out: Path) -> int:
    """Reads, applies and writes, shard by shard; gives the rows that were kept."""
    out.mkdir(parents=True)
    rows = 0
    for shard in shards:
        reader = pa.ipc.open_file(pa.memory_map(str(shard)))
        writer = None
        for number in range(reader.num_record_batches):
            table = pa.Table.from_batches([reader.get_batch(number)])
            for apply in applies:
                table = apply(table).kept
            options = pa.ipc.IpcWriteOptions(compression="zstd")
            writer = writer or pa.ipc.new_file(str(out / shard.name), table.schema, options=options)
            writer.write_table(table)
            rows += table.num_rows
        if writer:
            writer.close()
    return rows


def tierline(recipe: Recipe, output: Path, context: Context) -> None:
    """Plans and runs the recipe from L0, which stands, to L1."""
    run_plan(make_plan(recipe), str(output), LocalEngine(), context, RunProgress(Console(quiet=True), quiet=True))


def cpu_seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def measure(folder: Path, pages: int, rounds: int) -> dict[str, Any]:
    sample = write_sample(folder / "sample", pages=pages, files=8)
    recipe = Recipe.model_validate(
        {
            "name": "overhead",
            "inputs": [{"path": f"{folder}/sample/*.warc.gz"}],
            "l0": ["extract_html"],
            "l1": [{"language": {"min_confidence": 0.3}}, {"quality_rules": RULES}],
        }
    )
    context, output = Context(models=folder), folder / "run"
    run_plan(make_plan(recipe), str(output), LocalEngine(), context, RunProgress(Console(quiet=True), quiet=True), "L0")
    shards = sorted(output.glob("L0/*/data/*.arrow"))
    applies = [stage.prepare(context) for stage in recipe.l1]
    out = folder / "bare"
    sides: dict[str, Callable[[], int | None]] = {
        "bare": lambda: bare(shards, applies, out),
        "tierline": lambda: tierline(recipe, output, context),
    }
    times: dict[str, list[float]] = {side: [] for side in sides}
    kept = sides["bare"]()
    sides["tierline"]()
    for number in range(rounds):
        for side in ("bare", "tierline") if number % 2 else ("tierline", "bare"):
            shutil.rmtree(output / "L1" if side == "tierline" else out)
            times[side].append(cpu_seconds(sides[side]))
    ratios = [run / loop for run, loop in zip(times["tierline"], times["bare"], strict=True)]
    rows = sum(pa.ipc.open_file(pa.memory_map(str(shard))).count_rows() for shard in shards)
    return {
        "rows": rows,
        "rows_kept": kept,
        "shards": len(shards),
        "rounds": rounds,
        "bare_cpu_seconds": record.spread(times["bare"]),
        "tierline_cpu_seconds": record.spread(times["tierline"]),
        "ratio": record.spread(ratios),
        "ratio_of_least": round(min(times["tierline"]) / min(times["bare"]), 4),
        "target": TARGET,
        "met": statistics.median(ratios) <= TARGET,
        "corpus": {"name": "sample", "pages": pages, "bytes": sample.bytes, "sha256": record.hash_files(sample.files)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=1200)
    parser.add_argument("--rounds", type=int, default=21)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), arguments.pages, arguments.rounds)
    corpus = result.pop("corpus")
    rows = [
        (side, *(result[f"{side}_cpu_seconds"][key] for key in ("median", "min", "max")))
        for side in ("bare", "tierline")
    ]
    rows.append(("ratio", *(result["ratio"][key] for key in ("median", "min", "max"))))
    title = f"CPU seconds for {result['rows']:,} rows in {result['shards']} shards; target {TARGET}×"
    record.print_table(title, ("side", "median", "least", "greatest"), rows)
    print(record.write_result("overhead", result, ("pyarrow", "polars", "numpy", "tierline"), corpus))


if __name__ == "__main__":
    main()
