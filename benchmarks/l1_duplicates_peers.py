"""Near-duplicate removal by other tools, from a file of texts to the ids that stay: what `l1_duplicates.py` runs.

    PYTHON benchmarks/l1_duplicates_peers.py datatrove|daft|text_dedup CORPUS WARM_UP

Each in the interpreter that has it, with Tierline's parameters: shingles of 5 words, 14 bands of 8 rows. CORPUS and
WARM_UP are JSON lines of `id` and `text`; the work is done once on WARM_UP, and then the CPU seconds of all threads and
child processes for CORPUS are taken. Prints them as JSON, with the ids that stay and the tool's version.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

N, BANDS, ROWS = 5, 14, 8


def datatrove(corpus: Path, scratch: Path) -> list[str]:
    """Its four stages, as its example has them, with its default word tokenizer and 64-bit hashes."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupBuckets
    from datatrove.pipeline.readers import ParquetReader
    from datatrove.pipeline.writers import ParquetWriter
    from pyarrow import json as arrow_json
    from pyarrow import parquet

    parquet.write_table(arrow_json.read_json(corpus), scratch / "in.parquet")
    config = MinhashConfig(n_grams=N, num_buckets=BANDS, hashes_per_bucket=ROWS)
    signatures, buckets, removals, out = (str(scratch / name) for name in ("signatures", "buckets", "removals", "out"))
    reader = ParquetReader(str(scratch), glob_pattern="in.parquet")
    stages: list[tuple[list[Any], int]] = [
        ([reader, MinhashDedupSignature(signatures, config)], 1),
        ([MinhashDedupBuckets(signatures, buckets, config=config)], BANDS),
        ([MinhashDedupCluster(buckets, removals, config=config)], 1),
        ([reader, MinhashDedupFilter(removals), ParquetWriter(out)], 1),
    ]
    for number, (pipeline, tasks) in enumerate(stages):
        LocalPipelineExecutor(pipeline, tasks=tasks, logging_dir=str(scratch / f"logs{number}")).run()
    kept: list[str] = parquet.read_table(out)["id"].to_pylist()
    return kept


def text_dedup(corpus: Path, scratch: Path) -> list[str]:
    """Its command, in this process."""
    from datasets import load_from_disk
    from text_dedup.minhash import main

    options = {
        "path": "json", "data_files": corpus, "split": "train", "cache_dir": scratch / "cache", "column": "text",
        "output": scratch / "out", "ngram": N, "num_perm": BANDS * ROWS, "b": BANDS, "r": ROWS, "min_length": 0,
        "num_proc": 1, "hash_func": "xxh3", "batch_size": 10_000,
    }  # fmt: skip
    main([f"--{name}={value}" for name, value in options.items()], standalone_mode=False)
    kept: list[str] = load_from_disk(str(scratch / "out"))["id"][:]
    return kept


def daft(corpus: Path, scratch: Path) -> list[str]:
    """The steps of its tutorial: normalise, MinHash, bands, and connected components by alternating stars.

    These alternate until the edges are stable; the tutorial then goes on with label propagation, which isn't counted.
    """
    import daft
    from daft import col
    from daft.functions import chunk, minhash, monotonically_increasing_id, normalize

    rows = daft.read_json(str(corpus)).with_column("node", monotonically_increasing_id()).collect()
    plain = normalize(col("text"), remove_punct=True, lowercase=True, nfd_unicode=True, white_space=True)
    hashes = minhash(plain, num_hashes=BANDS * ROWS, ngram_size=N, seed=42, hash_function="xxhash")
    bands = rows.select("node", chunk(hashes, ROWS).alias("band"))
    bands = bands.with_column("number", daft.lit(list(range(BANDS)))).explode("band", "number")
    groups = bands.groupby("number", "band").agg(col("node").list_agg().alias("v"), col("node").min().alias("u"))
    edges = (
        groups.explode("v")
        .where(col("u") != col("v"))
        .select(col("v").alias("u"), col("u").alias("v"))
        .distinct()
        .collect()
    )
    while True:
        found = small_star(large_star(edges))
        if edge_set(found) == edge_set(edges):
            break
        edges = found
    gone = edges.select(col("u").alias("node")).distinct()
    kept: list[str] = rows.join(gone, on="node", how="anti").to_pydict()["id"]
    return kept


def large_star(edges: Any) -> Any:
    """Connects each node's larger neighbours with the smallest node around (Kiveris et al. 2014)."""
    from daft import col

    both = edges.select("u", "v").union_all(edges.select(col("v").alias("u"), col("u").alias("v")))
    return _to_least(both, lambda: col("v") > col("u"))


def small_star(edges: Any) -> Any:
    """Connects each node and its smaller neighbours with the smallest of them; edges go from the larger node."""
    from daft import col

    return _to_least(edges, lambda: col("v") <= col("u"))


def _to_least(edges: Any, which: Callable[[], Any]) -> Any:
    from daft import col

    around = edges.union_all(edges.select("u", col("u").alias("v"))).distinct()
    around = around.groupby("u").agg(col("v").list_agg().alias("v"), col("v").min().alias("m"))
    ends = around.explode("v").where(which()).select(col("v").alias("u"), col("m").alias("v"))
    return ends.where(col("u") != col("v")).distinct().collect()


def edge_set(edges: Any) -> set[tuple[int, int]]:
    columns = edges.to_pydict()
    return {(max(pair), min(pair)) for pair in zip(columns["u"], columns["v"], strict=True)}


def cpu_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main() -> None:
    tool = {"datatrove": datatrove, "daft": daft, "text_dedup": text_dedup}[sys.argv[1]]
    corpus, warm_up = (Path(argument).resolve() for argument in sys.argv[2:])
    with tempfile.TemporaryDirectory(dir=corpus.parent) as folder:
        for name in ("warm", "run"):
            (Path(folder) / name).mkdir()
        tool(warm_up, Path(folder) / "warm")
        started = cpu_seconds()
        kept = tool(corpus, Path(folder) / "run")
        used = cpu_seconds() - started
    answer = {"cpu_seconds": used, "kept": kept, "version": version(sys.argv[1].replace("_", "-"))}
    sys.stdout.write("\n" + json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
