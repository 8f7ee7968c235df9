"""Which signal tells right answers from wrong ones, and the curves that make it a confidence.

    python benchmarks/confidence.py [--pretrained FOLDER] [--recipe FILE] [--write]

On the questions that the recipe held out, over their evidence and `SENTENCES` further sentences of its corpus: of those
that it trained on a reader would be too sure, and those to report on stay unseen. `--write` keeps the curves beside the
trained compressor. An answer counts as right from a token F1 of 0.5.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from real_memory import memory_of, place
from record import ROOT, hash_files, print_table, write_result

from latent_memory.answers import Found, reading_of
from latent_memory.confidence import auroc, fit, save_curves
from latent_memory.corpus import read_corpus
from latent_memory.data import Question
from latent_memory.evaluation.metrics import token_f1
from latent_memory.pretrained import PACKAGED, load_compressor, load_generator, read_manifest
from latent_memory.training_recipe import load_recipe

RIGHT = 0.5
SENTENCES = 1000
TOGETHER = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--recipe", type=Path, default=ROOT / "configs" / "memory_text.yaml", help="what it was trained by"
    )
    parser.add_argument("--pretrained", type=Path, default=PACKAGED)
    parser.add_argument("--write", action="store_true", help="keep the curves beside the compressor")
    options = parser.parse_args()
    rows: dict[str, list[dict[str, float]]] = {"latents": [], "raw": []}
    questions, texts = held_out(options.recipe, options.pretrained)
    memory = memory_of(texts, place("held-out", options.pretrained), options.recipe.name, options.pretrained)
    found = memory.find([question.text for question in questions], k=3)
    for mode in rows:
        rows[mode] += measure(questions, found, mode == "raw", options.pretrained)
    results = {mode: compare(measured) for mode, measured in rows.items()}
    show(results)
    curves = {
        mode: fit([row["mean"] for row in measured], [row["f1"] >= RIGHT for row in measured])
        for mode, measured in rows.items()
    }
    print(curves)
    if options.write:
        save_curves(options.pretrained, curves, read_manifest(options.pretrained).adapter)
    if options.pretrained == PACKAGED:
        told = {"memory": read_manifest().stamp(), "questions": len(rows["raw"]), "modes": results}
        told_by = load_recipe(options.recipe)
        read = [told_by.data / source.path for source in told_by.sources]
        sets = {"sets": [path.name for path in read], "sha256": hash_files(read)}
        print(write_result("confidence", told, ("torch", "transformers"), sets))


def held_out(recipe: Path, pretrained: Path) -> tuple[list[Question], list[str]]:
    """The questions that a training by this recipe never saw, and the texts to search for them."""
    told = load_recipe(recipe).model_copy(update={"distracted": 0.0})
    corpus = read_corpus(told, load_compressor(pretrained), load_generator(pretrained), [])
    others = random.Random(0).sample(corpus.sentences, min(SENTENCES, len(corpus.sentences)))
    evidence = [text for question in corpus.held_out for text in question.evidence]
    return corpus.held_out, list(dict.fromkeys([*evidence, *others]))


def measure(questions: Sequence[Question], found: Sequence[Found], raw: bool, pretrained: Path) -> list[dict[str, Any]]:
    """For each question the F1 of its answer, and every signal."""
    generator, compressor = load_generator(pretrained), load_compressor(pretrained)
    rows: list[dict[str, Any]] = []
    for begin in range(0, len(questions), TOGETHER):
        part = range(begin, min(begin + TOGETHER, len(questions)))
        readings = [reading_of(generator, compressor, found[i], raw) for i in part]
        steps = list(generator.stream(readings, compressor.reader))
        for at, i in enumerate(part):
            said = [step[at] for step in steps]
            sums = [0.0, *(words.log_probability * words.tokens for words in said)]
            tokens = [after - before for before, after in pairwise(sums)][: said[-1].tokens]
            scores = [row["score"] for row in found[i].rows]
            rows.append(
                {
                    "f1": token_f1(said[-1].text, questions[i].answers),
                    "mean": float(np.mean(tokens)),
                    "sum": float(np.sum(tokens)),
                    "least": min(tokens),
                    "first": tokens[0],
                    "score": scores[0],
                    "margin": scores[0] - scores[-1],
                }
            )
    return rows


def compare(rows: Sequence[dict[str, float]]) -> dict[str, Any]:
    """AUROC of each signal, and of the two best kinds together, each in standard deviations."""
    right = [row["f1"] >= RIGHT for row in rows]
    columns = {key: np.array([row[key] for row in rows]) for key in rows[0] if key != "f1"}
    unit = {key: (values - values.mean()) / (values.std() + 1e-9) for key, values in columns.items()}
    signals = {**columns, "mean + score": unit["mean"] + unit["score"], "mean + margin": unit["mean"] + unit["margin"]}
    return {
        "right": float(np.mean(right)),
        "auroc": {key: round(auroc(list(values), right), 3) for key, values in signals.items()},
        "kept": kept(columns["mean"], np.array([row["f1"] for row in rows])),
    }


def kept(signal: np.ndarray[Any, Any], f1: np.ndarray[Any, Any]) -> dict[str, float]:
    """Mean F1 of the surest quarter, half and three quarters of the answers, and of all."""
    order = np.argsort(-signal, kind="stable")
    return {f"{share:.0%}": float(f1[order[: round(share * len(order))]].mean()) for share in (0.25, 0.5, 0.75, 1.0)}


def show(results: dict[str, dict[str, Any]]) -> None:
    keys = list(results["raw"]["auroc"])
    table = [(key, *(result["auroc"][key] for result in results.values())) for key in keys]
    print_table("AUROC of right answers against wrong ones", ("signal", *results), table)
    shares = [(share, *(result["kept"][share] for result in results.values())) for share in results["raw"]["kept"]]
    print_table("mean F1 of the surest answers", ("share", *results), shares)


if __name__ == "__main__":
    main()
