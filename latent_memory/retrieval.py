"""Fits the retrieval heads on what a finished compressor says of all questions and evidence.

Inside a training step a question meets a few hundred pieces of evidence, most of them stale. Behind training the
compressor no longer changes, so that everything is encoded once and each question meets all evidence, in full-batch
steps of milliseconds. Only the linear retrieval heads are fitted; latents stay as they are.

A sentence encoder can teach them first: a ridge regression has the heads give its vectors of all that was encoded,
questions too (their first principal components, as many as a vector has numbers). Among 5,168 sentences of XQuAD and
QED, 274 questions that nothing was fitted on have theirs first in 0.46 of the cases so (all-MiniLM-L6-v2 itself: 0.61),
from words alone in 0.30, and among ten in 0.83 (0.92) and 0.58.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from latent_memory import objectives
from latent_memory.compressor import Adapter, Compressor, Encoded, in_order, joined
from latent_memory.data import Question
from latent_memory.evaluation.retrievers import SentenceEncoder
from latent_memory.frozen import in_groups

BATCH = 32
RIDGE = 300.0
"""What holds a regression's weights back, in squares of numbers of variance 1: of 30, 300 and 3,000 the best."""


@dataclass(frozen=True)
class Fit:
    """What a fit was worth on the held-out questions among all evidence: recall at 1, before and after."""

    before: float
    after: float
    steps: int


def fit_retrieval(
    compressor: Compressor,
    questions: Sequence[Question],
    held_out: Sequence[Question],
    distractors: Sequence[str],
    steps: int,
    rate: float = 1e-4,
    temperature: float = 0.07,
    check_every: int = 10,
    teacher: SentenceEncoder | None = None,
    anew: bool = True,
) -> Fit:
    """Fits the retrieval heads with InfoNCE; keeps the step that is best on `held_out`.

    Args:
        compressor: Trained.
        questions: With gold evidence.
        held_out: Further questions, to choose the step by contrastive loss.
        distractors: Further evidence that no question asks for.
        steps: Most full-batch steps.
        rate: Learning rate of Adam.
        temperature: Of the loss.
        check_every: Steps between looks at the held-out questions.
        teacher: Whose vectors they start from; by default from whitened words.
        anew: Whether they start so, or as they are.
    """
    compressor.eval()
    if anew:
        compressor.start_retrieval()
    texts = list(dict.fromkeys([*(q.evidence[0] for q in [*questions, *held_out]), *distractors]))
    evidence = encode_all(compressor, texts, "evidence")
    parts = [
        (encode_all(compressor, [q.text for q in part], "query"), *_labels(part, texts))
        for part in (questions, held_out)
    ]
    if teacher is not None and anew:
        asked = [q.text for q in questions]
        start_from(compressor, joined(evidence, parts[0][0]), _taught(teacher, texts, asked))
    heads = [compressor.retrieval_head, compressor.retrieval_residual, compressor.retrieval_norm]
    parameters = [parameter.requires_grad_(True) for head in heads for parameter in head.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=rate)

    def look() -> tuple[float, float]:
        queries, positive, ignored = parts[1]
        with torch.no_grad():
            vectors, asked = compressor.vectors(evidence), compressor.vectors(queries)
            loss = objectives.contrastive(asked, vectors, positive, ignored, temperature)
            scores = (asked @ vectors.T).masked_fill(ignored & ~positive, float("-inf"))
            hits = positive.gather(1, scores.argmax(1, keepdim=True)).float().mean()
        return loss.item(), hits.item()

    best_loss, before = look()
    best, after, best_step = [copy.deepcopy(head.state_dict()) for head in heads], before, 0
    queries, positive, ignored = parts[0]
    for step in range(1, steps + 1):
        loss = objectives.contrastive(
            compressor.vectors(queries), compressor.vectors(evidence), positive, ignored, temperature
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % check_every == 0:
            held_loss, recall = look()
            if held_loss < best_loss:
                best_loss, after, best_step = held_loss, recall, step
                best = [copy.deepcopy(head.state_dict()) for head in heads]
    for head, state in zip(heads, best, strict=True):
        head.load_state_dict(state)
    return Fit(before, after, best_step)


def learn_from(
    teacher: SentenceEncoder, compressor: Compressor, questions: Sequence[Question], further: Sequence[str]
) -> None:
    """Starts a compressor's retrieval heads with a teacher's vectors of questions, their evidence and further texts."""
    texts = list(dict.fromkeys([*(text for question in questions for text in question.evidence), *further]))
    asked = [question.text for question in questions]
    encoded = joined(encode_all(compressor, texts, "evidence"), encode_all(compressor, asked, "query"))
    start_from(compressor, encoded, _taught(teacher, texts, asked))


def _taught(teacher: SentenceEncoder, *parts: Sequence[str]) -> Tensor:
    return torch.as_tensor(np.concatenate([teacher.encode(part) for part in parts]))


@torch.no_grad()  # type: ignore[untyped-decorator]
def start_from(compressor: Compressor, encoded: Encoded, wanted: Tensor) -> None:
    """Starts the retrieval heads with a ridge regression to a teacher's vectors.

    Args:
        compressor: Its heads are set.
        encoded: What they are given for some texts.
        wanted: The teacher's vectors of the same texts, (N, size).
    """
    size = compressor.retrieval_head.out_features
    axes = torch.linalg.svd(wanted - wanted.mean(0), full_matrices=False).Vh[:size]
    goal = F.pad((wanted - wanted.mean(0)) @ axes.T, (0, max(0, size - len(axes))))
    scale = encoded.lexical.std()
    given = torch.cat([encoded.lexical / scale, encoded.memory], 1)
    centred = given - given.mean(0)
    square = centred.T @ centred + RIDGE * torch.eye(given.shape[1])
    weight = torch.linalg.solve(square, centred.T @ goal).T / goal.std()
    lexical, memory = weight.split([encoded.lexical.shape[1], encoded.memory.shape[1]], 1)
    compressor.retrieval_head.weight.copy_(lexical / scale)
    compressor.retrieval_head.bias.copy_(-(weight @ given.mean(0)))
    compressor.retrieval_residual.weight.copy_(memory)


@torch.no_grad()  # type: ignore[untyped-decorator]
def encode_all(compressor: Compressor, texts: Sequence[str], adapter: Adapter) -> Encoded:
    """What the heads are given for each text, in the order of the texts."""
    ids = compressor.tokenize(texts)
    groups = in_groups(range(len(ids)), [len(row) for row in ids], BATCH)
    return in_order(groups, [compressor([ids[i] for i in group], adapter) for group in groups])


def _labels(questions: Sequence[Question], texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Which text answers which question, and which others hold its answer and so are no negatives."""
    both = [(text, text.lower()) for text in texts]
    positive = np.array([[text == q.evidence[0] for text in texts] for q in questions])
    ignored = np.array([[text in q.evidence or q.answered_in(low) for text, low in both] for q in questions])
    return torch.as_tensor(positive), torch.as_tensor(ignored)
