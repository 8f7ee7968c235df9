"""Reads easy-VQA (Zhou 2019, MIT): 64 x 64 images of one coloured shape each, and questions about them.

Captions aren't in the set. They follow from the questions with their answers: "is there a red shape?", "yes".
"""

from __future__ import annotations

import json
import re
import zipfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

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


def folder_of(path: Path, split: Split) -> Any:
    """The folder of a part of the set: `train` (4,000 images, 38,575 questions) or `test` (1,000 and 9,673).

    Args:
        path: The package `easy_vqa`, as a wheel or a folder. It is read as data, never imported.
        split: Which part.

    Raises:
        SourceError: it isn't there.
    """
    hint = "pip download easy-vqa==1.0 --no-deps"
    root: Any = zipfile.Path(path) if path.suffix == ".whl" and path.is_file() else path
    folder = root / "easy_vqa" / "data" / split
    if not (folder / "questions.json").exists():
        raise SourceError("the images aren't here", where=str(path), expected=f"easy_vqa/data/{split}", hint=hint)
    return folder


def read_image_questions(folder: Any) -> list[ImageQuestion]:
    """The questions of a part of the set, in its order."""
    rows = json.loads((folder / "questions.json").read_text(encoding="utf-8"))
    return [ImageQuestion(text, answer, image, _kind(text, answer)) for text, answer, image in rows]


def read_captioned(path: Path) -> list[dict[str, str]]:
    """The training part's questions with their images' captions for evidence, in the set's order.

    Raises:
        SourceError: the set isn't there.
    """
    questions = read_image_questions(folder_of(path, "train"))
    said = captions(questions, 1 + max(question.image for question in questions))
    return [{"question": q.text, "answer": q.answer, "caption": said[q.image]} for q in questions if said[q.image]]


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
