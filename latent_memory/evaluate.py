"""What a memory is worth: answers from latents, against nothing, the raw text, and somebody else's latents.

One frozen generator answers each question several times: with no evidence, the gold evidence as text, its latents, the
latents of another question's evidence, the latents that retrieval finds, and the text that they were made of. A latent
that carries content beats both nothing and the shuffled one; the shuffled one alone shows what a latent does as a mere
prompt. `latent, unread` leaves the reader out: the frozen generator has the latent as an input and nothing else.
"""

from __future__ import annotations

import random
import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from latent_memory.compressor import Compressor, encode
from latent_memory.data import Question
from latent_memory.generator import Generator, Reading
from latent_memory.reader import Reader
from latent_memory.store import quantise

CONDITIONS = ("none", "raw", "latent", "latent, unread", "shuffled", "retrieved", "retrieved raw")
READ = {"latent", "shuffled", "retrieved"}
"""Where the reader helps the generator; the others are the frozen generator alone."""
COMPARED = (
    ("latent", "none"),
    ("latent", "shuffled"),
    ("latent, unread", "none"),
    ("retrieved", "none"),
    ("retrieved", "shuffled"),
)
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


def answer_all(
    generator: Generator,
    questions: Sequence[Question],
    contexts: Sequence[Tensor | None],
    reader: Reader | None = None,
    asked: Tensor | None = None,
) -> Run:
    """Answers every question from its context, in batches of similar length.

    Where contexts are latents, a reader may help that knows the questions' latents `asked`, (N, G).
    """
    order = sorted(range(len(questions)), key=lambda i: 0 if (c := contexts[i]) is None else len(c))
    answers = [""] * len(questions)
    for begin in range(0, len(order), BATCH):
        part = order[begin : begin + BATCH]
        found = generator.answer([_reading(questions, contexts, asked, i) for i in part], reader)
        for index, answer in zip(part, found, strict=True):
            answers[index] = answer
    pairs = list(zip(answers, (q.answers for q in questions), strict=True))
    return Run(
        answers=answers,
        f1=[token_f1(answer, accepted) for answer, accepted in pairs],
        exact=[exact_match(answer, accepted) for answer, accepted in pairs],
        context_tokens=[0 if context is None else len(context) for context in contexts],
    )


def answer_loss(
    generator: Generator,
    questions: Sequence[Question],
    contexts: Sequence[Tensor | None],
    reader: Reader | None = None,
    asked: Tensor | None = None,
) -> list[float]:
    """Negative log-likelihood of each first accepted answer, nats per token: finer than greedy answers are."""
    losses: list[float] = []
    for begin in range(0, len(questions), BATCH):
        part = range(begin, min(len(questions), begin + BATCH))
        answers = [generator.answer_ids(questions[i].answers[0]) for i in part]
        rows = [_reading(questions, contexts, asked, i, answer) for i, answer in zip(part, answers, strict=True)]
        with torch.inference_mode():
            logits = generator.score(rows, reader)
            targets = torch.tensor([token for answer in answers for token in answer])
            tokens = F.cross_entropy(logits, targets, reduction="none").split([len(answer) for answer in answers])
        losses += [float(row.mean()) for row in tokens]
    return losses


def _reading(
    questions: Sequence[Question],
    contexts: Sequence[Tensor | None],
    asked: Tensor | None,
    at: int,
    answer: tuple[int, ...] = (),
) -> Reading:
    return Reading(questions[at].text, contexts[at], answer, None if asked is None else asked[at])


