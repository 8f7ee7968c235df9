"""A memory without a recipe: documents out of files, compressed here and now."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from latent_memory.memory import LatentMemory
from pipelines.artifact import Store
from pipelines.plan import find_inputs
from pipelines.recipe import Input
from pipelines.shard_task import read_input
from tiers.errors import SourceError

TEXTS = ("jsonl", "parquet")


def add_files(url: str, files: Sequence[str], models: Path | None = None, tag: str | None = None) -> dict[str, int]:
    """Adds the documents in files to a memory that no run made; it is made where there is none.

    Args:
        url: Folder or URL of the memory.
        files: JSON lines and Parquet with a column `text`; globs are fine.
        models: Folder of model weights.
        tag: A name for what the memory is then.

    Returns:
        How many `documents` were read, how many `latents` stand for them, and how many rows were `unread`.

    Raises:
        SourceError: a file is missing or is of another format, or a run's output lies there.
        ModelError: the memory was made with another compressor.
    """
    if Store(url).exists("plan.json"):
        raise SourceError("this is the output of a run", where=url, hint="Add to the recipe's inputs and run it again")
    inputs = find_inputs([Input(path=path) for path in files])
    for file in inputs:
        if file.format not in TEXTS:
            raise SourceError("a memory takes text", where=file.path, got=file.format, expected=list(TEXTS))
    memory = LatentMemory.create(url, None, models)
    counts = {"documents": 0, "latents": 0, "unread": 0}
    for file in inputs:
        for outcome in read_input(file):
            counts["unread"] += outcome.failed.num_rows
            counts["documents"] += outcome.kept.num_rows
            counts["latents"] += memory.add(outcome.kept)
    if tag is not None:
        memory.tag(tag)
    return counts
