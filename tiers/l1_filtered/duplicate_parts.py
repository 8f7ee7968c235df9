"""Stages that take out paragraphs or lines which stand in several documents: menus, notices, signatures.

The rule is CCNet's (Wenzek et al. 2020, section 3.1): a part whose normalised text was seen before is removed, wherever
it stands. Others remove repeated spans of three sentences (C4: Raffel et al. 2020, section 2.2) or repeated substrings
of 50 tokens (Lee et al. 2022). All of it costs context, and FineWeb measured no gain from it after MinHash (Penedo et
al. 2024, section 3.4): use it where boilerplate is left, and mind `min_words`, below which nothing is touched.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from itertools import pairwise
from typing import Annotated, ClassVar, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from tiers.document import id_hashes
from tiers.l1_filtered.kernels import duplicates as kernels
from tiers.l1_filtered.shingles import Keys, Numbers, folding, utf8
from tiers.stage import Fetch, GlobalStage, Outcome, fates

_SEEN = pa.schema(
    [
        pa.field("key", pa.uint64(), nullable=False),
        pa.field("documents", pa.int64(), nullable=False),
        pa.field("first", pa.uint64(), nullable=False),
    ]
)


class Reason(StrEnum):
    """Why a document was dropped, or what was taken out of it."""

    LITTLE_LEFT = "little_left"
    PARAGRAPHS_REMOVED = "duplicate_paragraphs_removed"
    LINES_REMOVED = "duplicate_lines_removed"


class _DuplicateParts(GlobalStage):
    """Takes parts out that stand in at least `min_documents` documents.

    Parts are compared as CCNet compares them, without case, accents and punctuation and with all digits alike, by a
    64-bit hash of their words. Which document keeps its copy is decided by a hash of the ids.

    Attributes:
        min_documents: Documents in which a part must stand.
        min_words: Parts of fewer words stay.
        keep: Whether one document keeps its copy (CCNet's rule), or none does, as suits notices.
        min_left: A document of which less than this share of characters is left is dropped.
    """

    rows_per_partition: ClassVar[int | None] = 1 << 16
    paragraphs: ClassVar[bool]
    removed: ClassVar[Reason]

    min_documents: Annotated[int, Field(ge=2)] = 2
    min_words: Annotated[int, Field(ge=1)]
    keep: Literal["one", "none"] = "one"
    min_left: Annotated[float, Field(ge=0, le=1)] = 0.2

    def spill(self, table: pa.Table) -> pa.Table:
        """One row for each document and part of it that is long enough: key, and hash of the document's id."""
        parts = Parts.of(table["text"], self.paragraphs, self.min_words)
        order = np.lexsort((parts.keys, parts.documents))
        documents, keys = parts.documents[order], parts.keys[order]
        once = np.ones(len(keys), bool)
        once[1:] = (documents[1:] != documents[:-1]) | (keys[1:] != keys[:-1])
        orders = id_hashes(table["id"])[documents[once]]
        return pa.table({"partition": pa.array(keys[once]), "order": pa.array(orders)})

    def reduce(self, partition: pa.Table) -> pa.Table:
        """The parts that stand in enough documents: key, how many, and the first of those."""
        found = partition.group_by("partition").aggregate([("order", "count"), ("order", "min")])
        found = found.filter(pc.greater_equal(found["order_count"], self.min_documents))
        columns = [found["partition"], found["order_count"], found["order_min"]]
        return pa.table(columns, names=_SEEN.names).cast(_SEEN)

    def decide(self, findings: pa.Table, fetch: Fetch) -> pa.Table:
        """The parts to take out, sorted by key."""
        return findings.sort_by("key")

    def apply(self, table: pa.Table, decision: pa.Table) -> Outcome:
        """Takes the parts out, notes it, and drops what is left too small."""
        parts = Parts.of(table["text"], self.paragraphs, self.min_words)
        seen = decision["key"].to_numpy()
        if len(seen) == 0:
            return Outcome(kept=table)
        at = np.minimum(np.searchsorted(seen, parts.keys), len(seen) - 1)
        out = np.flatnonzero(seen[at] == parts.keys)
        if self.keep == "one":
            out = out[decision["first"].to_numpy()[at[out]] != id_hashes(table["id"])[parts.documents[out]]]
        return self._without(table, parts, out) if len(out) else Outcome(kept=table)

    def _without(self, table: pa.Table, parts: Parts, out: Numbers) -> Outcome:
        texts, ids = table["text"].to_pylist(), table["id"].to_pylist()
        keep = np.ones(table.num_rows, bool)
        dropped, noted = [], []
        for document, mine in _grouped(parts.documents[out]):
            before = texts[document]
            after = _cut_out(before, parts.starts[out[mine]].tolist(), parts.ends[out[mine]].tolist())
            if len(after) < self.min_left * len(before):
                keep[document] = False
                detail = f"{len(after) / len(before):.3f} < {self.min_left:g} of {len(before)} characters"
                dropped.append((ids[document], Reason.LITTLE_LEFT, detail))
            else:
                texts[document] = after
                detail = f"{mine.stop - mine.start}, {len(before) - len(after)} of {len(before)} characters"
                noted.append((ids[document], self.removed, detail))
        field = table.schema.field("text")
        table = table.set_column(table.schema.get_field_index("text"), field, pa.array(texts, field.type))
        return Outcome(kept=table.filter(pa.array(keep)), dropped=fates(dropped), noted=fates(noted))


class DuplicateParagraphs(_DuplicateParts):
    """Takes out paragraphs, which an empty line ends, that stand in several documents."""

    name: ClassVar[str] = "duplicate_paragraphs"
    paragraphs: ClassVar[bool] = True
    removed: ClassVar[Reason] = Reason.PARAGRAPHS_REMOVED

    min_words: Annotated[int, Field(ge=1)] = 10


class DuplicateLines(_DuplicateParts):
    """Takes out lines that stand in several documents.

    The defaults leave headings and whatever else a few documents share by chance: a line must have 5 words and stand in
    6 documents.
    """

    name: ClassVar[str] = "duplicate_lines"
    paragraphs: ClassVar[bool] = False
    removed: ClassVar[Reason] = Reason.LINES_REMOVED

    min_documents: Annotated[int, Field(ge=2)] = 6
    min_words: Annotated[int, Field(ge=1)] = 5


class Parts(NamedTuple):
    """Parts of documents, in order: the document, first byte and the byte after the last in it, and key of each."""

    documents: Numbers
    starts: Numbers
    ends: Numbers
    keys: Keys

    @classmethod
    def of(cls, texts: pa.ChunkedArray, paragraphs: bool, min_words: int) -> Parts:
        """The parts of `texts` that have at least `min_words` words."""
        data, offsets = utf8(texts)
        most = int(np.count_nonzero(data[offsets[0] : offsets[-1]] == ord("\n"))) + len(texts)
        documents, starts, ends, sizes = (np.empty(most, np.int64) for _ in range(4))
        keys = np.empty(most, np.uint64)
        count = kernels.parts(data, offsets, folding(digits=True), paragraphs, documents, starts, ends, keys, sizes)
        long = np.flatnonzero(sizes[:count] >= min_words)
        begin = offsets[documents[long]]
        return cls(documents[long], starts[long] - begin, ends[long] - begin, keys[long])


def _grouped(documents: Numbers) -> Iterator[tuple[int, slice]]:
    """Each document of an ascending list, and where in the list it stands."""
    bounds = np.flatnonzero(np.concatenate([[True], documents[1:] != documents[:-1], [True]]))
    for start, end in pairwise(bounds.tolist() if len(documents) else []):
        yield int(documents[start]), slice(start, end)


def _cut_out(text: str, starts: Sequence[int], ends: Sequence[int]) -> str:
    """`text` without some stretches of its UTF-8 bytes, which lie between characters, and without an end of line."""
    data = text.encode("utf-8", "surrogatepass")
    kept = (data[start:end] for start, end in zip([0, *ends], [*starts, len(data)], strict=True))
    return b"".join(kept).decode("utf-8", "surrogatepass").rstrip("\n")
