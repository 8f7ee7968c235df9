"""How the records of an archive become rows; which of them, and of what content, is up to the kind of archive."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NamedTuple

from tiers.l0_raw.batches import CONTENT, Batch, Limits, ReadReason, Span
from tiers.l0_raw.records import Break, Grammar, Record, records
from tiers.stage import Outcome


class Verdict(Exception):
    """Why a record isn't kept.

    Args:
        reason: Why.
        detail: What was found, and what would have been right.
        failed: Whether the record is broken, not merely unwanted.
    """

    def __init__(self, reason: ReadReason, detail: str, *, failed: bool = False) -> None:
        self.reason = reason
        self.detail = detail
        self.failed = failed
        super().__init__(detail)


class Content(NamedTuple):
    """What a record holds.

    Attributes:
        data: Its bytes; of content that is too large, only the beginning.
        length: How many bytes it has.
    """

    data: memoryview
    length: int


Judge = Callable[[bytes, Content], dict[str, Any]]
"""Gives the row of a record from its header and its content, or raises the verdict against it."""


def read_archive(
    stream: BinaryIO, uri: str, grammar: Grammar, judge: Judge, limits: Limits, span: Span
) -> Iterator[Outcome]:
    """Reads an archive, or what of it begins in `span`, one row for each record and each break."""
    batch = Batch(uri, limits, CONTENT)
    for found in records(stream, grammar, limits.max_record_bytes, span):
        if isinstance(found, Break):
            batch.fail(found.place, found.reason, found.detail)
        else:
            _add(batch, found, judge)
        yield from batch.flush_full()
    yield batch.flush()


def _add(batch: Batch, record: Record, judge: Judge) -> None:
    size, length = record.head.size, record.head.length
    try:
        row = judge(record.data[:size], Content(memoryview(record.data)[size : size + length], length))
    except Verdict as verdict:
        (batch.fail if verdict.failed else batch.drop)(record.place, verdict.reason, verdict.detail)
        return
    batch.keep(record.place, len(row["record.content"]) + len(row["text"]), row)
    if truncated := row["meta"].get("truncated"):
        batch.note(record.place, ReadReason.TRUNCATED_PAYLOAD, truncated)
