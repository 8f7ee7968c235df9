"""Readers of JSON lines and of CSV."""

from __future__ import annotations

import codecs
import csv
import json
from collections import deque
from collections.abc import Iterator
from typing import Any, BinaryIO

from tiers.l0_raw.batches import (
    DEFAULT_LIMITS,
    DEFAULT_OPTIONS,
    WHOLE,
    Batch,
    Limits,
    ReadOptions,
    ReadReason,
    Span,
)
from tiers.l0_raw.compression import BROKEN_STREAM, decompressed, why_broken
from tiers.l0_raw.rows import BadRow, add_row
from tiers.stage import Outcome


def read_jsonl(
    stream: BinaryIO,
    uri: str,
    limits: Limits = DEFAULT_LIMITS,
    options: ReadOptions = DEFAULT_OPTIONS,
    span: Span = WHOLE,
) -> Iterator[Outcome]:
    """Reads JSON lines, plain or compressed with gzip, zstd, bzip2 or xz, which its first bytes tell.

    A line's source is its byte offset in the uncompressed file. Its `url`, `title`, `lang` and `license` become
    columns where they are strings; its other plain values go to `meta`. A line that is blank is no row. A line that
    cannot be read fails alone.

    Args:
        stream: The file, seekable.
        uri: Its stable name.
        limits: Bounds on memory.
        options: Which keys hold text and identity.
        span: The range of a plain file, in bytes, whose lines are read: those that begin in it.
    """
    batch = Batch(uri, limits)
    if not span.start and _is_empty(stream):
        batch.fail(0, ReadReason.EMPTY_FILE, "the file has no bytes")
        yield batch.flush()
        return
    offset, plain = 0, decompressed(stream)
    try:
        if span.start:
            plain.seek(span.start - 1)
            offset = span.start - 1 + _skip_line(plain, b"-")
        while offset < span.end and (line := plain.readline(limits.max_record_bytes + 1)):
            start, offset = offset, offset + len(line)
            if len(line) > limits.max_record_bytes:
                offset += _skip_line(plain, line)
                batch.fail(start, ReadReason.TOO_LARGE, f"{offset - start} bytes, at most {limits.max_record_bytes}")
            elif line.strip():
                _add_line(batch, start, line, options)
            yield from batch.flush_full()
    except BROKEN_STREAM as error:
        batch.fail(f"{offset}+", *why_broken(error))
    yield batch.flush()


def _is_empty(stream: BinaryIO) -> bool:
    stream.seek(0)
    return not stream.read(1)


def _skip_line(plain: BinaryIO, line: bytes) -> int:
    """Reads on to the end of a line that began with `line`; gives the bytes read."""
    skipped = 0
    while line and not line.endswith(b"\n"):
        line = plain.readline(1 << 20)
        skipped += len(line)
    return skipped


def _add_line(batch: Batch, offset: int, line: bytes, options: ReadOptions) -> None:
    try:
        value = _parse(line)
    except BadRow as bad:
        batch.fail(offset, bad.reason, bad.detail)
    else:
        add_row(batch, offset, value, options)


def _parse(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BadRow(ReadReason.INVALID_UTF8, f"byte {error.start}: {error.reason}") from None
    except (ValueError, RecursionError) as error:
        raise BadRow(ReadReason.INVALID_JSON, str(error)) from None
    if not isinstance(value, dict):
        raise BadRow(ReadReason.INVALID_JSON, f"a {type(value).__name__}, not an object")
    return value


def read_csv(
    stream: BinaryIO,
    uri: str,
    limits: Limits = DEFAULT_LIMITS,
    options: ReadOptions = DEFAULT_OPTIONS,
    *,
    delimiter: str = ",",
) -> Iterator[Outcome]:
    """Reads CSV (RFC 4180) in UTF-8, plain or compressed; the first row names the columns.

    A row's source is its byte offset in the uncompressed file; columns are taken as the keys are in `read_jsonl`. A row
    whose number of fields isn't that of the header fails alone: if an open quote made it swallow the lines behind its
    first, they are read anew.
    """
    batch = Batch(uri, limits)
    if _is_empty(stream):
        batch.fail(0, ReadReason.EMPTY_FILE, "the file has no bytes")
        yield batch.flush()
        return
    lines = _Lines(decompressed(stream), limits.max_record_bytes)
    # The module has one limit for the whole process, of 128 KiB; what bounds a row here are its lines.
    csv.field_size_limit(max(csv.field_size_limit(), limits.max_record_bytes))
    rows = csv.reader(lines, delimiter=delimiter)
    names: list[str] = []
    try:
        while True:
            lines.begin_row()
            try:
                fields = _fields(rows, lines, names)
            except StopIteration:
                break
            except BadRow as bad:
                batch.fail(lines.offset, bad.reason, bad.detail)
                lines.take_back()
            else:
                if names:
                    add_row(batch, lines.offset, dict(zip(names, fields, strict=True)), options)
                names = names or fields
            yield from batch.flush_full()
    except BROKEN_STREAM as error:
        batch.fail(f"{lines.position}+", *why_broken(error))
    yield batch.flush()


def _fields(rows: Iterator[list[str]], lines: _Lines, names: list[str]) -> list[str]:
    """The fields of the next row that isn't blank."""
    try:
        while not (fields := next(rows)):
            lines.begin_row()
    except csv.Error as error:
        raise BadRow(ReadReason.INVALID_CSV, str(error)) from None
    if names and len(fields) != len(names):
        raise BadRow(ReadReason.INVALID_CSV, f"{len(fields)} fields, the header has {len(names)}")
    if lines.undecodable:
        raise BadRow(ReadReason.INVALID_UTF8, lines.undecodable)
    return fields


class _Lines:
    """Lines for a CSV reader, which remember where the current row began and can be taken back behind its first.

    Attributes:
        position: The offset behind the last line that was read.
        undecodable: What of the current row is not UTF-8; empty if all is.
    """

    def __init__(self, plain: BinaryIO, max_bytes: int) -> None:
        self._plain = plain
        self._max = max_bytes
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._row: list[tuple[int, bytes]] = []
        self.position = 0
        self.undecodable = ""

    @property
    def offset(self) -> int:
        """Where the current row begins."""
        return self._row[0][0] if self._row else self.position

    def begin_row(self) -> None:
        """Makes the next line the first of a row."""
        self._row = []
        self._bytes = 0
        self.undecodable = ""

    def take_back(self) -> None:
        """Makes the lines behind the row's first come again."""
        self._waiting.extendleft(reversed(self._row[1:]))

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        offset, line = self._waiting.popleft() if self._waiting else self._next_line()
        if not line:
            raise StopIteration
        self._row.append((offset, line))
        self._bytes += len(line)
        if self._bytes > self._max:
            raise BadRow(ReadReason.TOO_LARGE, f"more than {self._max} bytes")
        line = line.removeprefix(codecs.BOM_UTF8) if offset == 0 else line
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError as error:
            self.undecodable = f"byte {error.start}: {error.reason}"
            return line.decode("utf-8", "replace")

    def _next_line(self) -> tuple[int, bytes]:
        offset, line = self.position, self._plain.readline(self._max + 1)
        self.position += len(line)
        if len(line) > self._max:
            self.position += _skip_line(self._plain, line)
        return offset, line
