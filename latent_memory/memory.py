"""The memory: evidence in, answers out.

    latents = compress(evidence)          # on any worker, for each shard
    memory = LatentMemory.create(uri)
    memory.commit([latents, ...])         # one process
    memory.ask("When was it built?")

Each piece of evidence is one vector for the index and one for the generator, which reads it as one token.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tiers.document import check_schema, child_id

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from latent_memory.compressor import Compressor
    from latent_memory.generator import Generator
    from latent_memory.store import Store

BATCH = 16


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
    """

    id: str
    text: str
    source: str
    documents: tuple[str, ...]
    score: float
    status: str


@dataclass(frozen=True)
class Answer:
    """An answer and what it rests on.

    Attributes:
        answer: The generator's words.
        evidence: What it read, best first.
        context_tokens: Tokens that the evidence took in the prompt: one for each latent.
        prompt_tokens: Tokens of the whole prompt.
    """

    answer: str
    evidence: tuple[Evidence, ...]
    context_tokens: int
    prompt_tokens: int


def compress(
    evidence: pa.Table, tier: str = "", pretrained: Path | None = None, models: Path | None = None
) -> pa.Table:
    """Compresses a table of documents into a table of latents. Needs no store and may run on any worker.

    The same table gives the same latents: batches have a fixed order and size and run on one thread in float32. Text
    that is too long for one latent becomes several, with ids of their own, each under its heading; nothing is cut, and
    only a row without any text gives none.

    Args:
        evidence: Documents; `parents` name the documents that a row comes from (the row itself where it has none),
            `claim.status` its verification, `evidence.context` the heading that it stands under.
        tier: Name or version of the tier, kept with each latent.
        pretrained: Folder of the trained compressor; the packaged one by default.
        models: Folder of model weights.

    Raises:
        SchemaError: when the table holds no documents.
        ModelError: when the compressor's base isn't there or isn't the right one.
    """
    from latent_memory.pretrained import PACKAGED, load_compressor, read_manifest
    from latent_memory.store import latent_schema

    check_schema(evidence.schema, "evidence")
    folder = pretrained or PACKAGED
    manifest = read_manifest(folder)
    schema = latent_schema(manifest.compressor.retrieval_dim, manifest.generator_hidden, manifest.stamp())
    if not evidence.num_rows:
        return schema.empty_table()
    compressor = load_compressor(folder, models)
    rows = [piece for row in evidence.to_pylist() for piece in _pieces(row, compressor, tier)]
    if not rows:
        return schema.empty_table()
    return _latents(rows, compressor, schema)


def _pieces(row: dict[str, Any], compressor: Compressor, tier: str) -> list[dict[str, Any]]:
    """A document as rows of a table of latents, still without vectors."""
    heading = row.get("evidence.context")
    if heading and len(compressor.split(heading)) == 1:
        texts = [f"{heading}: {piece}" for piece in compressor.split(row["text"])]
    else:
        texts = compressor.split(f"{heading or ''} {row['text']}")
    shared = {
        "documents": row["parents"] or [row["id"]],
        "kind": "text",
        "source": row["source"],
        "status": row.get("claim.status") or "unverified",
        "tier": tier,
    }
    if len(texts) == 1:
        return [{"evidence_id": row["id"], "text": texts[0], **shared}]
    return [
        {"evidence_id": child_id(row["id"], "latent", number), "text": piece, **shared}
        for number, piece in enumerate(texts)
    ]


