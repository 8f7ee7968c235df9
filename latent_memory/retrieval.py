"""Fits the retrieval heads on what a finished compressor says of all questions and evidence.

Inside a training step a question meets a few hundred pieces of evidence, most of them stale. Behind training the
compressor no longer changes, so that everything is encoded once and each question meets all evidence, in full-batch
steps of milliseconds. Only the linear retrieval heads are fitted; latents stay as they are.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from latent_memory import objectives
from latent_memory.compressor import Adapter, Compressor, Encoded
from latent_memory.data import Question

BATCH = 32


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
) -> Fit:
    """Fits the retrieval heads with InfoNCE from their whitened start; keeps the step that is best on `held_out`.

    Args:
        compressor: Trained; its retrieval heads are set anew.
        questions: With gold evidence.
        held_out: Further questions, to choose the step by contrastive loss.
        distractors: Further evidence that no question asks for.
        steps: Most full-batch steps.
        rate: Learning rate of Adam.
        temperature: Of the loss.
        check_every: Steps between looks at the held-out questions.
    """
    compressor.eval()
    compressor.start_retrieval()
    texts = list(dict.fromkeys([*(q.evidence[0] for q in [*questions, *held_out]), *distractors]))
    evidence = encode_all(compressor, texts, "evidence")
    parts = [
        (encode_all(compressor, [q.text for q in part], "query"), *_labels(part, texts))
        for part in (questions, held_out)
    ]
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


@torch.no_grad()  # type: ignore[untyped-decorator]
def encode_all(compressor: Compressor, texts: Sequence[str], adapter: Adapter) -> Encoded:
    """What the heads are given for each text, in the order of the texts."""
    ids = compressor.tokenize(texts)
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    rows: list[Encoded] = []
    for begin in range(0, len(order), BATCH):
        rows.append(compressor([ids[i] for i in order[begin : begin + BATCH]], adapter))
    back = torch.tensor(order).argsort()
    return Encoded(*(torch.cat(part)[back] for part in zip(*rows, strict=True)))


def _labels(questions: Sequence[Question], texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Which text answers which question, and which others hold its answer and so are no negatives."""
    lowered = [text.lower() for text in texts]
    positive = torch.tensor([[text == q.evidence[0] for text in texts] for q in questions])
    ignored = torch.tensor([[q.answers[0].lower() in text for text in lowered] for q in questions])
    return positive, ignored
