"""The stage that keeps one copy of documents whose texts are nearly equal.

Candidates come from MinHash signatures, but none of them decides: a document is dropped only if the true Jaccard
similarity of its shingles to those of a document that is *kept* reaches the threshold. Taking candidates for
duplicates, and whatever is connected through them too, drops documents that nobody would call similar: a chain of
small changes leads anywhere.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from enum import StrEnum
from itertools import combinations
from typing import Annotated, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from tiers.errors import StageError
from tiers.l1_filtered.shingles import Hashes, MinHash, jaccard, shingles
from tiers.stage import Fetch, GlobalStage, fates

_PAIRS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("rank", pa.float64(), nullable=False),
        pa.field("other", pa.string(), nullable=False),
        pa.field("other_rank", pa.float64(), nullable=False),
    ]
)
_REACH = 3


class Reason(StrEnum):
    """Why a document was dropped."""

    SIMILAR = "near_duplicate"


class NearDuplicates(GlobalStage):
    """Drops documents whose word shingles are those of a kept document up to a small part.

    Defaults are those of FineWeb's deduplication (Penedo et al. 2024, section 3.4): runs of 5 words, 14 bands of 8
    rows, which make pairs of similarity 0.75 candidates with a probability of 77 %, of 0.8 with 92 %, of 0.85 with
    98.8 %. The threshold of 0.8 lies where candidates are found reliably; one edited word changes 5 shingles, so a
    copy in which 2 % of the words were edited still has a similarity of about 0.82.

    Attributes:
        n: Words in a shingle.
        bands: Bands of the signature.
        rows: Rows in a band.
        threshold: Jaccard similarity from which a document is a copy.
        prefer: A numeric column; of similar documents the one with the larger value is kept. By default the longer
            one is. The id decides between equals.
        max_bucket: Documents that share a band and are compared each with each. In a larger group every document is
            compared with the preferred one of the group and with its neighbours in order of size, so that the work
            grows with the group and not with its square.
        max_shingles: Shingles up to which the similarity is exact; of longer documents a sample of this size counts.
        chunk: Documents whose shingles are in memory at a time when candidates are verified.
    """

    name: ClassVar[str] = "near_duplicates"
    partitions: ClassVar[int] = 32

    n: Annotated[int, Field(ge=1, le=32)] = 5
    bands: Annotated[int, Field(ge=1, le=256)] = 14
    rows: Annotated[int, Field(ge=1, le=64)] = 8
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.8
    prefer: str | None = None
    max_bucket: Annotated[int, Field(ge=2, le=1000)] = 16
    max_shingles: Annotated[int, Field(ge=1000)] = 200_000
    chunk: Annotated[int, Field(ge=2)] = 2000

    def spill(self, table: pa.Table) -> pa.Table:
        """One row for each document and band: partition, band key, id, number of shingles, rank."""
        minhash = MinHash(self.bands, self.rows)
        ranks = self._ranks(table)
        keys, sizes = [], []
        for text in table["text"].to_pylist():
            found = shingles(text, self.n)
            sizes.append(len(found))
            keys.append(minhash.keys(found))
        full = np.flatnonzero(sizes)
        flat = np.concatenate([keys[i] for i in full]) if len(full) else np.empty(0, np.uint64)
        bands = np.tile(np.arange(self.bands, dtype=np.uint64), len(full))
        flat = flat ^ (bands * np.uint64(0xD6E8FEB86659FD93))
        rows = np.repeat(full, self.bands)
        return pa.table(
            {
                "partition": pa.array((flat >> np.uint64(40)) % np.uint64(self.partitions), pa.uint32()),
                "key": pa.array(flat, pa.uint64()),
                "id": table["id"].combine_chunks().take(pa.array(rows)),
                "size": pa.array(np.asarray(sizes, np.uint32)[rows]),
                "rank": pa.array(ranks[rows]),
            }
        )

    def _ranks(self, table: pa.Table) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """What decides which copy is kept: the larger, the better [rows]."""
        if self.prefer is None:
            values = pc.utf8_length(table["text"])
        elif self.prefer in table.column_names:
            values = pc.fill_null(table[self.prefer].cast(pa.float64()), float("-inf"))
        else:
            raise StageError(
                "the preferred column is missing", where=self.name, got=table.column_names, expected=self.prefer
            )
        ranks: np.ndarray[tuple[int], np.dtype[np.float64]] = values.to_numpy().astype(np.float64)
        return ranks

    def reduce(self, partition: pa.Table) -> pa.Table:
        """Candidate pairs from the bands in this partition, each once, the preferred document second."""
        partition = partition.sort_by([("key", "ascending"), ("size", "ascending"), ("id", "ascending")])
        ids, ranks = partition["id"].to_pylist(), partition["rank"].to_pylist()
        sizes, keys = partition["size"].to_pylist(), partition["key"].to_numpy()
        bounds = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1], [True])))
        pairs: set[tuple[int, int]] = set()
        for start, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            pairs.update(self._pairs(start, end, sizes, ranks, ids))
        unique = {_ordered((ranks[i], ids[i]), (ranks[j], ids[j])) for i, j in pairs}
        rows = [(worse[1], worse[0], better[1], better[0]) for worse, better in sorted(unique)]
        columns = list(zip(*rows, strict=True)) or [()] * 4
        return pa.table([pa.array(c, f.type) for c, f in zip(columns, _PAIRS, strict=True)], schema=_PAIRS)

    def _pairs(
        self, start: int, end: int, sizes: Sequence[int], ranks: Sequence[float], ids: Sequence[str]
    ) -> Iterator[tuple[int, int]]:
        """Positions to compare within one group [start, end), which is sorted by size."""
        if end - start <= self.max_bucket:
            found: Iterator[tuple[int, int]] = combinations(range(start, end), 2)
        else:
            found = _linear_pairs(start, end, min(range(start, end), key=lambda i: (-ranks[i], ids[i])))
        # Two sets can't be more similar than the smaller is large.
        return ((i, j) for i, j in found if ids[i] != ids[j] and sizes[i] >= self.threshold * sizes[j])

    def decide(self, findings: pa.Table, fetch: Fetch) -> pa.Table:
        """The documents to drop: id, reason, detail; each is similar to one that is kept."""
        neighbours, order = _neighbours(findings)
        shelf = _Shelf(self, fetch)
        keeper: dict[str, str] = {}
        rows = []
        for start in range(0, len(order), self.chunk // 2):
            ids = order[start : start + self.chunk // 2]
            shelf.load(ids)
            for row_id in ids:
                rivals = sorted({keeper.get(other, other) for other in neighbours[row_id]})
                similar = [(jaccard(shelf[row_id], shelf[rival], self.max_shingles), rival) for rival in rivals]
                best = max(similar, key=lambda found: (found[0], found[1]), default=(0.0, ""))
                if best[0] >= self.threshold:
                    keeper[row_id] = best[1]
                    rows.append((row_id, Reason.SIMILAR.value, f"{best[0]:.3f} similar to {best[1]}"))
        return fates(rows)


def _ordered(first: tuple[float, str], second: tuple[float, str]) -> tuple[tuple[float, str], tuple[float, str]]:
    """Two (rank, id), the one to prefer last."""
    return (first, second) if (first[0], second[1]) < (second[0], first[1]) else (second, first)


def _linear_pairs(start: int, end: int, best: int) -> Iterator[tuple[int, int]]:
    """Each position with the best one and with the next few; the smaller first."""
    for i in range(start, end):
        if i != best:
            yield min(i, best), max(i, best)
        for j in range(i + 1, min(i + 1 + _REACH, end)):
            yield i, j


def _neighbours(findings: pa.Table) -> tuple[dict[str, set[str]], list[str]]:
    """For each candidate the preferred candidates that it was paired with, and the order to decide in.

    Candidates that are connected follow each other, so that what they are compared with is at hand; among them the
    preferred ones come first, so that what a document is compared with is already decided.
    """
    neighbours: dict[str, set[str]] = {}
    ranks: dict[str, float] = {}
    root: dict[str, str] = {}

    def find(member: str) -> str:
        while root.setdefault(member, member) != member:
            root[member] = root[root[member]]
            member = root[member]
        return member

    for row_id, rank, other, other_rank in zip(*(findings[name].to_pylist() for name in _PAIRS.names), strict=True):
        neighbours.setdefault(row_id, set()).add(other)
        neighbours.setdefault(other, set())
        ranks[row_id], ranks[other] = rank, other_rank
        first, second = sorted((find(row_id), find(other)))
        root[second] = first
    return neighbours, sorted(neighbours, key=lambda member: (find(member), -ranks[member], member))


class _Shelf:
    """Shingles of documents by id, at most `stage.chunk` of them; what is missing is fetched."""

    def __init__(self, stage: NearDuplicates, fetch: Fetch) -> None:
        self._stage = stage
        self._fetch = fetch
        self._held: OrderedDict[str, Hashes] = OrderedDict()

    def load(self, ids: Sequence[str]) -> None:
        missing = [row_id for row_id in ids if row_id not in self._held]
        if missing:
            for row_id, text in zip(missing, self._fetch(missing)["text"].to_pylist(), strict=True):
                self._held[row_id] = shingles(text, self._stage.n)
        while len(self._held) > self._stage.chunk:
            self._held.popitem(last=False)

    def __getitem__(self, row_id: str) -> Hashes:
        if row_id not in self._held:
            self.load([row_id])
        self._held.move_to_end(row_id)
        return self._held[row_id]
