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
from numpy.typing import NDArray
from torch import Tensor

from latent_memory.compressor import Compressor, encode
from latent_memory.easy_vqa import ImageQuestion
from latent_memory.evaluation.bench import derangement
from latent_memory.evaluation.metrics import bootstrap, exact_match
from latent_memory.generator import Generator, Reading
from latent_memory.image_data import ImageSet
from latent_memory.images import Vision, encode_images
from latent_memory.quantisation import dequantise, quantise
from latent_memory.reader import Latents

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
    codes, vectors = encode_images(compressor, vision, pictures)
    kept = dequantise(quantise(codes, compressor.config), compressor.config)
    stored = dict(zip(shown, _latents(compressor, kept), strict=True))
    said = [images.captions[question.image] for question in questions]
    captions = sorted(set(said))
    other = derangement([[captions.index(caption)] for caption in said])  # an image that shows another thing
    spoken = _latents(compressor, encode(compressor, captions, "evidence")[0])
    read: dict[str, dict[Any, Tensor | Latents]] = {
        "caption": {caption: generator.embed(caption) for caption in captions},
        "caption's latent": dict(zip(captions, spoken, strict=True)),
        "latent": dict(stored),
    }
    read |= {"none": {}, "latent, unread": read["latent"], "shuffled": read["latent"]}
    shuffled = [questions[number].image for number in other]
    keys: dict[str, list[Any]] = {"caption": said, "caption's latent": said, "shuffled": shuffled}
    right: dict[str, list[float]] = {}
    tokens: dict[str, float] = {}
    for condition in CONDITIONS:
        contexts = [read[condition].get(key) for key in keys.get(condition, [question.image for question in questions])]
        rows = [Reading(q.text, c) for q, c in zip(questions, contexts, strict=True)]
        answers = _answers(generator, rows, compressor if condition in READ else None)
        right[condition] = [exact_match(answer, [q.answer]) for answer, q in zip(answers, questions, strict=True)]
        tokens[condition] = float(np.mean([0 if context is None else len(context) for context in contexts]))
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


def _latents(compressor: Compressor, codes: NDArray[np.float32]) -> list[Latents]:
    with torch.inference_mode():
        return compressor.latents(torch.from_numpy(codes))


def _answers(generator: Generator, rows: Sequence[Reading], compressor: Compressor | None) -> list[str]:
    """An answer for each row; what is asked about the same evidence twice is answered once."""
    keys = [(row.question, id(row.context)) for row in rows]
    different = dict(zip(keys, rows, strict=True))
    order = sorted(different, key=lambda key: 0 if (context := different[key].context) is None else len(context))
    reader = None if compressor is None else compressor.reader
    answers: dict[tuple[str, int], str] = {}
    for begin in range(0, len(order), BATCH):
        part = order[begin : begin + BATCH]
        written = generator.answer([different[key] for key in part], reader, MAX_TOKENS)
        answers.update(zip(part, written, strict=True))
    return [answers[key] for key in keys]


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
