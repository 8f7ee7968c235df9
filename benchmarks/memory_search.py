"""Search in a large memory against a flat one; full text beside vectors; an answer from latents against one from text.

    python benchmarks/memory_search.py [--rows 100000 1000000] [--sought N] [--queries N] [--asked N]

Sentences of XQuAD articles 1-24 and of the first 1,000 rows of QED are compressed once. Large memories are filled with
perturbed copies of them: to the vector a random one of half its length is added and the sum normalised (cosine to the
original about 0.89), and in each byte of the latent one bit is turned. Queries are the sets' own questions. The
index is compared with a flat search over the same rows; how often a gold sentence is found is measured without copies.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from real_memory import FOLDER, SETS, corpus, real_memory
from record import print_table, write_result

from latent_memory.answers import Answer
from latent_memory.compression import _lists as lists
from latent_memory.compressor import encode
from latent_memory.data import Question
from latent_memory.memory import LatentMemory
from latent_memory.pretrained import PACKAGED, load_compressor, read_manifest
from latent_memory.store import PROBES, REFINE, Store
from tiers.document import child_id

CHUNK = 50_000
SPREAD = 0.5
K = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=[100_000, 1_000_000])
    parser.add_argument("--sought", type=int, default=1000, help="questions of each set whose evidence is sought")
    parser.add_argument("--queries", type=int, default=200, help="questions that are sought in the large memories")
    parser.add_argument("--asked", type=int, default=30, help="questions that are answered")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where memories lie")
    options = parser.parse_args()
    sets = [real_memory(*which, folder=options.folder) for which in SETS]
    results: dict[str, Any] = {"memory": read_manifest().stamp(), "bytes": sets[0][0].bytes_per_evidence()}
    if options.sought:
        results["found"] = {
            which[0]: found(memory, questions[: options.sought])
            for which, (memory, questions) in zip(SETS, sets, strict=True)
        }
        show_found(results["found"])
    asked = [question for _, questions in sets for question in questions]
    asked = random.Random(0).sample(asked, min(options.queries, len(asked)))
    if options.rows:
        results["search"] = {rows: large(options.folder, sets, rows, asked) for rows in options.rows}
        show_search(results["search"])
    if options.asked:
        memory, questions = sets[0]
        results["ask"] = ask(memory, random.Random(1).sample(questions, min(options.asked, len(questions))))
        show_ask(results["ask"])
    print(write_result("memory_search", results, ("lancedb", "pyarrow", "torch", "transformers"), corpus()))


def found(memory: LatentMemory, questions: Sequence[Question]) -> dict[str, Any]:
    """How often gold evidence is among the first 1 and 5, by vectors alone and with full text."""
    told: dict[str, Any] = {"questions": len(questions), "rows": len(memory)}
    for title, hybrid in (("vectors", False), ("vectors and text", True)):
        ranked = [one.rows for one in memory.find([question.text for question in questions], 5, hybrid=hybrid)]
        hits = [
            [any(row["text"] in text or text in row["text"] for text in question.evidence) for row in rows]
            for question, rows in zip(questions, ranked, strict=True)
        ]
        told[title] = {f"recall@{k}": round(float(np.mean([any(row[:k]) for row in hits])), 4) for k in (1, 5)}
    return told


def perturbed(real: pa.Table, rows: int, seed: int = 0) -> Iterator[pa.Table]:
    """`rows` rows out of the real ones, a chunk at a time; ids and hashes are new, texts those of the originals."""
    rng = np.random.default_rng(seed)
    vectors, latents = (np.stack(real[name].to_numpy(zero_copy_only=False)) for name in ("vector", "latent"))
    for begin in range(0, rows, CHUNK):
        number = min(CHUNK, rows - begin)
        at = rng.integers(0, len(vectors), number)
        noise = rng.normal(size=(number, vectors.shape[1])).astype(np.float32)
        moved = vectors[at].astype(np.float32) + SPREAD * noise / np.linalg.norm(noise, axis=1, keepdims=True)
        moved /= np.linalg.norm(moved, axis=1, keepdims=True)
        shaken = latents[at] ^ (1 << rng.integers(0, 8, (number, latents.shape[1]))).astype(np.uint8).view(np.int8)
        keys = [bytes.fromhex(child_id("copy", "row", begin + row)) for row in range(number)]
        replaced = {
            "evidence_id": pa.array(keys, real.schema.field("evidence_id").type),
            "content": pa.array(range(begin, begin + number), pa.int64()),
            "documents": pa.array([[key] for key in keys], real.schema.field("documents").type),
            "vector": lists(moved.astype(np.float16)),
            "latent": lists(shaken),
        }
        taken = real.drop_columns(list(replaced)).take(pa.array(at))
        columns = [replaced[name] if name in replaced else taken[name] for name in real.schema.names]
        yield pa.table(columns, schema=real.schema)


def large(
    folder: Path, sets: Sequence[tuple[LatentMemory, Any]], rows: int, asked: Sequence[Question]
) -> dict[str, Any]:
    """Fills a memory with copies, indexes it and searches it."""
    schema = sets[0][0].schema
    real = pa.concat_tables([memory.read().cast(schema) for memory, _ in sets])
    place = folder / f"rows-{rows}"
    shutil.rmtree(place, ignore_errors=True)
    store = Store(str(place), schema, create=True)
    seconds: dict[str, float] = {}
    index = store._index

    def timed_index() -> None:
        seconds["index"] = seconds_of(index)

    store._index = timed_index  # type: ignore[method-assign]
    seconds["all"] = seconds_of(lambda: store.commit(perturbed(real, rows)))
    _, vectors = encode(load_compressor(PACKAGED), [question.text for question in asked], "query")
    ways: dict[str, Callable[[int], pa.Table]] = {
        "flat": lambda i: store.search(vectors[i], K, exact=True),
        "index": lambda i: store.search(vectors[i], K),
        "index and full text": lambda i: store.search(vectors[i], K, asked[i].text),
    }
    keys: dict[str, list[set[bytes]]] = {}
    latency: dict[str, dict[str, float]] = {}
    for way, run in ways.items():
        run(0)  # opens files
        taken = []
        keys[way] = []
        for i in range(len(asked)):
            started = time.perf_counter()
            keys[way].append(set(run(i)["evidence_id"].to_pylist()))
            taken.append(1000 * (time.perf_counter() - started))
        latency[way] = {"p50": float(np.percentile(taken, 50)), "p95": float(np.percentile(taken, 95))}
    recall = [len(a & b) / K for a, b in zip(keys["flat"], keys["index"], strict=True)]
    disk = {part: bytes_below(next(place.glob("*.lance")) / part) for part in ("data", "_indices")}
    result = {
        "recall@10": round(float(np.mean(recall)), 4),
        "milliseconds": latency,
        "fill_seconds": round(seconds["all"] - seconds["index"], 1),
        "index_seconds": round(seconds["index"], 1),
        "disk": disk,
        "probes": PROBES,
        "refine": REFINE,
        "queries": len(asked),
    }
    print(rows, result, flush=True)
    shutil.rmtree(place)
    return result


def seconds_of(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def bytes_below(folder: Path) -> int:
    return sum((Path(at) / name).stat().st_size for at, _, names in os.walk(folder) for name in names)


def ask(memory: LatentMemory, questions: Sequence[Question]) -> dict[str, Any]:
    """One question at a time, from latents and from the text of as many pieces: seconds and tokens."""
    memory.ask(questions[0].text)  # loads the models
    told: dict[str, Any] = {}
    for k in (3, 10):
        for mode, raw in (("latents", False), ("raw", True)):
            first: list[float] = []
            total: list[float] = []
            answers = []
            for question in questions:
                answer, until_first, until_end = timed(memory, question.text, k, raw)
                answers.append(answer)
                first += until_first
                total.append(until_end)
            told[f"{mode}, k={k}"] = {
                "first_token_s": percentiles(first),
                "total_s": percentiles(total),
                "prompt_tokens": float(np.mean([answer.prompt_tokens for answer in answers])),
                "context_tokens": float(np.mean([answer.context_tokens for answer in answers])),
                "generated_tokens": float(np.mean([answer.generated_tokens for answer in answers])),
            }
    return told


def timed(memory: LatentMemory, question: str, k: int, raw: bool) -> tuple[Answer, list[float], float]:
    """An answer, the seconds until its first piece of text, where it has any, and until its end."""
    heard: list[float] = []
    started = time.perf_counter()
    answer = memory.ask(question, k, raw, on_text=lambda *_: heard.append(time.perf_counter() - started))
    return answer, heard[:1], time.perf_counter() - started


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    return {f"p{share}": round(float(np.percentile(seconds, share)), 3) for share in (50, 95)}


def show_found(results: dict[str, dict[str, Any]]) -> None:
    rows = [
        (f"{name}, {way}", result["questions"], result["rows"], result[way]["recall@1"], result[way]["recall@5"])
        for name, result in results.items()
        for way in ("vectors", "vectors and text")
    ]
    print_table("gold evidence found", ("", "questions", "rows", "recall@1", "recall@5"), rows)


def show_search(results: dict[int, dict[str, Any]]) -> None:
    rows = [
        (
            f"{rows:,} rows, {way}",
            result["recall@10"] if way == "index" else "",
            times["p50"],
            times["p95"],
        )
        for rows, result in results.items()
        for way, times in result["milliseconds"].items()
    ]
    print_table("search", ("", "recall@10 against flat", "p50 ms", "p95 ms"), rows)
    sizes = [
        (f"{rows:,} rows", r["fill_seconds"], r["index_seconds"], r["disk"]["data"], r["disk"]["_indices"])
        for rows, r in results.items()
    ]
    print_table("building", ("", "fill s", "index s", "bytes of data", "bytes of indexes"), sizes)


def show_ask(results: dict[str, dict[str, Any]]) -> None:
    rows = [
        (
            name,
            result["first_token_s"]["p50"],
            result["total_s"]["p50"],
            result["total_s"]["p95"],
            result["prompt_tokens"],
            result["context_tokens"],
        )
        for name, result in results.items()
    ]
    headings = ("answers from", "first token p50 s", "total p50 s", "p95 s", "prompt tokens", "context tokens")
    print_table("ask", headings, rows)


if __name__ == "__main__":
    main()
