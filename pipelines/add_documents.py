"""A memory without a recipe: documents and images out of files, compressed here and now."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from latent_memory.image_model import PACKAGED_VISION
from latent_memory.memory import LatentMemory
from pipelines.artifact import Store
from pipelines.inputs import find_inputs
from pipelines.recipe import Input
from pipelines.shard_task import read_input
from tiers.document import documents
from tiers.errors import SourceError

TEXTS = ("jsonl", "parquet")
IMAGES = frozenset({".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff"})


def add_files(
    url: str,
    files: Sequence[str],
    models: Path | None = None,
    tag: str | None = None,
    vision: Path = PACKAGED_VISION,
) -> dict[str, int]:
    """Adds the documents in files to a memory that no run made; it is made where there is none.

    Args:
        url: Folder or URL of the memory.
        files: JSON lines and Parquet with a column `text`, and images, each with its caption in a file of the same name
            that ends in `.txt` where there is one; globs are fine for texts.
        models: Folder of model weights.
        tag: A name for what the memory is then.
        vision: Folder of the vision tower that sees the images.

    Returns:
        How many `documents` were read, how many `latents` stand for them, and how many rows were `unread`.

    Raises:
        SourceError: a file is missing or is of another format, or a run's output lies there.
        ModelError: the memory was made with another compressor, or there is no tower to see images with.
    """
    if Store(url).exists("plan.json"):
        raise SourceError("this is the output of a run", where=url, hint="Add to the recipe's inputs and run it again")
    pictures = [path for path in files if Path(path).suffix.lower() in IMAGES]
    texts = [Input(path=path) for path in files if path not in pictures]
    inputs = find_inputs(texts) if texts else []
    for file in inputs:
        if file.format not in TEXTS:
            raise SourceError("a memory takes text and images", where=file.path, got=file.format, expected=list(TEXTS))
    memory = LatentMemory.create(url, None, models)
    counts = {"documents": 0, "latents": 0, "unread": 0}
    for file in inputs:
        for outcome in read_input(file):
            counts["unread"] += outcome.failed.num_rows
            counts["documents"] += outcome.kept.num_rows
            counts["latents"] += memory.add(outcome.kept)
    if pictures:
        shown = documents(_image(Path(path)) for path in pictures)
        counts["documents"] += shown.num_rows
        counts["latents"] += memory.add(shown, vision=vision)
    if tag is not None:
        memory.tag(tag)
    return counts


def _image(path: Path) -> dict[str, Any]:
    """An image file as a document without a text."""
    note = path.with_suffix(".txt")
    caption = " ".join(note.read_text(encoding="utf-8").split()) if note.is_file() else ""
    content = path.read_bytes() if path.is_file() else None
    digest = "" if content is None else hashlib.sha256(content).hexdigest()
    size = None if content is None else len(content)
    image = {"kind": "image", "mime": "", "uri": str(path), "sha256": digest, "caption": caption, "bytes": size}
    return {"text": "", "source": f"{path}#{digest[:16]}", "media": [image]}
