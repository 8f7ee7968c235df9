"""Readers of files that are one document each: HTML and text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from tiers.l0_raw.batches import CONTENT, DEFAULT_LIMITS, DEFAULT_OPTIONS, Batch, Limits, ReadOptions, ReadReason
from tiers.l0_raw.compression import BROKEN_STREAM, decompressed, why_broken
from tiers.stage import Outcome


def read_html(
    stream: BinaryIO, uri: str, limits: Limits = DEFAULT_LIMITS, options: ReadOptions = DEFAULT_OPTIONS
) -> Iterator[Outcome]:
    """Reads one HTML file, plain or compressed, as one row, its text still to be extracted."""
    batch = Batch(uri, limits, CONTENT)
    content = _content(batch, stream, limits)
    if content:
        batch.keep(0, len(content), {"text": "", "record.content": content, "record.mime": "text/html"})
    yield batch.flush()


def read_text(
    stream: BinaryIO, uri: str, limits: Limits = DEFAULT_LIMITS, options: ReadOptions = DEFAULT_OPTIONS
) -> Iterator[Outcome]:
    """Reads one text file in UTF-8, plain or compressed, as one row."""
    batch = Batch(uri, limits)
    content = _content(batch, stream, limits)
    try:
        row: dict[str, Any] = {"text": content.decode("utf-8-sig")}
    except UnicodeDecodeError as error:
        batch.fail(0, ReadReason.INVALID_UTF8, f"byte {error.start}: {error.reason}")
    else:
        if content:
            batch.keep(0, len(content), row)
    yield batch.flush()


def _content(batch: Batch, stream: BinaryIO, limits: Limits) -> bytes:
    """The bytes of a file; none where it fails."""
    try:
        content = decompressed(stream).read(limits.max_record_bytes + 1)
    except BROKEN_STREAM as error:
        batch.fail(0, *why_broken(error))
        return b""
    if not content:
        batch.fail(0, ReadReason.EMPTY_FILE, "the file has no bytes")
    elif len(content) > limits.max_record_bytes:
        batch.fail(0, ReadReason.TOO_LARGE, f"more than {limits.max_record_bytes} bytes")
        return b""
    return content
