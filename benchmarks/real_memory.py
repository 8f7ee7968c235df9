"""A memory of real sentences with questions about them, made once and kept: what several benchmarks measure on.

XQuAD articles 1-24 and the first 1,000 rows of QED, which training may see, so that those to report on stay unseen.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from record import ROOT, SHARED, hash_files

from latent_memory.data import Form, Question, read_questions, read_sentences
from latent_memory.memory import LatentMemory
from latent_memory.pretrained import PACKAGED, read_manifest
from tiers.document import documents

SETS: tuple[tuple[str, Form, int], ...] = (("xquad.en.json.gz", "squad", 24), ("qed-dev.jsonlines.gz", "qed", 1000))
FOLDER = ROOT / "runs" / "benchmarks"
SENTENCES = 400
"""Of each set, beside those that answer its questions; drawn with a fixed seed."""


def real_memory(
    name: str, form: Form, last: int, pretrained: Path = PACKAGED, folder: Path = FOLDER
) -> tuple[LatentMemory, list[Question]]:
    """A memory of a set's sentences, and its questions; what is there from an earlier run is not compressed again."""
    path = SHARED / "qa" / name
    if not path.is_file():
        raise SystemExit(f"the question set isn't at {path}")
    questions = read_questions(path, form, 0, last)
    others = read_sentences(path, form, 0, last, titles=True)
    others = random.Random(0).sample(others, min(SENTENCES, len(others)))
    texts = list(dict.fromkeys([*(text for question in questions for text in question.evidence), *others]))
    return memory_of(texts, place(form, pretrained, folder), name, pretrained), questions


def memory_of(texts: Sequence[str], folder: Path, name: str, pretrained: Path = PACKAGED) -> LatentMemory:
    """A memory of texts in `folder`, where `name` is their source."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    memory = LatentMemory.create(folder, pretrained)
    for begin in range(0, len(texts), 200):
        part = texts[begin : begin + 200]
        memory.add(documents({"text": text, "source": f"{name}#{begin + at}"} for at, text in enumerate(part)))
    return memory


def place(form: str, pretrained: Path = PACKAGED, folder: Path = FOLDER) -> Path:
    """Where a set's memory lies."""
    return folder / f"{form}-{read_manifest(pretrained).adapter[:8]}"


def corpus() -> dict[str, Any]:
    """What a benchmark records of the sets."""
    paths = [SHARED / "qa" / name for name, *_ in SETS]
    return {"sets": [path.name for path in paths], "sha256": hash_files(paths)}
