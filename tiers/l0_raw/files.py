"""Readers of JSON lines, Parquet and single HTML files."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from tiers.l0_raw.batches import CONTENT, DEFAULT_LIMITS, Batch, Limits, ReadReason
from tiers.stage import Outcome

_COLUMNS = ("url", "title", "lang", "license")


class _BadRow(Exception):
    def __init__(self, reason: ReadReason, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(detail)


def read_jsonl(
    stream: BinaryIO,
    uri: str,
    limits: Limits = DEFAULT_LIMITS,
    *,
    text_field: str = "text",
    id_field: str | None = None,
) -> Iterator[Outcome]:
    """Reads JSON lines, plain or compressed with gzip, zstd, bzip2 or xz, which its first bytes tell.

    A line's source is its byte offset in the uncompressed file. Its `url`, `title`, `lang` and `license` become
    columns where they are strings; its other plain values go to `meta`. A line that is blank is no row. A line that
    cannot be read fails alone.

    Args:
        stream: The file.
        uri: Its stable name.
        limits: Bounds on memory.
        text_field: The key that holds the text.
        id_field: A key whose value identifies a line better than its offset; its source is then `uri#value`.
    """
    batch = Batch(uri, limits)
    offset, plain = 0, _decompressed(stream)
    if plain is None:
        batch.fail(0, ReadReason.EMPTY_FILE, "the file has no bytes")
        yield batch.flush()
        return
    try:
        while line := plain.readline(limits.max_record_bytes + 1):
            start, offset = offset, offset + len(line)
            if len(line) > limits.max_record_bytes:
                offset += _skip_line(plain, line)
                batch.fail(start, ReadReason.TOO_LARGE, f"{offset - start} bytes, at most {limits.max_record_bytes}")
            elif line.strip():
                _add_line(batch, start, line, text_field, id_field)
            yield from batch.flush_full()
    except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        reason = ReadReason.TRUNCATED if _is_truncation(error) else ReadReason.BAD_COMPRESSION
        batch.fail(f"{offset}+", reason, f"{type(error).__name__}: {error}")
    yield batch.flush()


def _is_truncation(error: Exception) -> bool:
    return isinstance(error, EOFError) or "truncated" in str(error).lower()


def _skip_line(plain: BinaryIO, line: bytes) -> int:
    skipped = 0
    while line and not line.endswith(b"\n"):
        line = plain.readline(1 << 20)
        skipped += len(line)
    return skipped


def _decompressed(stream: BinaryIO) -> BinaryIO | None:
    """`stream` uncompressed, `None` where it is empty."""
    head = stream.read(6)
    stream.seek(0)
    if not head:
        return None
    if head.startswith(b"\x1f\x8b"):
        return cast(BinaryIO, gzip.GzipFile(fileobj=stream))
    if head.startswith(b"BZh"):
        return cast(BinaryIO, bz2.BZ2File(stream))
    if head.startswith(b"\xfd7zXZ\x00"):
        return cast(BinaryIO, lzma.LZMAFile(stream))
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        return cast(BinaryIO, io.BufferedReader(pa.CompressedInputStream(pa.PythonFile(stream, "r"), "zstd"), 1 << 16))
    return stream


def _add_line(batch: Batch, offset: int, line: bytes, text_field: str, id_field: str | None) -> None:
    try:
        value = _parse(line)
    except _BadRow as bad:
        batch.fail(offset, bad.reason, bad.detail)
    else:
        _add_value(batch, offset, value, text_field, id_field)


def _add_value(batch: Batch, place: int, value: dict[str, Any], text_field: str, id_field: str | None) -> None:
    try:
        row = _row(value, text_field)
        name = place if id_field is None else _name(value, id_field)
    except _BadRow as bad:
        batch.fail(place, bad.reason, bad.detail)
    else:
        batch.keep(name, len(row["text"]), row)


def _name(value: dict[str, Any], id_field: str) -> str:
    name = value.get(id_field)
    if not isinstance(name, str | int) or isinstance(name, bool):
        raise _BadRow(ReadReason.NO_ID, f"{id_field!r} is {type(name).__name__}, not a string or number")
    return str(name)


def _parse(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise _BadRow(ReadReason.INVALID_UTF8, f"byte {error.start}: {error.reason}") from None
    except (ValueError, RecursionError) as error:
        raise _BadRow(ReadReason.INVALID_JSON, str(error)) from None
    if not isinstance(value, dict):
        raise _BadRow(ReadReason.INVALID_JSON, f"a {type(value).__name__}, not an object")
    return value


def _row(value: dict[str, Any], text_field: str) -> dict[str, Any]:
    text = value.get(text_field)
    if text is None:
        raise _BadRow(ReadReason.NO_TEXT, f"{text_field!r} is {'null' if text_field in value else 'missing'}")
    if not isinstance(text, str):
        raise _BadRow(ReadReason.TEXT_NOT_A_STRING, f"{text_field!r} is a {type(text).__name__}")
    row: dict[str, Any] = {"text": text, "meta": {}}
    for key, item in value.items():
        if key in _COLUMNS and isinstance(item, str):
            row[key] = item
        elif key != text_field and isinstance(item, str | int | float | bool):
            row["meta"][key] = item if isinstance(item, str) else json.dumps(item)
    try:
        json.dumps(row, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise _BadRow(ReadReason.LONE_SURROGATE, f"character {error.start}: {error.reason}") from None
    return row


def read_parquet(
    stream: BinaryIO,
    uri: str,
    limits: Limits = DEFAULT_LIMITS,
    *,
    text_field: str = "text",
    id_field: str | None = None,
) -> Iterator[Outcome]:
    """Reads Parquet in batches; a row's source is its number, counted over the whole file.

    Columns are taken as the keys are in `read_jsonl`; a row whose text is null fails.
    """
    batch = Batch(uri, limits)
    number = 0
    try:
        for rows in pq.ParquetFile(stream).iter_batches(batch_size=limits.batch_rows):
            for value in rows.to_pylist():
                _add_value(batch, number, value, text_field, id_field)
                number += 1
                yield from batch.flush_full()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = ReadReason.EMPTY_FILE if stream.seek(0, 2) == 0 else ReadReason.NOT_PARQUET
        batch.fail(f"{number}+", reason, f"{type(error).__name__}: {error}")
    yield batch.flush()


def read_html(stream: BinaryIO, uri: str, limits: Limits = DEFAULT_LIMITS) -> Iterator[Outcome]:
    """Reads one HTML file as one row, its text still to be extracted."""
    batch = Batch(uri, limits, CONTENT)
    content = stream.read(limits.max_record_bytes + 1)
    if not content:
        batch.fail(0, ReadReason.EMPTY_FILE, "the file has no bytes")
    elif len(content) > limits.max_record_bytes:
        batch.fail(0, ReadReason.TOO_LARGE, f"more than {limits.max_record_bytes} bytes")
    else:
        batch.keep(0, len(content), {"text": "", "record.content": content, "record.mime": "text/html"})
    yield batch.flush()
