"""What all readers share: options, bounds, ranges, reasons, and how they group rows into tables of bounded size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from tiers.document import document_id, documents
from tiers.stage import Outcome, fates

CONTENT = (
    pa.field("record.content", pa.large_binary(), nullable=False),
    pa.field("record.mime", pa.string(), nullable=False),
    pa.field("record.charset", pa.string()),
)
"""Columns of a row whose text is still to be extracted: the raw bytes, their media type, the declared charset."""


class ReadReason(StrEnum):
    """Why a row of an input was not kept.

    The first group drops what was never meant to be a document; the second sends what is broken to quarantine; the
    last is noted about rows that are kept.
    """

    NOT_A_RESPONSE = "not_a_response"
    REVISIT = "revisit"
    REDIRECT = "redirect"
    STATUS_NOT_OK = "status_not_ok"
    MIME_NOT_WANTED = "mime_not_wanted"
    NOT_TEXT = "not_text"
    EMPTY = "empty"

    EMPTY_FILE = "empty_file"
    NOT_A_WARC = "not_a_warc"
    NOT_AN_ARC = "not_an_arc"
    NOT_PARQUET = "not_parquet"
    NOT_ARROW = "not_arrow"
    BAD_COMPRESSION = "bad_compression"
    TRUNCATED = "truncated"
    MALFORMED_RECORD = "malformed_record"
    TOO_LARGE = "too_large"
    UNDECODABLE = "undecodable"
    INVALID_UTF8 = "invalid_utf8"
    INVALID_JSON = "invalid_json"
    INVALID_CSV = "invalid_csv"
    NO_TEXT = "no_text"
    TEXT_NOT_A_STRING = "text_not_a_string"
    LONE_SURROGATE = "lone_surrogate"
    NO_ID = "no_id"

    NUL_REMOVED = "nul_removed"
    TRUNCATED_PAYLOAD = "truncated_payload"


@dataclass(frozen=True)
class Limits:
    """Bounds on what a reader holds in memory.

    Attributes:
        max_record_bytes: A record above this, declared or actual, fails as too large; it is never read whole.
        batch_rows: Rows in a batch at most, whatever their fate.
        batch_bytes: Bytes of content after which a batch ends.
    """

    max_record_bytes: int = 16 << 20
    batch_rows: int = 256
    batch_bytes: int = 16 << 20


DEFAULT_LIMITS = Limits()


class ReadOptions(BaseModel):
    """What of an input becomes a document. They are part of the identity of what is read.

    Attributes:
        mime: Media types of archived responses to keep; `text/*` stands for all of text. What is not HTML is kept only
            if it is text.
        status: HTTP status codes of archived responses to keep.
        text_field: The key or column that holds the text of a row.
        id_field: A key or column that names a row better than its place in the file; its source is then `uri#value`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mime: tuple[str, ...] = ("text/html", "application/xhtml+xml")
    status: tuple[int, ...] = (200,)
    text_field: str = "text"
    id_field: str | None = None


DEFAULT_OPTIONS = ReadOptions()


@dataclass(frozen=True)
class Span:
    """A part of a file: what begins in `[start, end)`, in bytes or, for Parquet, in row groups."""

    start: int
    end: int

    def __contains__(self, place: int) -> bool:
        return self.start <= place < self.end


WHOLE = Span(0, 1 << 63)


class Batch:
    """Rows gathered until they fill a table.

    Args:
        uri: The stable name of the file; a row's source is `uri#offset`.
        limits: When a batch is full.
        extra: Fields of the columns after those of a document.
    """

    def __init__(self, uri: str, limits: Limits, extra: tuple[pa.Field, ...] = ()) -> None:
        self._uri = uri
        self._limits = limits
        self._extra = extra
        self._clear()

    def _clear(self) -> None:
        self._kept: list[Mapping[str, Any]] = []
        self._dropped: list[tuple[str, str, str]] = []
        self._failed: list[tuple[str, str, str]] = []
        self._noted: list[tuple[str, str, str]] = []
        self._bytes = 0

    def _id(self, offset: int | str) -> str:
        return document_id(f"{self._uri}#{offset}")

    def keep(self, offset: int | str, nbytes: int, row: Mapping[str, Any]) -> None:
        """Adds a document that weighs `nbytes`; NUL characters, which no text needs, are taken out of it."""
        nuls = row["text"].count("\0")
        if nuls:
            row = {**row, "text": row["text"].replace("\0", "")}
            self._noted.append((self._id(offset), ReadReason.NUL_REMOVED, str(nuls)))
        self._kept.append({"source": f"{self._uri}#{offset}", **row})
        self._bytes += nbytes

    def drop(self, offset: int | str, reason: ReadReason, detail: str) -> None:
        """Adds a row that is not wanted."""
        self._dropped.append((self._id(offset), reason, detail))

    def fail(self, offset: int | str, reason: ReadReason, detail: str) -> None:
        """Adds a row that is broken."""
        self._failed.append((self._id(offset), reason, f"at {offset}: {detail}"))

    def note(self, offset: int | str, reason: ReadReason, detail: str) -> None:
        """Says something about a row that is kept."""
        self._noted.append((self._id(offset), reason, detail))

    def flush_full(self) -> Iterator[Outcome]:
        """Yields the batch and begins another, if it is full."""
        rows = len(self._kept) + len(self._dropped) + len(self._failed)
        if rows >= self._limits.batch_rows or self._bytes >= self._limits.batch_bytes:
            yield self.flush()

    def flush(self) -> Outcome:
        """Gives the batch and begins another."""
        kept = documents(self._kept, self._extra)
        outcome = Outcome(kept, fates(self._dropped), fates(self._failed), fates(self._noted))
        self._clear()
        return outcome
