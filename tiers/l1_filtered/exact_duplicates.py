"""The stage that keeps one copy of documents whose texts are equal."""

from __future__ import annotations

import unicodedata
from enum import StrEnum
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from tiers.stage import GlobalStage, fates


class Reason(StrEnum):
    """Why a document was dropped."""

    DUPLICATE = "exact_duplicate"


class ExactDuplicates(GlobalStage):
    """Drops documents whose normalised text is that of a document with a smaller id.

    Texts are compared by the 128-bit xxh3 of their NFC form with white space runs as one space; two different texts
    share one with a probability below 1e-18 among ten billion documents.

    Attributes:
        casefold: Whether texts that differ in case alone are equal.
    """

    name: ClassVar[str] = "exact_duplicates"
    partitions: ClassVar[int] = 32

    casefold: bool = False

    def spill(self, table: pa.Table) -> pa.Table:
        """One row for each document: partition, digest of its text (16 bytes), id."""
        digests = [self._digest(text) for text in table["text"].to_pylist()]
        return pa.table(
            {
                "partition": pa.array([digest[0] % self.partitions for digest in digests], pa.uint32()),
                "digest": pa.array(digests, pa.binary(16)),
                "id": table["id"].combine_chunks(),
            }
        )

    def _digest(self, text: str) -> bytes:
        if not text.isascii():
            text = unicodedata.normalize("NFC", text)
        if self.casefold:
            text = text.casefold()
        return xxhash.xxh3_128_digest(" ".join(text.split()).encode("utf-8", "surrogatepass"))

    def reduce(self, partition: pa.Table) -> pa.Table:
        """The documents to drop: id, reason, detail."""
        first = partition.group_by("digest").aggregate([("id", "min")])
        keepers = first["id_min"].take(pc.index_in(partition["digest"], value_set=first["digest"].combine_chunks()))
        rows = zip(partition["id"].to_pylist(), keepers.to_pylist(), strict=True)
        return fates(
            (row_id, Reason.DUPLICATE.value, f"duplicate of {keeper}") for row_id, keeper in rows if row_id != keeper
        )
