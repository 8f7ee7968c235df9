"""Answers of the frozen generator from whatever stands for the evidence, in batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from latent_memory.data import Question
from latent_memory.evaluation.metrics import exact_match, token_f1
from latent_memory.generator import Generator, Reading
from latent_memory.reader import Latents, Reader

BATCH = 64
BATCH_TOKENS = 16_384
"""Most context tokens of a batch, padding included."""


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
    contexts: Sequence[Tensor | Latents | None],
    reader: Reader | None = None,
) -> Run:
    """Answers every question from its context, in batches of similar length.

    Where contexts are latents, a reader may help.
    """
    lengths = [0 if context is None else len(context) for context in contexts]
    answers = [""] * len(questions)
    for part in _batches(lengths):
        found = generator.answer([_reading(questions, contexts, i) for i in part], reader)
        for index, answer in zip(part, found, strict=True):
            answers[index] = answer
    pairs = list(zip(answers, (q.answers for q in questions), strict=True))
    return Run(
        answers=answers,
        f1=[token_f1(answer, accepted) for answer, accepted in pairs],
        exact=[exact_match(answer, accepted) for answer, accepted in pairs],
        context_tokens=lengths,
    )


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Numbers of contexts, short ones first, in batches that are neither too many nor too long."""
    part: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if part and (len(part) == BATCH or (len(part) + 1) * lengths[index] > BATCH_TOKENS):
            yield part
            part = []
        part.append(index)
    if part:
        yield part


def answer_loss(
    generator: Generator,
    questions: Sequence[Question],
    contexts: Sequence[Tensor | Latents | None],
    reader: Reader | None = None,
) -> list[float]:
    """Negative log-likelihood of each first accepted answer, nats per token: finer than greedy answers are."""
    losses: list[float] = []
    for begin in range(0, len(questions), BATCH):
        part = range(begin, min(len(questions), begin + BATCH))
        answers = [generator.answer_ids(questions[i].answers[0], blank=reader is not None) for i in part]
        rows = [_reading(questions, contexts, i, answer) for i, answer in zip(part, answers, strict=True)]
        with torch.inference_mode():
            logits = generator.score(rows, reader)
            targets = torch.tensor([token for answer in answers for token in answer])
            tokens = F.cross_entropy(logits, targets, reduction="none").split([len(answer) for answer in answers])
        losses += [float(row.mean()) for row in tokens]
    return losses


def _reading(
    questions: Sequence[Question],
    contexts: Sequence[Tensor | Latents | None],
    at: int,
    answer: tuple[int, ...] = (),
) -> Reading:
    return Reading(questions[at].text, contexts[at], answer)
