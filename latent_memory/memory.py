"""The memory: evidence in, answers out.

    latents = compress(evidence)          # on any worker, for each shard
    memory = LatentMemory.create(uri)
    memory.commit([latents, ...])         # one process
    memory.ask("When was it built?")

Each piece of evidence is one vector for the index and one for the generator, which reads it as one token.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from latent_memory.answers import Answer, Evidence, Found, OnText, answer_each, as_evidence, with_fallback, withheld
from tiers.document import check_schema, child_id
from tiers.errors import StageError

if TYPE_CHECKING:
    from latent_memory.compressor import Compressor
    from latent_memory.generator import Generator
    from latent_memory.store import Store

BATCH = 16
DOUBTFUL = 0.5
"""Confidence below which an answer from latents is given up for one from text, where a fallback is asked for."""


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
        return [as_evidence(row) for row in self._find([question], k, status)[0].rows]

    def ask(self, question: str, k: int = 3, raw: bool = False, status: str | None = None, **how: Any) -> Answer:
        """Answers one question; see `ask_all`."""
        return self.ask_all([question], k, raw, status, **how)[0]

    def ask_all(
        self,
        questions: Sequence[str],
        k: int = 3,
        raw: bool = False,
        status: str | None = None,
        *,
        min_confidence: float = 0.0,
        fallback: Literal["raw"] | None = None,
        max_tokens: int = 12,
        on_text: OnText | None = None,
    ) -> list[Answer]:
        """Answers questions, in batches, each from the `k` pieces of evidence nearest to it.

        Args:
            questions: In words.
            k: How many pieces the generator reads.
            raw: Whether it reads their text instead of their latents.
            status: Only evidence of this verification status.
            min_confidence: An answer less sure than this, in 0…1, is withheld: `abstained` is true, the answer empty.
            fallback: `raw` has the text of the same evidence read where the answer from latents is less sure than
                `min_confidence` (`DOUBTFUL` if that is 0).
            max_tokens: The longest answer, in tokens.
            on_text: Hears the number of a question and each next piece of its answer, while it is being said. Where
                an answer may still be withheld or given up, it comes in one piece.

        Raises:
            StageError: when a question has no words or too many for the compressor, or an argument is out of range.
        """
        _check_asking(k, max_tokens, min_confidence, fallback)
        found = self._find(questions, k, status)
        surely = on_text if not min_confidence and fallback is None else None
        answers = answer_each(self._generator, self._compressor.reader, found, raw, max_tokens, surely)
        if fallback and not raw:
            least = min_confidence or DOUBTFUL
            again = [i for i, answer in enumerate(answers) if answer.evidence and answer.confidence < least]
            texts = answer_each(self._generator, self._compressor.reader, [found[i] for i in again], True, max_tokens)
            for i, text in zip(again, texts, strict=True):
                answers[i] = with_fallback(answers[i], text)
        answers = [withheld(answer) if answer.confidence < min_confidence else answer for answer in answers]
        if on_text is not None and surely is None:
            for i, answer in enumerate(answers):
                on_text(i, answer.answer)
        return answers

    def forget(self, document_id: str) -> int:
        """Erases every latent of a document, from old versions on disk too; returns how many there were."""
        return self._store.forget(document_id)

    def _find(self, questions: Sequence[str], k: int, status: str | None) -> list[Found]:
        """Each question with its own latent and the rows nearest to it."""
        import torch

        from latent_memory.compressor import encode

        if not questions:
            return []
        latents, vectors = encode(self._compressor, questions, "query", BATCH)
        rows = [self._store.search(vector, k, status).to_pylist() if len(self) else [] for vector in vectors]
        asked = torch.from_numpy(latents)
        return [Found(q, a, r) for q, a, r in zip(questions, asked, rows, strict=True)]


def _check_asking(k: int, max_tokens: int, min_confidence: float, fallback: str | None) -> None:
    for name, got, fine, expected in (
        ("k", k, k >= 1, "at least 1"),
        ("max_tokens", max_tokens, max_tokens >= 1, "at least 1"),
        ("min_confidence", min_confidence, 0 <= min_confidence <= 1, "0 to 1"),
        ("fallback", fallback, fallback in (None, "raw"), "raw, or none"),
    ):
        if not fine:
            raise StageError("the memory cannot be asked this way", where=name, got=got, expected=expected)
