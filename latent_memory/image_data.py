"""Images with questions, and images as files."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from latent_memory.images import Pixels
from tiers.errors import SourceError

Split = Literal["train", "test"]
Kind = Literal["shape", "color", "yes/no"]

SHAPES = ("circle", "rectangle", "triangle")
COLORS = ("black", "blue", "brown", "gray", "green", "red", "teal", "yellow")


@dataclass(frozen=True)
class ImageQuestion:
    """A question about an image.

    Attributes:
        text: The question.
        answer: Its answer.
        image: The image's number.
        kind: What is asked for.
    """

    text: str
    answer: str
    image: int
    kind: Kind


@dataclass(frozen=True)
class ImageSet:
    """Questions about images.

    Attributes:
        questions: In the set's order.
        captions: For each image a sentence that says what its questions tell; empty where they tell too little.
        pixels: For each image.
    """

    questions: list[ImageQuestion]
    captions: list[str]
    pixels: list[Pixels]


def read_easy_vqa(path: Path, split: Split) -> ImageSet:
    """Reads a part of easy-VQA (Zhou 2019, MIT): 64 x 64 images of one coloured shape each.

    Captions aren't in the set. They follow from the questions with their answers: "is there a red shape?", "yes".

    Args:
        path: The package `easy_vqa`, as a wheel or a folder. It is read as data, never imported.
        split: `train` (4,000 images, 38,575 questions) or `test` (1,000 and 9,673).

    Raises:
        SourceError: it isn't there.
    """
    hint = "pip download easy-vqa==1.0 --no-deps"
    root: Any = zipfile.Path(path) if path.suffix == ".whl" and path.is_file() else path
    folder = root / "easy_vqa" / "data" / split
    if not (folder / "questions.json").exists():
        raise SourceError("the images aren't here", where=str(path), expected=f"easy_vqa/data/{split}", hint=hint)
    rows = json.loads((folder / "questions.json").read_text(encoding="utf-8"))
    questions = [ImageQuestion(text, answer, image, _kind(text, answer)) for text, answer, image in rows]
    count = 1 + max(question.image for question in questions)
    pixels = [decode((folder / "images" / f"{number}.png").read_bytes(), f"{number}.png") for number in range(count)]
    return ImageSet(questions, captions(questions, count), pixels)


def _kind(text: str, answer: str) -> Kind:
    return "yes/no" if answer in ("yes", "no") else "shape" if answer in SHAPES else "color"


def captions(questions: Sequence[ImageQuestion], count: int) -> list[str]:
    """What the questions about each image tell, as a sentence."""
    told: dict[int, set[str]] = defaultdict(set)
    for question in questions:
        words = set(re.findall(r"\w+", question.text))
        if question.kind != "yes/no":
            told[question.image] |= {question.answer, *words}
        elif (question.answer == "no") == bool(words & {"not", "no"}):
            told[question.image] |= words
    found = []
    for image in range(count):
        color, shape = ([word for word in words if word in told[image]] for words in (COLORS, SHAPES))
        found.append(f"The image shows a {color[0]} {shape[0]}." if color and shape else "")
    return found


def decode(data: bytes, where: str) -> Pixels:
    """The pixels of an image file.

    Raises:
        SourceError: it is none that can be read.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.array(image.convert("RGB"))
    except (UnidentifiedImageError, OSError, ValueError) as error:
        raise SourceError("the image can't be read", where=where, got=str(error)) from error
