"""Embeds documents, for a scorer that looks at meaning rather than words (`distil: {features: embedding}`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from tiers.document import add_column
from tiers.errors import ModelError
from tiers.l2_scored.annotate import excerpt
from tiers.stage import Context, Outcome, Stage

EMBEDDING = pa.field("score.embedding", pa.list_(pa.float32()), nullable=False)
STATIC = "static"
"""Names the vectors of tokens that the package `wordllama` carries, averaged."""

_BATCH = 64
_MOST_TOKENS = 256  # what sentence encoders such as all-MiniLM-L6-v2 were made for

Embed = Callable[[Sequence[str]], npt.NDArray[np.float32]]


class Embedding(Stage):
    """Gives each document a vector of length one, `score.embedding`; zeros where there is nothing to read.

    Attributes:
        model: `static`, 256 numbers from averaged token vectors (`pip install 'tierline[embeddings]'`); or a sentence
            encoder that was pulled, such as all-minilm-l6-v2, or a folder in Hugging Face layout.
        excerpt_chars: How much of a document's beginning is read.
    """

    name: ClassVar[str] = "embed"
    version: ClassVar[int] = 2
    gives: ClassVar[tuple[pa.Field, ...]] = (EMBEDDING,)
    uses_model: ClassVar[bool] = True

    model: str = STATIC
    excerpt_chars: int = Field(default=1000, ge=50)

    def prepare(self, context: Context) -> Callable[[pa.Table], Outcome]:
        """Loads the model."""
        embed = _static() if self.model == STATIC else _encoder(self.model, context.models, context.threads)

        def run(table: pa.Table) -> Outcome:
            texts = [excerpt(text, self.excerpt_chars) for text in table["text"].to_pylist()]
            vectors = embed(texts) if texts else np.zeros((0, 1), np.float32)
            unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
            starts = np.arange(len(texts) + 1, dtype=np.int32) * unit.shape[1]
            column = pa.ListArray.from_arrays(pa.array(starts), pa.array(unit.astype(np.float32).reshape(-1)))
            return Outcome(kept=add_column(table, EMBEDDING, column))

        return run


def _static() -> Embed:
    """The mean of static token vectors.

    Raises:
        ModelError: `wordllama` isn't installed.
    """
    try:
        import wordllama
    except ImportError:
        raise ModelError(
            "static embeddings need a package", got="no wordllama", hint="pip install 'tierline[embeddings]'"
        ) from None
    model = wordllama.WordLlama.load(cache_dir=Path(wordllama.__file__).parent, disable_download=True)
    return lambda texts: np.asarray(model.embed(list(texts), batch_size=_BATCH), np.float32)


def _encoder(name: str, models: Path, threads: int) -> Embed:
    """The mean over a text's tokens of an encoder's last states (Reimers and Gurevych 2019, section 3).

    Texts go one by one: in a batch, the last bits of one depend on the others.

    Raises:
        ModelError: the model isn't there.
    """
    import torch

    from tiers.llm.models import load_encoder

    model, tokenizer = load_encoder(name, models)

    def embed(texts: Sequence[str]) -> npt.NDArray[np.float32]:
        torch.set_num_threads(threads)
        rows: list[Any] = []
        with torch.inference_mode():
            for text in texts:
                inputs = tokenizer(text or " ", truncation=True, max_length=_MOST_TOKENS, return_tensors="pt")
                rows.append(model(**inputs).last_hidden_state[0].mean(0).numpy())
        return np.stack(rows)

    return embed
