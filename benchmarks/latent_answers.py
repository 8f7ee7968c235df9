"""Answers from latents against answers by other methods, of the same generator over the same evidence.

    python benchmarks/latent_answers.py [--limit N] [--pretrained FOLDER] [--xrag FILE] [--sets …] [--methods …]
                                        [--latents T] [--keep FOLDER]

On questions that nothing was trained or chosen on: XQuAD articles 25-48, the last 355 rows of QED, HotpotQA, MuSiQue.
The evidence that is searched is that of the passages which a set gives with these questions. Without the file of xRAG's
projector (`tierline train-xrag`) xRAG is left out. With `--latents T` a piece of evidence is T times as long and has T
latents; its result has a file of its own. With `--keep` each set's result is kept as soon as it is there, so that a run
that was broken off goes on behind it.
"""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from record import SHARED, hash_files, print_table, write_result
from rich.console import Console

from latent_memory.compressor import Compressor
from latent_memory.data import Form, read_questions
from latent_memory.evaluation.bench import Corpus
from latent_memory.evaluation.methods import METHODS
from latent_memory.evaluation.run import difference, evaluate, interval, possible
from latent_memory.pretrained import PACKAGED, read_manifest
from pipelines.evaluation import load_models, render

SETS: dict[str, tuple[str, Form, int]] = {
    "XQuAD en, articles 25-48": ("xquad.en.json.gz", "squad", 24),
    "QED, last 355 rows": ("qed-dev.jsonlines.gz", "qed", 1000),
    "HotpotQA": ("hotpotqa_hipporag100.json.gz", "hotpotqa", 0),
    "MuSiQue": ("musique_hipporag100.json.gz", "musique", 0),
}
FEWEST = 100
"""Questions of each set from which a result is kept."""
COMPARED = (
    ("gold-latents", "shuffled-latents"),
    ("gold-latents", "gold-latents-exact"),
    ("latents", "shuffled-latents"),
    ("latents", "pruned"),
    ("latents", "xrag"),
    ("hybrid-latents", "shuffled-latents"),
    ("hybrid-latents", "pruned"),
    ("hybrid-latents", "xrag"),
    ("latent-raw", "dense"),
)
"""Beside every method against closed-book."""


def measure(
    title: str, pretrained: Path, xrag: Path | None, limit: int | None, chosen: list[str] | None, latents: int
) -> dict[str, Any]:
    """All methods, or those chosen, on one set, in a process of its own."""
    name, form, first = SETS[title]
    started = time.process_time()
    questions = read_questions(SHARED / "qa" / name, form, first)[:limit]
    methods, _ = possible(questions, xrag is not None)
    methods = [name for name in methods if chosen is None or name in chosen]
    models = load_models(methods, pretrained, xrag)
    lengthen(models.compressor, latents)
    got = evaluate(questions, Corpus.of(models, questions), methods, against="closed-book")
    said = {name: [row["answer"] for row in got.of(name)] for name in methods}
    pairs = [(a, b) for a, b in COMPARED if a in methods and b in methods]
    return {
        **got.summary,
        "compared": {f"{a} - {b}": difference(got.of(a), got.of(b)) for a, b in pairs},
        "examples": [
            {"question": q.text, "gold": q.answers[0], **{name: said[name][i] for name in methods}}
            for i, q in enumerate(questions[:8])
        ],
        "cpu_seconds": round(time.process_time() - started, 1),
        "f1": {name: [row["f1"] for row in got.of(name)] for name in methods},
    }


def kept(title: str, folder: Path | None, **how: Any) -> dict[str, Any]:
    """`measure`, or what it gave for the same set, weights and choices before."""
    if folder is None:
        return measure(title, **how)
    told = {name: str(value) for name, value in how.items()} | read_manifest(how["pretrained"]).stamp()
    path = folder / f"{SETS[title][0].split('.')[0]}.json"
    if path.exists() and (was := json.loads(path.read_text(encoding="utf-8")))["told"] == told:
        result: dict[str, Any] = was["result"]
        return result
    result = measure(title, **how)
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"told": told, "result": result}), encoding="utf-8")
    return result


def lengthen(compressor: Compressor, latents: int) -> None:
    """Has a compressor take text that is as many times as long, into as many latents; its weights stay as they are."""
    sizes = compressor.config
    longer = {name: latents * getattr(sizes, name) for name in ("latents", "split_tokens", "max_tokens")}
    compressor.config = sizes.model_copy(update=longer)


def pool(scores: list[dict[str, list[float]]]) -> dict[str, Any]:
    """F1 of the methods that all sets have, over all questions, and differences where they are compared."""
    names = [name for name in scores[0] if all(name in one for one in scores)]
    f1 = {name: [value for one in scores for value in one[name]] for name in names}
    pairs = [*COMPARED, *((name, "closed-book") for name in ("gold-latents", "latents", "hybrid-latents"))]
    return {
        "questions": len(f1["closed-book"]),
        "f1": {name: interval(values) for name, values in f1.items()},
        "compared": {
            f"{a} - {b}": {"f1": interval([x - y for x, y in zip(f1[a], f1[b], strict=True)])}
            for a, b in pairs
            if a in f1 and b in f1
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=int, help="questions of each set, the first ones")
    parser.add_argument("--pretrained", type=Path, default=PACKAGED)
    parser.add_argument("--xrag", type=Path, help="xRAG's projector")
    parser.add_argument("--sets", nargs="*", choices=SETS, default=list(SETS), metavar="NAME")
    parser.add_argument(
        "--methods", nargs="*", choices=METHODS, metavar="NAME", help="beside closed-book; default: all"
    )
    parser.add_argument("--latents", type=int, default=1, help="latents for a piece of evidence")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where results of single sets are kept")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    if not (SHARED / "qa").is_dir():
        raise SystemExit(f"the question sets aren't at {SHARED / 'qa'}")
    results: dict[str, Any] = {}
    scores = []
    chosen = None if options.methods is None else ["closed-book", *options.methods]
    one = partial(
        kept,
        folder=options.keep,
        pretrained=options.pretrained,
        xrag=options.xrag,
        limit=options.limit,
        chosen=chosen,
        latents=options.latents,
    )
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as workers:
        for title, result in zip(options.sets, workers.map(one, options.sets), strict=True):
            scores.append(result.pop("f1"))
            results[title] = result
            show(title, result)
    pooled = pool(scores)
    show_compared(f"all {pooled['questions']} questions", pooled["compared"])
    if options.pretrained == PACKAGED and (options.limit or FEWEST) >= FEWEST:
        files = [SHARED / "qa" / SETS[title][0] for title in results]
        result = {
            "memory": read_manifest(options.pretrained).stamp(),
            "limit": options.limit,
            "latents": options.latents,
            "sets": results,
            "pooled": pooled,
        }
        packages = ("lancedb", "peft", "torch", "transformers")
        name = "latent_answers" if options.latents == 1 else f"latent_answers_{options.latents}"
        print(write_result(name, result, packages, {"sets": list(results), "sha256": hash_files(files)}))


def show(title: str, result: dict[str, Any]) -> None:
    print(f"{title}: {result['cpu_seconds']} CPU-seconds")
    render(result, Console(width=150))
    show_compared(title, result["compared"])


def show_compared(title: str, compared: dict[str, Any]) -> None:
    rows = [
        (name, *(f"{100 * got['f1'][key]:.1f}" for key in ("mean", "low", "high"))) for name, got in compared.items()
    ]
    print_table(f"{title}: differences of F1", ("", "mean", "low", "high"), rows)


if __name__ == "__main__":
    main()
