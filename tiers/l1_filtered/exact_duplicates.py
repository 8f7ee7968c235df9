"""The stage that keeps one copy of documents whose texts are equal."""

from __future__ import annotations

import unicodedata
from enum import StrEnum
from typing import Annotated, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from pydantic import Field

from tiers.l1_filtered.losses import loss_alarms
from tiers.stage import LISTED, Fetch, GlobalStage, with_alarms


class Reason(StrEnum):
    """Why a document was dropped."""

    DUPLICATE = "exact_duplicate"


class ExactDuplicates(GlobalStage):
    """Drops documents whose normalised text is that of a document with a smaller id, or of an earlier release.

    What was made from a document, such as a model's rewriting, never takes a document's place.

    Texts are compared by the 128-bit xxh3 of their NFC form with white space runs as one space; two different texts
    share one with a probability below 1e-18 among ten billion documents.

    Attributes:
        casefold: Whether texts that differ in case alone are equal.
        against: Folders of earlier releases or runs whose documents are kept whatever else is.
        max_source_loss: As of near duplicates: the share of its documents from which a source's loss raises an alarm.
        max_copies: The share of all documents from which the copies of one do.
    """

    name: ClassVar[str] = "exact_duplicates"
    version: ClassVar[int] = 3
    rows_per_partition: ClassVar[int | None] = 1 << 20

    casefold: bool = False
    against: Annotated[tuple[str, ...], Field(exclude=True)] = ()
    max_source_loss: Annotated[float, Field(ge=0, le=1)] = 0.5
    max_copies: Annotated[float, Field(ge=0, le=1)] = 0.01

    def earlier(self) -> tuple[str, ...]:
        """The folders in `against`."""
        return self.against

    def spill(self, table: pa.Table) -> pa.Table:
        """One row for each document: partition, digest of its text (16 bytes), row, id, how many it was made from."""
        digests = b"".join(self._digest(text) for text in table["text"].to_pylist())
        return pa.table(
            {
                "partition": pa.array(np.frombuffer(digests, ">u8")[::2].astype(np.uint64)),
                "digest": pa.FixedSizeBinaryArray.from_buffers(
                    pa.binary(16), table.num_rows, [None, pa.py_buffer(digests)]
                ),
                "earlier": pc.less(table["row"], 0),
                "makers": pc.list_value_length(table["parents"]),
                "row": table["row"],
                "id": table["id"],
            }
        )

    def _digest(self, text: str) -> bytes:
        if not text.isascii():
            text = unicodedata.normalize("NFC", text)
        if self.casefold:
            text = text.casefold()
        return xxhash.xxh3_128_digest(" ".join(text.split()).encode("utf-8", "surrogatepass"))

    def reduce(self, partition: pa.Table) -> pa.Table:
        """The documents to drop: row, id, reason, detail; and the id that is kept instead."""
        ordered = [("digest", "ascending"), ("earlier", "descending"), ("makers", "ascending"), ("id", "ascending")]
        partition = partition.sort_by(ordered)
        digests = partition["digest"].combine_chunks()
        new = np.ones(partition.num_rows, bool)
        if len(new) > 1:
            new[1:] = pc.not_equal(digests.slice(1), digests.slice(0, len(digests) - 1)).to_numpy(zero_copy_only=False)
        first = np.flatnonzero(new)[np.cumsum(new) - 1]
        gone = np.flatnonzero(~new & (partition["row"].to_numpy() >= 0))
        kept = partition["id"].take(pa.array(first[gone]))
        copies = partition.take(pa.array(gone))
        reasons = pa.array([Reason.DUPLICATE.value] * len(gone), pa.string())
        details = pc.binary_join_element_wise("duplicate of", kept, " ")
        return pa.table([copies["row"], copies["id"], reasons, details, kept], names=[*LISTED.names, "kept"])

    def decide(self, findings: pa.Table, fetch: Fetch) -> pa.Table:
        """The documents to drop: row, id, reason, detail."""
        findings = findings.sort_by("row")
        listed = findings.select(LISTED.names).cast(LISTED)
        kept = findings["kept"].to_pylist()
        return with_alarms(listed, loss_alarms(fetch, listed["row"], kept, self.max_source_loss, self.max_copies))
