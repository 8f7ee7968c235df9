"""What a memory is worth: answers from latents, against nothing, the raw text, and somebody else's latents.

One frozen generator answers each question five times: with no evidence, the gold evidence as text, its latents, the
latents of another question's evidence, and the latents that retrieval finds. A latent that carries content beats
both nothing and the shuffled one; the shuffled one alone shows what a latent does as a mere prompt.
"""

from __future__ import annotations

import random
import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor

from latent_memory.compressor import Compressor, encode
from latent_memory.data import Question
from latent_memory.generator import Generator, Reading

CONDITIONS = ("none", "raw", "latent", "shuffled", "retrieved")
BATCH = 64


def normalise(answer: str) -> str:
    """Lower case, no punctuation, no articles, single blanks: SQuAD's evaluation (Rajpurkar et al., EMNLP 2016)."""
    bare = "".join(c for c in answer.lower() if c not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", bare).split())


def token_f1(answer: str, accepted: Sequence[str]) -> float:
    """Harmonic mean of token precision and recall, the best over the accepted answers (SQuAD)."""
    return max(_f1(normalise(answer).split(), normalise(gold).split()) for gold in accepted)


def _f1(answer: list[str], gold: list[str]) -> float:
    if not answer or not gold:
        return float(answer == gold)
    common = sum((Counter(answer) & Counter(gold)).values())
    return 2 * common / (len(answer) + len(gold))


def exact_match(answer: str, accepted: Sequence[str]) -> float:
    """1 where the normalised answer equals an accepted one (SQuAD)."""
    return float(normalise(answer) in {normalise(gold) for gold in accepted})


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % percentile bootstrap interval over questions."""

    mean: float
    low: float
    high: float


def bootstrap(values: Sequence[float], rounds: int = 10_000, seed: int = 0) -> Interval:
    """Mean and 95 % interval of values, one for each question; of paired differences where they are differences."""
    array = np.asarray(values, float)
    rng = np.random.default_rng(seed)
    means = [array[rng.integers(0, len(array), len(array))].mean() for _ in range(rounds)]
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(float(array.mean()), float(low), float(high))


@dataclass(frozen=True)
class Run:
    """Answers of one condition: F1 and exact match for each question, and tokens that the evidence took."""

    answers: list[str]
    f1: list[float]
    exact: list[float]
    context_tokens: list[int]


def answer_all(generator: Generator, questions: Sequence[Question], contexts: Sequence[Tensor | None]) -> Run:
    """Answers every question from its context, in batches of similar length."""
    order = sorted(range(len(questions)), key=lambda i: 0 if (c := contexts[i]) is None else len(c))
    answers = [""] * len(questions)
    for begin in range(0, len(order), BATCH):
        part = order[begin : begin + BATCH]
        found = generator.answer([Reading(questions[i].text, contexts[i]) for i in part])
        for index, answer in zip(part, found, strict=True):
            answers[index] = answer
    pairs = list(zip(answers, (q.answers for q in questions), strict=True))
    return Run(
        answers=answers,
        f1=[token_f1(answer, accepted) for answer, accepted in pairs],
        exact=[exact_match(answer, accepted) for answer, accepted in pairs],
        context_tokens=[0 if context is None else len(context) for context in contexts],
    )


def evaluate(
    questions: Sequence[Question], pool: Sequence[str], compressor: Compressor, generator: Generator, k: int = 3
) -> dict[str, object]:
    """Runs all five conditions on a set of questions.

    Args:
        questions: With gold evidence.
        pool: Further evidence that retrieval chooses from, beside the gold evidence of all questions.
        compressor: Trained.
        generator: The one it was trained for.
        k: Latents that retrieval gives the generator.

    Returns:
        For each condition F1 and exact match with intervals and mean context tokens; the paired differences of F1
        between latent and none, latent and shuffled, raw and none; recall of the first gold evidence at 1 and 5.
    """
    pieces = [[p for text in q.evidence for p in compressor.split(text)] for q in questions]
    texts = list(
        dict.fromkeys([p for own in pieces for p in own] + [p for text in pool for p in compressor.split(text)])
    )
    latents, vectors = encode(compressor, texts, "evidence")
    _, asked = encode(compressor, [q.text for q in questions], "query")
    row = {text: index for index, text in enumerate(texts)}
    ranked = np.argsort(-(asked @ vectors.T), axis=1, kind="stable")

    def read(rows: Sequence[int]) -> Tensor:
        return torch.from_numpy(latents[list(rows)])

    own = [[row[p] for p in part] for part in pieces]
    contexts: dict[str, Callable[[int], Tensor | None]] = {
        "none": lambda i: None,
        "raw": lambda i: generator.embed(" ".join(questions[i].evidence)),
        "latent": lambda i: read(own[i]),
        "shuffled": lambda i: read(own[other[i]]),
        "retrieved": lambda i: read([int(r) for r in ranked[i, :k]]),
    }
    other = derangement(own)
    runs = {
        name: answer_all(generator, questions, [contexts[name](i) for i in range(len(questions))])
        for name in CONDITIONS
    }
    return {
        "questions": len(questions),
        "pool": len(texts),
        "k": k,
        "conditions": {
            name: {
                "f1": asdict(bootstrap(run.f1)),
                "exact": asdict(bootstrap(run.exact)),
                "context_tokens": float(np.mean(run.context_tokens)),
            }
            for name, run in runs.items()
        },
        "differences_f1": {
            f"{a} - {b}": asdict(bootstrap(np.subtract(runs[a].f1, runs[b].f1).tolist()))
            for a, b in (("latent", "none"), ("latent", "shuffled"), ("raw", "none"), ("retrieved", "shuffled"))
        },
        "recall_at_1": float(np.mean([bool(set(own[i]) & set(ranked[i, :1].tolist())) for i in range(len(own))])),
        "recall_at_5": float(np.mean([bool(set(own[i]) & set(ranked[i, :5].tolist())) for i in range(len(own))])),
        "examples": [
            {"question": q.text, "gold": q.answers[0], **{name: runs[name].answers[i] for name in CONDITIONS}}
            for i, q in enumerate(questions[:8])
        ],
    }


def derangement(own: Sequence[Sequence[int]], seed: int = 0) -> list[int]:
    """For each question another one that shares no evidence with it and has as many pieces, or nearly so."""
    rng = random.Random(seed)
    chosen: list[int] = []
    for i, rows in enumerate(own):
        strangers = [j for j in range(len(own)) if not set(own[j]) & set(rows)]
        nearest = min((abs(len(own[j]) - len(rows)) for j in strangers), default=0)
        chosen.append(rng.choice([j for j in strangers if abs(len(own[j]) - len(rows)) == nearest] or [i]))
    return chosen