def _latents(rows: list[dict[str, Any]], compressor: Compressor, schema: pa.Schema) -> pa.Table:
    import numpy as np

    from latent_memory.compressor import encode
    from latent_memory.store import quantise

    latents, vectors = encode(compressor, [row["text"] for row in rows], "evidence", BATCH)
    small, scale = quantise(latents)
    columns: dict[str, pa.Array] = {
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.astype(np.float16).ravel()), vectors.shape[1]),
        "latent": pa.FixedSizeListArray.from_arrays(pa.array(small.ravel()), small.shape[1]),
        "scale": pa.array(scale),
    }
    arrays = [
        columns[field.name] if field.name in columns else pa.array([row[field.name] for row in rows], field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


class LatentMemory:
    """A memory on disk, or on an object store.

    Use `create` and `open`. Models are loaded when they are first needed: committing needs none, searching the
    compressor, asking the generator too.
    """

    def __init__(self, store: Store, pretrained: Path, models: Path | None) -> None:
        self._store, self._pretrained, self._models = store, pretrained, models

    @classmethod
    def create(cls, uri: str | Path, pretrained: Path | None = None, models: Path | None = None) -> LatentMemory:
        """Makes a memory, or opens the one that is there.

        Raises:
            ModelError: when the one that is there was made with another compressor or generator.
        """
        return cls._make(uri, pretrained, models, create=True)

    @classmethod
    def open(cls, uri: str | Path, pretrained: Path | None = None, models: Path | None = None) -> LatentMemory:
        """Opens a memory.

        Raises:
            SourceError: when there is none.
            ModelError: when it was made with another compressor or generator.
        """
        return cls._make(uri, pretrained, models, create=False)

    @classmethod
    def _make(cls, uri: str | Path, pretrained: Path | None, models: Path | None, create: bool) -> LatentMemory:
        from latent_memory.pretrained import PACKAGED, read_manifest
        from latent_memory.store import Store, latent_schema

        folder = pretrained or PACKAGED
        manifest = read_manifest(folder)
        schema = latent_schema(manifest.compressor.retrieval_dim, manifest.generator_hidden, manifest.stamp())
        return cls(Store(str(uri), schema, create), folder, models)

    def __len__(self) -> int:
        return len(self._store)

    def rows(self) -> pa.Table:
        """All evidence with its latents and vectors, in no order."""
        return self._store.rows()

    @property
    def pretrained(self) -> Path:
        """The folder of the compressor that it was made with."""
        return self._pretrained

    @property
    def schema(self) -> pa.Schema:
        """The schema of the latents that `commit` takes."""
        return self._store.schema

    def ids(self) -> list[str]:
        """The ids of all evidence, sorted."""
        return self._store.ids()

    @property
    def _compressor(self) -> Compressor:
        from latent_memory.pretrained import load_compressor

        return load_compressor(self._pretrained, self._models)

    @property
    def _generator(self) -> Generator:
        from latent_memory.pretrained import load_generator

        return load_generator(self._pretrained, self._models)

    def commit(self, latents: Iterable[pa.Table]) -> int:
        """Merges tables that `compress` made; repeating it changes nothing. One process commits at a time."""
        return self._store.commit(latents)

    def add(self, evidence: pa.Table, tier: str = "") -> int:
        """Compresses documents here and commits them; returns the number of latents."""
        return self.commit([compress(evidence, tier, self._pretrained, self._models)])

    def search(self, question: str, k: int = 3, status: str | None = None) -> list[Evidence]:
        """The evidence nearest to a question, best first; only that of a verification status if given."""
        return [_evidence(row) for row in self._find(question, k, status)[1]]

    def ask(self, question: str, k: int = 3, raw: bool = False, status: str | None = None) -> Answer:
        """Answers a question from the `k` nearest pieces of evidence.

        Args:
            question: In words.
            k: How many pieces the generator reads.
            raw: Whether it reads their text instead of their latents.
            status: Only evidence of this verification status.
        """
        import numpy as np
        import torch

        from latent_memory.generator import Reading

        asked, rows = self._find(question, k, status)
        generator = self._generator
        if not rows:
            context = None
        elif raw:
            context = generator.embed(" ".join(row["text"] for row in rows))
        else:
            latents = np.array([row["latent"] for row in rows], np.float32) * np.array([[row["scale"]] for row in rows])
            context = torch.from_numpy(latents.astype(np.float32))
        reading = Reading(question, context, asked=torch.from_numpy(asked))
        return Answer(
            answer=generator.answer([reading], None if raw else self._compressor.reader)[0],
            evidence=tuple(_evidence(row) for row in rows),
            context_tokens=0 if context is None else len(context),
            prompt_tokens=generator.prompt_tokens(reading),
        )

    def forget(self, document_id: str) -> int:
        """Erases every latent of a document, from old versions on disk too; returns how many there were."""
        return self._store.forget(document_id)

    def _find(self, question: str, k: int, status: str | None) -> tuple[NDArray[np.float32], list[dict[str, Any]]]:
        """The question's own latent, and the rows nearest to it."""
        from latent_memory.compressor import encode

        latents, vectors = encode(self._compressor, [question], "query", BATCH)
        rows: list[dict[str, Any]] = self._store.search(vectors[0], k, status).to_pylist() if len(self) else []
        return latents[0], rows


def _evidence(row: dict[str, Any]) -> Evidence:
    return Evidence(
        id=row["evidence_id"],
        text=row["text"],
        source=row["source"],
        documents=tuple(row["documents"]),
        score=1.0 - row["_distance"],
        status=row["status"],
    )
