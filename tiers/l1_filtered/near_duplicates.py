"""The stage that keeps one copy of documents whose texts are nearly equal.

Candidates come from MinHash signatures, but none of them decides: a document is dropped only if the true Jaccard
similarity of its shingles to those of a document that is *kept* reaches the threshold. Taking candidates for
duplicates, and whatever is connected through them too, drops documents that nobody would call similar: a chain of
small changes leads anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from tiers.document import id_hashes
from tiers.errors import StageError
from tiers.l1_filtered.kernels import duplicates as kernels
from tiers.l1_filtered.losses import loss_alarms
from tiers.l1_filtered.shingles import MinHash, Numbers, ShingleSets
from tiers.stage import LISTED, Fetch, GlobalStage, with_alarms

_REACH = 3
_PRODUCT = 1 << 40
"""What a product's length counts less for each row in its line: more than any text has characters."""


class Reason(StrEnum):
    """Why a document was dropped."""

    SIMILAR = "near_duplicate"


class NearDuplicates(GlobalStage):
    """Drops documents whose word shingles are those of a kept document up to a small part.

    Defaults are those of FineWeb's deduplication (Penedo et al. 2024, section 3.4): runs of 5 words, 14 bands of 8
    rows, which make pairs of similarity 0.75 candidates with a probability of 77 %, of 0.8 with 92 %, of 0.85 with
    98.8 %. The threshold of 0.8 lies where candidates are found reliably; one edited word changes 5 shingles, so a
    copy in which 2 % of the words were edited still has a similarity of about 0.82.

    Of the documents that share a band, each is compared with the preferred one and with the next few in order of
    preference, or with what was kept in their stead, so that the work grows with a crowd and not with its square.

    Attributes:
        n: Words in a shingle.
        bands: Bands of the signature.
        rows: Rows in a band.
        threshold: Jaccard similarity from which a document is a copy.
        prefer: A numeric column; of similar documents the one with the larger value is kept. By default the longer
            one is, but never what was made from a document, such as a model's rewriting, in place of one that
            wasn't. A hash of the id decides between equals.
        against: Folders of earlier releases or runs. Their documents are kept whatever else is, so that a document
            which is similar to one of them is dropped.
        max_shingles: Shingles up to which the similarity is exact; of longer documents a sample of this size counts.
        max_source_loss: A source, which is the host of the url or else the input file, that loses a larger share of
            its documents raises an alarm, which the decision holds and `tierline status` shows.
        max_copies: A document that takes the place of a larger share of all documents raises one too. Fewer than
            100 lost documents never do.
        chunk: Shingles in memory at a time when candidates are verified, 4 bytes each; no result depends on it.
    """

    name: ClassVar[str] = "near_duplicates"
    version: ClassVar[int] = 3
    rows_per_partition: ClassVar[int | None] = 1 << 16

    n: Annotated[int, Field(ge=1, le=32)] = 5
    bands: Annotated[int, Field(ge=1, le=256)] = 14
    rows: Annotated[int, Field(ge=1, le=64)] = 8
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.8
    prefer: str | None = None
    against: Annotated[tuple[str, ...], Field(exclude=True)] = ()
    max_shingles: Annotated[int, Field(ge=1000)] = 200_000
    max_source_loss: Annotated[float, Field(ge=0, le=1)] = 0.5
    max_copies: Annotated[float, Field(ge=0, le=1)] = 0.01
    chunk: Annotated[int, Field(ge=1, exclude=True)] = 1 << 26

    def spill(self, table: pa.Table) -> pa.Table:
        """One row for each document and band: its key, the document's row, preference and number of shingles."""
        keys, sizes = MinHash(self.n, self.bands, self.rows).keys(table["text"])
        full = np.flatnonzero(sizes)
        at = np.repeat(full, self.bands)
        return pa.table(
            {
                "partition": pa.array(keys[full].reshape(-1)),
                "row": pa.array(table["row"].to_numpy()[at]),
                "rank": pa.array(self._ranks(table)[at]),
                "order": pa.array(id_hashes(table["id"])[at]),
                "size": pa.array(sizes[at].astype(np.uint32)),
            }
        )

    def _ranks(self, table: pa.Table) -> npt.NDArray[np.float64]:
        """What decides which copy is kept: the larger, the better [rows]; earlier releases come first."""
        earlier = table["row"].to_numpy() < 0
        if self.prefer is None:
            values = pc.subtract(
                pc.utf8_length(table["text"]), pc.multiply(pc.list_value_length(table["parents"]), _PRODUCT)
            )
        elif self.prefer in table.column_names:
            values = pc.fill_null(table[self.prefer].cast(pa.float64()), float("-inf"))
        elif earlier.all():
            return np.full(len(earlier), np.inf)
        else:
            raise StageError(
                "the preferred column is missing", where=self.name, got=table.column_names, expected=self.prefer
            )
        return np.where(earlier, np.inf, values.to_numpy())

    def reduce(self, partition: pa.Table) -> pa.Table:
        """The rows whose key is that of another row too, sorted by key."""
        keys = partition["partition"].to_numpy()
        order = np.argsort(keys)
        same = keys[order][1:] == keys[order][:-1]
        shared = np.concatenate([[False], same]) | np.concatenate([same, [False]])
        return partition.take(pa.array(order[shared[: len(order)]]))

    def earlier(self) -> tuple[str, ...]:
        """The folders in `against`."""
        return self.against

    def decide(self, findings: pa.Table, fetch: Fetch) -> pa.Table:
        """The documents to drop: row, id, reason, detail; each is similar to one that is kept."""
        candidates = Candidates.of(findings)
        del findings
        keepers, similarities = self._settle(candidates, fetch)
        gone = np.flatnonzero(keepers >= 0)
        gone = gone[np.argsort(candidates.rows[gone])]
        ids = candidates.ids(_distinct(np.concatenate([gone, keepers[gone]])), fetch)
        kept = [ids[node] for node in keepers[gone].tolist()]
        details = [f"{found:.3f} similar to {other}" for found, other in zip(similarities[gone], kept, strict=True)]
        columns = [candidates.rows[gone], [ids[node] for node in gone.tolist()], [Reason.SIMILAR] * len(gone), details]
        listed = pa.table([pa.array(c, f.type) for c, f in zip(columns, LISTED, strict=True)], schema=LISTED)
        return with_alarms(listed, loss_alarms(fetch, listed["row"], kept, self.max_source_loss, self.max_copies))

    def _settle(self, candidates: Candidates, fetch: Fetch) -> tuple[Numbers, npt.NDArray[np.float64]]:
        """For each candidate the one that is kept in its stead, -1 for none, and how similar that is [N]."""
        keepers, similarities = np.full(len(candidates.rows), -1), np.zeros(len(candidates.rows))
        slots = np.full(len(candidates.rows), -1)
        for nodes in candidates.chunks(self.chunk, self.max_shingles):
            needed = _distinct(np.concatenate([nodes, candidates.rivals(nodes, keepers)]))
            sets = self._load(candidates, needed, slots, fetch)
            kernels.settle(
                nodes, candidates.firsts, candidates.better, slots, sets.shingles, sets.starts, sets.bounds,
                self.threshold, keepers, similarities,
            )  # fmt: skip
        return keepers, similarities

    def _load(self, candidates: Candidates, nodes: Numbers, slots: Numbers, fetch: Fetch) -> ShingleSets:
        """The shingles of `nodes`; fills in where each one's are."""
        nodes = nodes[np.argsort(candidates.rows[nodes])]
        rows = candidates.rows[nodes]
        found: list[ShingleSets] = []
        order: list[Numbers] = []
        for table in fetch(rows, ["text"]):
            found.append(ShingleSets.of(table["text"], self.n, self.max_shingles))
            order.append(nodes[np.searchsorted(rows, table["row"].to_numpy())])
        slots[np.concatenate(order)] = np.arange(len(nodes))
        return ShingleSets.concat(found)


