"""Answers from latents against answers from nothing, from text, and from another question's latents.

    python benchmarks/latent_answers.py [--limit N] [--pretrained FOLDER]

On questions that nothing was trained or chosen on: XQuAD articles 25-48, the last 355 rows of QED, HotpotQA, MuSiQue.
"""

from __future__ import annotations

import argparse
import random
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from record import SHARED, hash_files, print_table, write_result

from latent_memory.data import Form, read_questions, read_sentences
from latent_memory.evaluate import evaluate
from latent_memory.pretrained import PACKAGED, load_compressor, load_generator, read_manifest

SETS: tuple[tuple[str, str, Form, int], ...] = (
    ("XQuAD en, articles 25-48", "xquad.en.json.gz", "squad", 24),
    ("QED, last 355 rows", "qed-dev.jsonlines.gz", "qed", 1000),
    ("HotpotQA", "hotpotqa_hipporag100.json.gz", "hotpotqa", 0),
    ("MuSiQue", "musique_hipporag100.json.gz", "musique", 0),
)
POOL = 1000
"""Most sentences that retrieval chooses from beside the gold ones, drawn with a fixed seed."""


def measure(which: tuple[str, str, Form, int], pretrained: Path, limit: int | None) -> dict[str, Any]:
    """All conditions on one set, in a process of its own."""
    _, name, form, first = which
    started = time.process_time()
    path = SHARED / "qa" / name
    pool = read_sentences(path, form, first, titles=True)
    result = evaluate(
        read_questions(path, form, first)[:limit],
        random.Random(0).sample(pool, min(POOL, len(pool))),
        load_compressor(pretrained),
        load_generator(pretrained),
    )
    return {**result, "cpu_seconds": round(time.process_time() - started, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=int, help="questions of each set, the first ones")
    parser.add_argument("--pretrained", type=Path, default=PACKAGED)
    options = parser.parse_args()
    if not (SHARED / "qa").is_dir():
        raise SystemExit(f"the question sets aren't at {SHARED / 'qa'}")
    stamp = read_manifest(options.pretrained).stamp()
    results: dict[str, Any] = {}
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as workers:
        measured = workers.map(partial(measure, pretrained=options.pretrained, limit=options.limit), SETS)
        for (title, *_), result in zip(SETS, measured, strict=True):
            results[title] = result
            show(title, result)
    if options.limit is None and options.pretrained == PACKAGED:
        corpus = {
            "sets": [title for title, *_ in SETS],
            "sha256": hash_files(SHARED / "qa" / name for _, name, _, _ in SETS),
        }
        result = {"memory": stamp, "sets": results}
        print(write_result("latent_answers", result, ("lancedb", "peft", "torch", "transformers"), corpus))


def show(title: str, result: dict[str, Any]) -> None:
    def cell(interval: dict[str, float], factor: float = 100, digits: int = 1) -> str:
        mean, low, high = (f"{factor * interval[key]:.{digits}f}" for key in ("mean", "low", "high"))
        return f"{mean} [{low}, {high}]"

    rows: list[tuple[str, ...]] = [
        (name, cell(got["f1"]), cell(got["exact"]), cell(got["answer_loss"], 1, 2), f"{got['context_tokens']:.1f}")
        for name, got in result["conditions"].items()
    ]
    rows += [
        (name, cell(got["f1"]), "", cell(got["answer_loss"], 1, 2), "") for name, got in result["differences"].items()
    ]
    recall = f"recall@1 {result['recall_at_1']:.3f}, @5 {result['recall_at_5']:.3f} among {result['pool']:,}"
    headings = ("", "F1", "exact match", "answer loss", "context tokens")
    print_table(f"{title}: {result['questions']} questions, {recall}", headings, rows)


if __name__ == "__main__":
    main()
