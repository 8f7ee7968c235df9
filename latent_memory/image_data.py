"""Images with questions, and images as files."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from latent_memory.easy_vqa import ImageQuestion, Split, captions, folder_of, read_image_questions
from latent_memory.images import Pixels
from tiers.errors import SourceError


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
    """Reads a part of easy-VQA, as `easy_vqa.folder_of` finds it.

    Raises:
        SourceError: it isn't there.
    """
    folder = folder_of(path, split)
    questions = read_image_questions(folder)
    count = 1 + max(question.image for question in questions)
    pixels = [decode((folder / "images" / f"{number}.png").read_bytes(), f"{number}.png") for number in range(count)]
    return ImageSet(questions, captions(questions, count), pixels)


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