@dataclass(frozen=True)
class Candidates:
    """Documents that share a band with another one, as *nodes*: numbers in order of preference.

    Attributes:
        rows: The row of each node [N].
        sizes: Shingles of each node [N].
        firsts: Where each node's pairs begin in `better` [N + 1].
        better: The preferred node of each pair, a smaller number [E].
    """

    rows: Numbers
    sizes: Numbers
    firsts: Numbers
    better: Numbers

    @classmethod
    def of(cls, findings: pa.Table) -> Candidates:
        """The candidates in what `reduce` found."""
        rows, first, number = np.unique(findings["row"].to_numpy(), return_index=True, return_inverse=True)
        ranks, orders, sizes = (findings[name].to_numpy()[first] for name in ("rank", "order", "size"))
        preferred = np.lexsort((rows, orders, -ranks))
        place = np.empty(len(rows), np.int64)
        place[preferred] = np.arange(len(rows))
        # Those of earlier releases come first, and are never the worse of a pair.
        earlier = int(np.count_nonzero(rows < 0))
        pairs = _distinct(kernels.bucket_pairs(findings["partition"].to_numpy(), place[number], _REACH, earlier))
        firsts = np.searchsorted(pairs >> np.uint64(32), np.arange(len(rows) + 1, dtype=np.uint64))
        better = (pairs & np.uint64(0xFFFFFFFF)).astype(np.int64)
        return cls(rows[preferred], sizes[preferred].astype(np.int64), firsts, better)

    def chunks(self, shingles: int, most: int) -> Iterator[Numbers]:
        """The nodes in the order to decide in, as many at a time as have `shingles` together, `most` counting of each.

        What is connected follows each other, so that what a node is compared with is at hand; among those the preferred
        ones come first, so that what a node is compared with is already decided.
        """
        roots = np.empty(len(self.rows), np.int64)
        worse = np.repeat(np.arange(len(self.rows)), np.diff(self.firsts))
        kernels.components(worse, self.better, roots)
        order = np.argsort(roots, kind="stable")
        ends = np.cumsum(np.minimum(self.sizes[order], most))
        start = 0
        while start < len(order):
            before = ends[start - 1] if start else 0
            end = max(start + 1, int(np.searchsorted(ends, before + shingles, side="right")))
            yield order[start:end]
            start = end

    def rivals(self, nodes: Numbers, keepers: Numbers) -> Numbers:
        """What `nodes` are to be compared with, as far as that is decided."""
        counts = self.firsts[nodes + 1] - self.firsts[nodes]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        better = self.better[np.repeat(self.firsts[nodes], counts) + within]
        decided: Numbers = np.where(keepers[better] >= 0, keepers[better], better)
        return decided

    def ids(self, nodes: Numbers, fetch: Fetch) -> dict[int, str]:
        """The ids of `nodes`."""
        nodes = nodes[np.argsort(self.rows[nodes])]
        rows = self.rows[nodes]
        found: dict[int, str] = {}
        for table in fetch(rows, ["id"]):
            at = np.searchsorted(rows, table["row"].to_numpy())
            found.update(zip(nodes[at].tolist(), table["id"].to_pylist(), strict=True))
        return found


def _distinct(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The distinct values, sorted; numpy's own, which hashes, takes several times as long for millions."""
    values = np.sort(values)
    new = np.ones(len(values), bool)
    new[1:] = values[1:] != values[:-1]
    return values[new]
