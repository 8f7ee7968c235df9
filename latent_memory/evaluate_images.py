"""What latents of images are worth: answers from them, against nothing, captions, and other images' latents.

`latent, unread` leaves the reader out: the frozen generator has the latent as an input and nothing else. The
caption's latent is what the text memory makes of a true caption.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latent_memory.compressor import Compressor, encode
from latent_memory.evaluation.bench import derangement
from latent_memory.evaluation.metrics import bootstrap, exact_match
from latent_memory.generator import Generator, Reading
from latent_memory.image_data import ImageQuestion, ImageSet
from latent_memory.images import Vision, encode_images
from latent_memory.store import quantise

CONDITIONS = ("none", "caption", "caption's latent", "latent", "latent, unread", "shuffled")
READ = {"caption's latent", "latent", "shuffled"}
"""Where the reader helps the generator."""
COMPARED = (("latent", "none"), ("latent", "shuffled"), ("latent, unread", "none"), ("latent", "caption"))
MAX_TOKENS = 4
"""All answers are shorter; a longer one is wrong whatever follows."""
BATCH = 64


def evaluate_images(
    images: ImageSet, questions: Sequence[ImageQuestion], compressor: Compressor, vision: Vision, generator: Generator
) -> dict[str, Any]:
    """Runs all conditions on questions about images.

    Args:
        images: The images of the questions, with captions.
        questions: Some of their questions.
        compressor: The text memory's.
        vision: The tower in front of it.
        generator: The memory's.

    Returns:
        For each kind of question, and for all, exact match with intervals, and paired differences; mean tokens that the
        evidence takes; how often an image's nearest caption is its own, among all different captions of the set.
    """
    shown = sorted({question.image for question in questions})
    pictures = [vision.prepare(images.pixels[i], "") for i in shown]
    latents, vectors = encode_images(compressor, vision, pictures)
    small, scale = quantise(latents)
    stored = dict(zip(shown, torch.from_numpy(small * scale[:, None]), strict=True))
    texts = sorted({question.text for question in questions})
    asked = dict(zip(texts, torch.from_numpy(encode(compressor, texts, "query")[0]), strict=True))
    number_of = {caption: number for number, caption in enumerate(sorted(set(images.captions)))}
    other = derangement([[number_of[images.captions[q.image]]] for q in questions])  # an image that shows another thing
    captions = {image: generator.embed(images.captions[image]) for image in shown}
    said = sorted({images.captions[image] for image in shown})
    compressed = dict(zip(said, torch.from_numpy(encode(compressor, said, "evidence")[0]), strict=True))

    def context(condition: str, number: int) -> Tensor | None:
        if condition == "none":
            return None
        if condition == "caption":
            return captions[questions[number].image]
        if condition == "caption's latent":
            return compressed[images.captions[questions[number].image]][None]
        chosen = other[number] if condition == "shuffled" else number
        return stored[questions[chosen].image][None]

    right: dict[str, list[float]] = {}
    tokens: dict[str, float] = {}
    for condition in CONDITIONS:
        rows = [Reading(q.text, context(condition, n), asked=asked[q.text]) for n, q in enumerate(questions)]
        answers = _answers(generator, rows, compressor if condition in READ else None)
        right[condition] = [exact_match(answer, [q.answer]) for answer, q in zip(answers, questions, strict=True)]
        tokens[condition] = float(np.mean([0 if row.context is None else len(row.context) for row in rows]))
    kinds = {"all": list(range(len(questions)))}
    for number, question in enumerate(questions):
        kinds.setdefault(question.kind, []).append(number)
    return {
        "questions": len(questions),
        "images": len(shown),
        "kinds": {kind: _figures(right, numbers) for kind, numbers in sorted(kinds.items())},
        "context_tokens": {**tokens, "image features": float(pictures[0].ids.count(vision.place))},
        "caption_at_1": _caption_at_1(images, shown, compressor, vectors),
    }


def _answers(generator: Generator, rows: Sequence[Reading], compressor: Compressor | None) -> list[str]:
    order = sorted(range(len(rows)), key=lambda n: 0 if (context := rows[n].context) is None else len(context))
    answers = [""] * len(rows)
    for begin in range(0, len(order), BATCH):
        part = order[begin : begin + BATCH]
        reader = None if compressor is None else compressor.reader
        for number, answer in zip(part, generator.answer([rows[n] for n in part], reader, MAX_TOKENS), strict=True):
            answers[number] = answer
    return answers


def _figures(right: dict[str, list[float]], numbers: list[int]) -> dict[str, Any]:
    some = {condition: [hits[n] for n in numbers] for condition, hits in right.items()}
    return {
        "questions": len(numbers),
        "exact": {condition: asdict(bootstrap(hits)) for condition, hits in some.items()},
        "differences": {
            f"{a} - {b}": asdict(bootstrap([x - y for x, y in zip(some[a], some[b], strict=True)])) for a, b in COMPARED
        },
    }


def _difference(hits: list[float], others: list[float]) -> dict[str, float]:
    return asdict(bootstrap([hit - other for hit, other in zip(hits, others, strict=True)]))


def _caption_at_1(images: ImageSet, shown: list[int], compressor: Compressor, vectors: Any) -> dict[str, float]:
    """How often the captions' nearest image, and the images' nearest caption, are right."""
    captions = sorted({images.captions[i] for i in shown})
    _, sought = encode(compressor, captions, "evidence")
    best = np.argmax(vectors @ sought.T, 1)
    hits = [float(captions[b] == images.captions[i]) for b, i in zip(best, shown, strict=True)]
    return {**asdict(bootstrap(hits)), "captions": float(len(captions))}