def evaluate(
    questions: Sequence[Question], pool: Sequence[str], compressor: Compressor, generator: Generator, k: int = 3
) -> dict[str, object]:
    """Runs all conditions on a set of questions.

    Args:
        questions: With gold evidence.
        pool: Further evidence that retrieval chooses from, beside the gold evidence of all questions.
        compressor: Trained.
        generator: The one it was trained for.
        k: Latents that retrieval gives the generator.

    Returns:
        For each condition F1, exact match and loss of the gold answer with intervals, and mean context tokens; paired
        differences of F1 and of the loss; how often gold evidence is among the first 1 and 5 that retrieval finds.
    """
    pieces = [[p for text in q.evidence for p in compressor.split(text)] for q in questions]
    gold = [piece for part in pieces for piece in part]
    texts = list(dict.fromkeys([*gold, *(piece for text in pool for piece in compressor.split(text))]))
    latents, vectors = encode(compressor, texts, "evidence")
    small, scale = quantise(latents)
    stored = torch.from_numpy(small * scale[:, None])
    asked, sought = encode(compressor, [q.text for q in questions], "query")
    row = {text: index for index, text in enumerate(texts)}
    ranked = np.argsort(-(sought @ vectors.T), axis=1, kind="stable")

    def read(rows: Sequence[int]) -> Tensor:
        return stored[list(rows)]

    own = [[row[p] for p in part] for part in pieces]
    contexts: dict[str, Callable[[int], Tensor | None]] = {
        "none": lambda i: None,
        "raw": lambda i: generator.embed(" ".join(questions[i].evidence)),
        "latent": lambda i: read(own[i]),
        "latent, unread": lambda i: read(own[i]),
        "shuffled": lambda i: read(own[other[i]]),
        "retrieved": lambda i: read([int(r) for r in ranked[i, :k]]),
        "retrieved raw": lambda i: generator.embed(" ".join(texts[r] for r in ranked[i, :k])),
    }
    other = derangement(own)
    numbers = range(len(questions))
    given = {name: [contexts[name](i) for i in numbers] for name in CONDITIONS}
    helped = (compressor.reader, torch.from_numpy(asked))
    helpers = {name: helped if name in READ else (None, None) for name in CONDITIONS}
    runs = {name: answer_all(generator, questions, given[name], *helpers[name]) for name in CONDITIONS}
    losses = {name: answer_loss(generator, questions, given[name], *helpers[name]) for name in CONDITIONS}
    return {
        "questions": len(questions),
        "pool": len(texts),
        "k": k,
        "conditions": {name: _figures(runs[name], losses[name]) for name in CONDITIONS},
        "differences": {
            f"{a} - {b}": {
                "f1": _interval(np.subtract(runs[a].f1, runs[b].f1)),
                "answer_loss": _interval(np.subtract(losses[a], losses[b])),
            }
            for a, b in COMPARED
        },
        **{
            f"recall_at_{n}": float(np.mean([bool({*own[i]} & {*ranked[i, :n].tolist()}) for i in numbers]))
            for n in (1, 5)
        },
        "examples": [
            {"question": q.text, "gold": q.answers[0], **{name: runs[name].answers[i] for name in CONDITIONS}}
            for i, q in enumerate(questions[:8])
        ],
    }


def _figures(run: Run, losses: Sequence[float]) -> dict[str, object]:
    return {
        "f1": _interval(run.f1),
        "exact": _interval(run.exact),
        "answer_loss": _interval(losses),
        "context_tokens": float(np.mean(run.context_tokens)),
    }


def _interval(values: Sequence[float] | np.ndarray[Any, Any]) -> dict[str, float]:
    return asdict(bootstrap([float(value) for value in values]))


def derangement(own: Sequence[Sequence[int]], seed: int = 0) -> list[int]:
    """For each question another one that shares no evidence with it and has as many pieces, or nearly so."""
    rng = random.Random(seed)
    chosen: list[int] = []
    for i, rows in enumerate(own):
        strangers = [j for j in range(len(own)) if not set(own[j]) & set(rows)]
        nearest = min((abs(len(own[j]) - len(rows)) for j in strangers), default=0)
        chosen.append(rng.choice([j for j in strangers if abs(len(own[j]) - len(rows)) == nearest] or [i]))
    return chosen
