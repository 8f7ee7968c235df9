"""Readers of Parquet and of Arrow IPC."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pt

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
from tiers.l0_raw.rows import add_row
from tiers.stage import Outcome

_BROKEN = (pa.ArrowException, OSError, UnicodeDecodeError)
_ARROW_FILE = b"ARROW1"


def read_parquet(
    stream: BinaryIO,
    uri: str,
    limits: Limits = DEFAULT_LIMITS,
    options: ReadOptions = DEFAULT_OPTIONS,
    span: Span = WHOLE,
) -> Iterator[Outcome]:
    """Reads Parquet in batches; a row's source is its number, counted over the whole file.

    Columns are taken as the keys are in `read_jsonl`; a row whose text is null or no UTF-8 fails. Of nested columns
    and of dates nothing is read.

    Args:
        stream: The file, seekable.
        uri: Its stable name.
        limits: Bounds on memory.
        options: Which columns hold text and identity.
        span: The row groups to read.
    """
    batch = Batch(uri, limits)
    number = 0
    try:
        file = pq.ParquetFile(stream)
        groups = range(span.start, min(span.end, file.num_row_groups))
        number = sum(file.metadata.row_group(group).num_rows for group in range(groups.start))
        columns = _wanted(file.schema_arrow, options)
        for rows in file.iter_batches(batch_size=limits.batch_rows, row_groups=groups, columns=columns):
            yield from _add_rows(batch, rows, number, options)
            number += rows.num_rows
    except _BROKEN as error:
        reason = ReadReason.EMPTY_FILE if stream.seek(0, 2) == 0 else ReadReason.NOT_PARQUET
        batch.fail(f"{number}+", reason, f"{type(error).__name__}: {error}")
    yield batch.flush()


def read_arrow(
    stream: BinaryIO, uri: str, limits: Limits = DEFAULT_LIMITS, options: ReadOptions = DEFAULT_OPTIONS
) -> Iterator[Outcome]:
    """Reads Arrow IPC, the file format (Feather 2) or the stream format, as `read_parquet` reads Parquet.

    A file that breaks off keeps the batches before the break: both formats hold the same messages in the same order,
    and the index at a file's end isn't needed.
    """
    batch = Batch(uri, limits)
    number = 0
    try:
        stream.seek(0)
        if stream.read(len(_ARROW_FILE)) == _ARROW_FILE:
            stream.seek(8)
        else:
            stream.seek(0)
        for record_batch in pa.ipc.open_stream(stream):
            record_batch = record_batch.select(_wanted(record_batch.schema, options))
            record_batch.validate()
            for start in range(0, record_batch.num_rows, limits.batch_rows):
                rows = record_batch.slice(start, limits.batch_rows)
                yield from _add_rows(batch, rows, number, options)
                number += rows.num_rows
    except _BROKEN as error:
        reason = ReadReason.EMPTY_FILE if stream.seek(0, 2) == 0 else ReadReason.NOT_ARROW
        batch.fail(f"{number}+", reason, f"{type(error).__name__}: {error}")
    yield batch.flush()


def row_group_spans(stream: BinaryIO, shard_bytes: int) -> list[Span]:
    """Cuts a Parquet file between row groups, so that each part has `shard_bytes` or one row group.

    A file whose footer can't be read is one part; reading it will say what is wrong.
    """
    try:
        metadata = pq.ParquetFile(stream).metadata
    except _BROKEN:
        return [WHOLE]
    spans, start, size = [], 0, 0
    for group in range(metadata.num_row_groups):
        columns = metadata.row_group(group)
        size += sum(columns.column(number).total_compressed_size for number in range(columns.num_columns))
        if size >= shard_bytes or group == metadata.num_row_groups - 1:
            spans.append(Span(start, group + 1))
            start, size = group + 1, 0
    return spans if len(spans) > 1 else [WHOLE]


def _wanted(schema: pa.Schema, options: ReadOptions) -> list[str]:
    """The columns whose values a document can hold, and those that the options name."""
    named = {options.text_field, options.id_field}
    return [field.name for field in schema if field.name in named or _is_plain(field.type)]


def _is_plain(kind: pa.DataType) -> bool:
    if pt.is_dictionary(kind):
        return _is_plain(kind.value_type)
    checks = (pt.is_string, pt.is_large_string, pt.is_string_view, pt.is_integer, pt.is_floating, pt.is_boolean)
    return any(check(kind) for check in checks)


def _add_rows(batch: Batch, rows: pa.RecordBatch, number: int, options: ReadOptions) -> Iterator[Outcome]:
    for at, value in enumerate(_values(rows), number):
        if isinstance(value, UnicodeDecodeError):
            batch.fail(at, ReadReason.INVALID_UTF8, f"byte {value.start}: {value.reason}")
        else:
            add_row(batch, at, value, options)
        yield from batch.flush_full()


def _values(rows: pa.RecordBatch) -> list[dict[str, Any] | UnicodeDecodeError]:
    """The rows as mappings; of one that holds invalid UTF-8, the error."""
    try:
        return list(rows.to_pylist())
    except UnicodeDecodeError as error:
        if rows.num_rows == 1:
            return [error]
        half = rows.num_rows // 2
        return _values(rows.slice(0, half)) + _values(rows.slice(half))
