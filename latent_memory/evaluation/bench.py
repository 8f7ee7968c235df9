"""What all methods share: the evidence that is searched, and the questions that are asked of it.

Everything is made when a method first needs it, once, and is the same for all of them. An evidence may have several
latents: those of `rows` are (latents of all of them, G).

Legend of shape suffixes: N pieces of evidence, T latents of each, G hidden size of the generator, R length of a
retrieval vector, Q questions.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from latent_memory.baselines.xrag import Projector
from latent_memory.compressor import Compressor, encode, unpacked
from latent_memory.data import Question
from latent_memory.evaluation.pruning import Weighed, self_information
from latent_memory.evaluation.retrievers import BM25, SentenceEncoder
from latent_memory.generator import Generator
from latent_memory.quantisation import quantise
from latent_memory.ranking import fuse
from latent_memory.reader import Latents
from tiers.errors import ModelError

if TYPE_CHECKING:
    from latent_memory.memory import LatentMemory

Search = Literal["bm25", "dense", "latent", "hybrid"]
DEEPEST = 10
"""How far down the ranking recall is looked at."""
JOINED = 50
"""How many rows each of two searches gives to be joined with the other's, as in the memory itself."""
HALF = 2
"""Bytes of a number in a search vector."""


@dataclass(frozen=True)
class Models:
    """The frozen generator, and what makes something for it to read.

    Attributes:
        generator: Answers for every method.
        compressor: Makes latents for it.
        encoder: Makes sentence vectors; needed by the methods that search with them, and by xRAG.
        projector: Makes xRAG's tokens of them.
    """

    generator: Generator
    compressor: Compressor
    encoder: SentenceEncoder | None = None
    projector: Projector | None = None


@dataclass(frozen=True)
class Stored:
    """Latents and vectors of evidence as a memory stores them.

    Attributes:
        codes: Packed, (N, bytes).
        vectors: (N, R).
    """

    codes: NDArray[np.int8]
    vectors: NDArray[Any]

    def latents(self, compressor: Compressor, rows: Sequence[int]) -> Latents:
        """The latents of some evidence, one after the other."""
        return unpacked(compressor, self.codes[list(rows)])

    @property
    def nbytes(self) -> float:
        """Bytes of the latents of one evidence; what names it is left out."""
        return float(self.codes.shape[1])


def store(compressor: Compressor, texts: Sequence[str]) -> Stored:
    """Compresses texts into what a memory would store."""
    codes, vectors = encode(compressor, texts, "evidence")
    return Stored(quantise(codes, compressor.config), vectors)


def read_memory(memory: LatentMemory) -> tuple[list[str], Stored]:
    """The evidence of a memory, in the order of its ids, and what is stored of it."""
    rows = memory.read().sort_by("evidence_id").combine_chunks()
    codes = _numbers(rows["latent"]).reshape(rows.num_rows, -1)
    return rows["text"].to_pylist(), Stored(codes, _numbers(rows["vector"]).reshape(rows.num_rows, -1))


def _numbers(column: pa.ChunkedArray) -> NDArray[Any]:
    chunks = [chunk.flatten() if pa.types.is_fixed_size_list(chunk.type) else chunk for chunk in column.chunks]
    return np.concatenate([chunk.to_numpy(zero_copy_only=False) for chunk in chunks]) if chunks else np.zeros(0)


