"""Answers from what a memory found: many at a time, each with what it rests on, what it cost and how sure it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from latent_memory.confidence import Curve, confidence

if TYPE_CHECKING:
    from torch import Tensor

    from latent_memory.compressor import Compressor
    from latent_memory.generator import Generated, Generator, Reading
    from latent_memory.reader import Latents, Reader

TOGETHER = 16
"""Questions that are answered in one batch."""
OnText = Callable[[int, str], None]
"""Hears the number of a question and the next piece of its answer."""


@dataclass(frozen=True)
class Evidence:
    """A piece of evidence that was found.

    Attributes:
        id: Its id.
        text: Its text.
        source: Where it comes from.
        documents: The documents that it was taken from.
        score: Cosine similarity to the question.
        status: What verification said about it.
        topics: What it is about, where that was said.
    """

    id: str
    text: str
    source: str
    documents: tuple[str, ...]
    score: float
    status: str
    topics: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """An answer, what it rests on and what it cost.

    Attributes:
        answer: The generator's words; empty where it abstained.
        evidence: What it read, best first.
        mode: What the generator read for this answer: `latents`, `raw` (the text of the same evidence), or `nothing`
            where no evidence was found.
        confidence: How likely the answer is right, in 0…1.
        abstained: Whether the answer was withheld because the confidence was below the least that was asked for.
        fell_back: Whether an answer from latents was given up for one from the text.
        context_tokens: Tokens that the evidence took in the prompt: one for each latent.
        prompt_tokens: Tokens of the whole prompt.
        generated_tokens: Tokens that the generator chose. Where it fell back, all three counts are of both readings.
        ended: Whether the generator ended the answer, and not the limit of its length.
    """

    answer: str
    evidence: tuple[Evidence, ...]
    mode: str
    confidence: float
    abstained: bool
    fell_back: bool
    context_tokens: int
    prompt_tokens: int
    generated_tokens: int
    ended: bool


@dataclass(frozen=True)
class Found:
    """A question and the rows that search gave for it, best first."""

    question: str
    rows: list[dict[str, Any]]


def as_evidence(row: dict[str, Any]) -> Evidence:
    """A row of the store as evidence."""
    return Evidence(
        id=row["evidence_id"].hex(),
        text=row["text"],
        source=row["source"],
        documents=tuple(document.hex() for document in row["documents"]),
        score=row["score"],
        status=row["status"],
        topics=tuple(row["topics"]),
    )


def answer_each(
    generator: Generator,
    compressor: Compressor,
    found: Sequence[Found],
    curves: Mapping[str, Curve],
    raw: bool = False,
    max_tokens: int = 12,
    on_text: OnText | None = None,
) -> list[Answer]:
    """Answers questions from the evidence that was found for each, in batches; no answer depends on the others.

    Args:
        generator: Frozen.
        compressor: What the latents were made with; its reader reads them a second time.
        found: The questions and their evidence.
        curves: What makes a log-probability a confidence, by mode.
        raw: Whether the generator reads the evidence's text instead of its latents.
        max_tokens: The longest answer.
        on_text: Hears each piece of text as soon as it is said.
    """
    readings = [reading_of(generator, compressor, one, raw) for one in found]
    said = _said(generator, compressor.reader, readings, max_tokens, on_text)
    modes = ["nothing" if not one.rows else "raw" if raw else "latents" for one in found]
    return [
        Answer(
            answer=words.text,
            evidence=tuple(as_evidence(row) for row in one.rows),
            mode=mode,
            confidence=confidence(words.log_probability, curves.get(mode)),
            abstained=False,
            fell_back=False,
            context_tokens=0 if reading.context is None else len(reading.context),
            prompt_tokens=generator.prompt_tokens(reading),
            generated_tokens=words.tokens,
            ended=words.ended,
        )
        for one, mode, reading, words in zip(found, modes, readings, said, strict=True)
    ]


def reading_of(generator: Generator, compressor: Compressor, found: Found, raw: bool) -> Reading:
    """A question with its evidence as the generator reads it: the latents, or with `raw` the text."""
    import numpy as np

    from latent_memory.compressor import unpacked
    from latent_memory.generator import Reading

    context: Tensor | Latents | None
    if not found.rows:
        context = None
    elif raw:
        context = generator.embed(" ".join(row["text"] for row in found.rows))
    else:
        context = unpacked(compressor, np.array([row["latent"] for row in found.rows], np.int8))
    return Reading(found.question, context)


def _said(
    generator: Generator, reader: Reader, readings: Sequence[Reading], max_tokens: int, on_text: OnText | None
) -> list[Generated]:
    """What the generator says of each reading, in batches of similar length."""
    order = sorted(range(len(readings)), key=lambda i: 0 if (c := readings[i].context) is None else len(c))
    said: dict[int, Generated] = {}
    for begin in range(0, len(order), TOGETHER):
        part = order[begin : begin + TOGETHER]
        for step in generator.stream([readings[i] for i in part], reader, max_tokens, invariant=True):
            for i, words in zip(part, step, strict=True):
                before = said[i].text if i in said else ""
                said[i] = words
                if on_text is not None and words.text != before:
                    on_text(i, words.text[len(before) :])
    return [said[i] for i in range(len(readings))]


def with_fallback(answer: Answer, second: Answer) -> Answer:
    """The second answer, from text, with the cost of both."""
    return replace(
        second,
        fell_back=True,
        context_tokens=answer.context_tokens + second.context_tokens,
        prompt_tokens=answer.prompt_tokens + second.prompt_tokens,
        generated_tokens=answer.generated_tokens + second.generated_tokens,
    )


def withheld(answer: Answer) -> Answer:
    """An answer that is kept back; its evidence and its cost stay."""
    return replace(answer, answer="", abstained=True)
