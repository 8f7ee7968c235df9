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
from latent_memory.compression import compress
from latent_memory.confidence import Curve, read_curves
from tiers.errors import StageError

if TYPE_CHECKING:
    from latent_memory.compressor import Compressor
    from latent_memory.generator import Generator
    from latent_memory.store import Store

ALONE = 1
"""Questions are encoded one by one, so that their vectors don't depend on what else is asked, to the last bit."""
HYBRID = True
"""Whether full-text search helps the search by vectors.

Joined, a gold sentence is first for 67 % of 150 questions of XQuAD, 37 % of 150 of QED, 63 % of 100 of HotpotQA and
42 % of 100 of MuSiQue, by vectors alone for 61, 33, 46 and 23 %; among five one is for 91, 86, 87 and 76 %, by vectors
alone for 88, 77, 79 and 55 % (`benchmarks/latent_answers.py`). Answers gain less: the reader looks for words itself.
"""
DOUBTFUL = 0.5
"""Confidence below which an answer from latents is given up for one from text, where a fallback is asked for."""


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
    def open(
        cls, uri: str | Path, pretrained: Path | None = None, models: Path | None = None, tag: str | None = None
    ) -> LatentMemory:
        """Opens a memory, or with `tag` what it was when it got that tag, which can only be read.

        Raises:
            SourceError: when there is none, or no such tag.
            ModelError: when it was made with another compressor or generator.
        """
        return cls._make(uri, pretrained, models, create=False, tag=tag)

    @classmethod
    def _make(
        cls, uri: str | Path, pretrained: Path | None, models: Path | None, create: bool, tag: str | None = None
    ) -> LatentMemory:
        from latent_memory.pretrained import PACKAGED, read_manifest
        from latent_memory.store import Store, latent_schema

        folder = pretrained or PACKAGED
        manifest = read_manifest(folder)
        schema = latent_schema(manifest.compressor.retrieval_dim, manifest.latent_dim, manifest.stamp())
        return cls(Store(str(uri), schema, create, tag), folder, models)

    def __len__(self) -> int:
        return len(self._store)

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

    @property
    def _curves(self) -> dict[str, Curve]:
        from latent_memory.pretrained import read_manifest

        return read_curves(self._pretrained, read_manifest(self._pretrained).adapter)

    def commit(self, latents: Iterable[pa.Table], whole: bool = False) -> int:
        """Merges tables that `compress` made, in one transaction; repeating it changes nothing.

        With `whole` they are all that the memory is to hold, and every other row goes. One process commits at a time.
        """
        return self._store.commit(latents, whole)

    def add(self, evidence: pa.Table, tier: str = "", vision: Path | None = None, root: Path = Path()) -> int:
        """Compresses what is new or changed in these documents and commits it; returns the number of their latents.

        With a vision tower their images are compressed too; `compress` says how.
        """
        return self.commit([compress(evidence, tier, self._pretrained, self._models, self.standing, vision, root)])

    def read(self) -> pa.Table:
        """Every latent, in the schema that `commit` takes."""
        return self._store.read(self.schema.names)

    def standing(self, contents: Sequence[int]) -> pa.Table:
        """The latents that are here of documents with these content hashes."""
        return self._store.standing(contents)

    def tag(self, name: str) -> None:
        """Names the memory as it is now, to be opened as it is now later on."""
        self._store.tag(name)

    def untag(self, name: str) -> None:
        """Takes a name away; what it stood for may be cleaned up."""
        self._store.untag(name)

    def tags(self) -> list[str]:
        """The names that were given, the oldest first."""
        tags = self._store.tags()
        return sorted(tags, key=lambda name: (tags[name], name))

    def bytes_per_evidence(self) -> dict[str, float]:
        """Mean bytes of each part of a stored latent.

        `packed` is what a memory cannot do without: latent, scale, vector, ids and content hash. Text, source and the
        columns to filter by come on top; with them it is `all`.
        """
        return self._store.bytes_per_evidence()

    def search(
        self, question: str, k: int = 3, status: str | None = None, topic: str | None = None, hybrid: bool = HYBRID
    ) -> list[Evidence]:
        """The evidence that fits a question best, best first.

        Args:
            question: In words.
            k: How many pieces.
            status: Only evidence of this verification status.
            topic: Only evidence on this topic.
            hybrid: Whether to search for the question's words too, and not by vectors alone.
        """
        return [as_evidence(row) for row in self.find([question], k, status, topic, hybrid)[0].rows]

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
        topic: str | None = None,
        hybrid: bool = HYBRID,
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
            topic: Only evidence on this topic.
            hybrid: Whether to search for the question's words too, and not by vectors alone.
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
        found = self.find(questions, k, status, topic, hybrid)
        surely = on_text if not min_confidence and fallback is None else None
        answers = answer_each(self._generator, self._compressor, found, self._curves, raw, max_tokens, surely)
        if fallback and not raw:
            least = min_confidence or DOUBTFUL
            again = [i for i, answer in enumerate(answers) if answer.evidence and answer.confidence < least]
            texts = answer_each(
                self._generator, self._compressor, [found[i] for i in again], self._curves, True, max_tokens
            )
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

    def find(
        self,
        questions: Sequence[str],
        k: int = 3,
        status: str | None = None,
        topic: str | None = None,
        hybrid: bool = HYBRID,
    ) -> list[Found]:
        """As `search`, for many questions: each with the stored rows that fit it best."""
        from latent_memory.compressor import encode
        from latent_memory.store import condition

        if not questions:
            return []
        _, vectors = encode(self._compressor, questions, "query", ALONE)
        where = condition(status, topic)
        rows = [
            self._store.search(vector, k, question if hybrid else None, where).to_pylist() if len(self) else []
            for question, vector in zip(questions, vectors, strict=True)
        ]
        return [Found(question, found) for question, found in zip(questions, rows, strict=True)]


def _check_asking(k: int, max_tokens: int, min_confidence: float, fallback: str | None) -> None:
    for name, got, fine, expected in (
        ("k", k, k >= 1, "at least 1"),
        ("max_tokens", max_tokens, max_tokens >= 1, "at least 1"),
        ("min_confidence", min_confidence, 0 <= min_confidence <= 1, "0 to 1"),
        ("fallback", fallback, fallback in (None, "raw"), "raw, or none"),
    ):
        if not fine:
            raise StageError("the memory cannot be asked this way", where=name, got=got, expected=expected)