class Corpus:
    """Pieces of evidence, and all that the methods keep of them.

    Args:
        models: Make it.
        texts: The pieces.
        searched: How many of them, from the first, searches may find; all by default. The others are gold evidence
            that a given memory lacks.
        stored: Latents and vectors of the first pieces, where a memory has them already.
    """

    def __init__(
        self, models: Models, texts: Sequence[str], searched: int | None = None, stored: Stored | None = None
    ) -> None:
        self.models, self.texts = models, list(texts)
        self.searched = len(self.texts) if searched is None else searched
        self.row = {text: row for row, text in enumerate(self.texts)}
        self.seconds: dict[str, float] = {}
        self._given = stored
        self._weighed: dict[int, Weighed] = {}
        self._weighing = 0.0

    @classmethod
    def of(cls, models: Models, questions: Sequence[Question], passages: Sequence[str] = ()) -> Corpus:
        """The gold evidence and own passages of questions, and further ones, cut into pieces for one latent each."""
        texts = [text for q in questions for text in (*q.evidence, *q.pool)]
        return cls(models, list(dict.fromkeys(_split(models.compressor, [*texts, *passages]))))

    @classmethod
    def stored(cls, models: Models, questions: Sequence[Question], texts: Sequence[str], stored: Stored) -> Corpus:
        """A memory's evidence, which is searched; behind it the questions' own that it lacks, which is not."""
        pieces = _split(models.compressor, [text for q in questions for text in (*q.evidence, *q.pool)])
        held = set(texts)
        return cls(models, [*texts, *dict.fromkeys(p for p in pieces if p not in held)], len(texts), stored)

    def rows(self, texts: Sequence[str]) -> list[int]:
        """The rows of the pieces of texts."""
        return [self.row[piece] for text in texts for piece in self.models.compressor.split(text)]

    @cached_property
    def compressed(self) -> Stored:
        """Latents and search vectors as a memory stores them."""
        given = self._given
        new = self.texts[0 if given is None else len(given.codes) :]
        if given is not None and not new:
            return given
        with self._timed("compressor", len(new)):
            made = store(self.models.compressor, new)
        if given is None:
            return made
        return Stored(
            np.concatenate([given.codes, made.codes]),
            np.concatenate([given.vectors.astype(np.float32), made.vectors]),
        )

    def latents(self, rows: Sequence[int]) -> Latents:
        """The latents of some evidence, as a memory would give them."""
        return self.compressed.latents(self.models.compressor, rows)

    @cached_property
    def bm25(self) -> BM25:
        """The index of words."""
        with self._timed("bm25", self.searched):
            return BM25(self.texts[: self.searched])

    @cached_property
    def dense(self) -> NDArray[np.float32]:
        """Sentence vectors, (N, size of the encoder)."""
        encoder = self.encoder
        with self._timed("encoder", len(self.texts)):
            return encoder.encode(self.texts)

    @property
    def encoder(self) -> SentenceEncoder:
        """The sentence encoder."""
        if self.models.encoder is None:
            raise ModelError("this method needs a sentence encoder", where="evaluation")
        return self.models.encoder

    def projected(self, rows: Sequence[int]) -> Tensor:
        """xRAG's tokens of some evidence, (n, G)."""
        if self.models.projector is None:
            raise ModelError("this method needs a trained projector", where="xrag", hint="tierline train-xrag makes it")
        with torch.inference_mode():
            tokens: Tensor = self.models.projector(torch.from_numpy(self.dense[list(rows)]))
        return tokens

    def weighed(self, rows: Sequence[int]) -> list[Weighed]:
        """The tokens of some evidence with their self-information, which is worked out once for each piece."""
        new = [row for row in dict.fromkeys(rows) if row not in self._weighed]
        if new:
            started = time.perf_counter()
            made = self_information(self.models.generator, [self.texts[row] for row in new])
            self._weighed.update(zip(new, made, strict=True))
            self._weighing += time.perf_counter() - started
            self.seconds["pruning"] = self._weighing / len(self._weighed)
        return [self._weighed[row] for row in rows]

    @contextmanager
    def _timed(self, name: str, pieces: int) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[name] = (time.perf_counter() - started) / max(1, pieces)

    def bytes_of(self, kept: str) -> float:
        """Mean bytes of what is kept of one piece of evidence: `text`, `bm25`, `dense`, `vector` or `latent`."""
        if kept == "text":
            return sum(len(text.encode()) for text in self.texts) / max(1, len(self.texts))
        if kept == "bm25":
            return self.bm25.nbytes / max(1, self.searched)
        if kept == "dense":
            return float(HALF * self.encoder.size)
        return float(HALF * self.compressed.vectors.shape[1]) if kept == "vector" else self.compressed.nbytes


def _split(compressor: Compressor, texts: Sequence[str]) -> list[str]:
    return [piece for text in dict.fromkeys(texts) for piece in compressor.split(text)]


@dataclass
class Bench:
    """Questions over a corpus.

    Attributes:
        corpus: What is searched.
        questions: Asked.
        k: Pieces of evidence that a searching method reads.
        cut: Questions whose whole pool was longer than the generator can read.
    """

    corpus: Corpus
    questions: Sequence[Question]
    k: int = 3
    cut: set[int] = field(default_factory=set)

    @property
    def generator(self) -> Generator:
        """The frozen generator."""
        return self.corpus.models.generator

    @cached_property
    def own(self) -> list[list[int]]:
        """Rows of each question's gold evidence."""
        return [self.corpus.rows(q.evidence) for q in self.questions]

    @cached_property
    def near(self) -> list[list[int]]:
        """Rows of each question's own passages."""
        return [list(dict.fromkeys(self.corpus.rows(q.pool))) for q in self.questions]

    @cached_property
    def others(self) -> list[int]:
        """For each question another one, whose evidence is put in its place."""
        return derangement(self.own)

    @cached_property
    def _vectors(self) -> NDArray[np.float32]:
        """The questions' vectors, (Q, R)."""
        return encode(self.corpus.models.compressor, [q.text for q in self.questions], "query")[1]

    @cached_property
    def _scores(self) -> dict[Search, NDArray[np.float32]]:
        return {}

    def scores(self, search: Search) -> NDArray[np.float32]:
        """Of each question with each piece that is searched, (Q, N)."""
        if search not in self._scores:
            corpus, texts = self.corpus, [q.text for q in self.questions]
            if search == "bm25":
                found = np.stack([corpus.bm25.scores(text) for text in texts])
            elif search == "dense":
                found = corpus.encoder.encode(texts) @ corpus.dense[: corpus.searched].T
            else:
                found = self._vectors @ corpus.compressed.vectors[: corpus.searched].astype(np.float32).T
            self._scores[search] = found
        return self._scores[search]

    def ranked(self, search: Search, question: int, among: Sequence[int] | None = None) -> list[int]:
        """Rows that a search finds for a question, best first, at least `k`: in the whole corpus or among some rows.

        `hybrid` joins what the latents' vectors and BM25 find by reciprocal rank fusion, as the memory does.
        """
        depth = max(self.k, DEEPEST)
        if search != "hybrid":
            return self._order(search, question, among)[:depth]
        worded = [row for row in self._order("bm25", question, among) if self.scores("bm25")[question, row] > 0]
        return fuse([self._order("latent", question, among)[:JOINED], worded[:JOINED]])[:depth]

    def _order(self, search: Search, question: int, among: Sequence[int] | None) -> list[int]:
        scores = self.scores(search)[question]
        rows = np.arange(len(scores)) if among is None else np.array([r for r in among if r < len(scores)], int)
        return [int(row) for row in rows[np.argsort(-scores[rows], kind="stable")]]

    def found(self, search: Search, question: int) -> list[int]:
        """The `k` pieces that a search gives the generator."""
        return self.ranked(search, question)[: self.k]


def derangement(own: Sequence[Sequence[int]], seed: int = 0) -> list[int]:
    """For each question another one that shares no evidence with it and has as many pieces, or nearly so."""
    rng = random.Random(seed)
    chosen: list[int] = []
    for i, rows in enumerate(own):
        strangers = [j for j in range(len(own)) if not set(own[j]) & set(rows)]
        nearest = min((abs(len(own[j]) - len(rows)) for j in strangers), default=0)
        chosen.append(rng.choice([j for j in strangers if abs(len(own[j]) - len(rows)) == nearest] or [i]))
    return chosen
