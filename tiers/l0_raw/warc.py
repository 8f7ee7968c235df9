"""The reader of web archives (WARC 1.0 and 1.1, ISO 28500)."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from fastwarc.stream_io import BrotliReader, ChunkedReader, GzipReader, WarcReader, ZstdReader
from fastwarc.warc import ArchiveIterator, WarcRecord, WarcRecordType

from tiers.l0_raw.batches import CONTENT, DEFAULT_LIMITS, Batch, Limits, ReadReason
from tiers.stage import Outcome

_HTML = frozenset({"text/html", "application/xhtml+xml"})
_HEAD_BYTES = 1 << 16


def read_warc(stream: BinaryIO, uri: str, limits: Limits = DEFAULT_LIMITS) -> Iterator[Outcome]:
    """Reads a WARC file: plain, with one gzip member for each record, or as a single gzip member.

    Each record is one row. HTML responses with status 200 are kept, with their bytes in `record.content` and an
    empty text. A record's source is its byte offset, as in a CDX index: in the compressed file where each record is
    its own member, in the uncompressed one otherwise. What breaks the file off is one failed row; what came before
    it is kept.

    Args:
        stream: The file, seekable.
        uri: Its stable name.
        limits: Bounds on memory.
    """
    batch = Batch(uri, limits, CONTENT)
    source = _open(stream)
    last, repeats = -1, 0
    try:
        for record in ArchiveIterator(source):
            offset = record.stream_pos
            repeats = repeats + 1 if offset == last else 0
            last = offset
            _add_record(batch, f"{offset}+{repeats}" if repeats else offset, record, limits)
            yield from batch.flush_full()
    except OSError as error:
        batch.fail(f"{last}+" if last >= 0 else 0, _break_reason(error, last < 0), str(error))
    else:
        fault = _tail_fault(source, last)
        if fault is not None:
            batch.fail(*fault)
    yield batch.flush()


def _open(stream: BinaryIO) -> Any:
    """The stream to iterate; uncompressed where one gzip member holds several records."""
    head = stream.read(_HEAD_BYTES)
    stream.seek(0)
    return _Unzipped(stream) if _is_one_member(head) else stream


def _is_one_member(head: bytes) -> bool:
    """Whether the first gzip member goes on after its first record."""
    if not head.startswith(b"\x1f\x8b"):
        return False
    try:
        plain = zlib.decompressobj(31).decompress(head, 1 << 22)
        record = next(iter(ArchiveIterator(io.BytesIO(plain), parse_http=False)), None)
    except (zlib.error, OSError):
        return False
    if record is None:
        return False
    end = plain.index(b"\r\n\r\n") + 4 + record.content_length if b"\r\n\r\n" in plain else len(plain)
    return bool(plain[end:].strip(b"\r\n"))


class _Unzipped:
    """A gzip file as its uncompressed bytes, for a reader that would count compressed ones."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._reader = GzipReader(stream)
        self._position = 0

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._reader.read(size)
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence != 0 or offset < self._position:
            self._stream.seek(0)
            self._reader = GzipReader(self._stream)
            self._position = 0
        while self._position < offset and self.read(min(1 << 16, offset - self._position)):
            pass
        return self._position

    def tell(self) -> int:
        return self._position

    def close(self) -> None:
        """Leaves the stream open for its owner."""


def _break_reason(error: OSError, at_start: bool) -> ReadReason:
    if "ecompression" in str(error):
        return ReadReason.BAD_COMPRESSION
    return ReadReason.NOT_A_WARC if at_start else ReadReason.MALFORMED_RECORD


def _tail_fault(source: Any, last: int) -> tuple[int | str, ReadReason, str] | None:
    """What is left behind the last record: a torn record leaves no trace in the iterator when its header is torn."""
    source.seek(max(last, 0))
    head = source.read(4)
    if not head:
        return (0, ReadReason.EMPTY_FILE, "the file has no bytes") if last < 0 else None
    if last < 0:
        return 0, ReadReason.TRUNCATED, "the file breaks off in its first record's header"
    source.seek(last)
    rest = _rest_of_members(source) if head.startswith(b"\x1f\x8b") else None
    if rest:
        return f"{last}+", ReadReason.TRUNCATED, f"the file breaks off: {rest}"
    return None


def _rest_of_members(source: BinaryIO) -> str:
    """What is wrong with the gzip members from here to the end of the file; empty if nothing is."""
    member = zlib.decompressobj(31)
    members = 0
    while chunk := source.read(_HEAD_BYTES):
        while chunk:
            if member.eof:
                member = zlib.decompressobj(31)
                members += 1
            chunk = _feed(member, chunk)
    if not member.eof:
        return "its last gzip member has no end"
    return ""


def _feed(member: Any, chunk: bytes) -> bytes:
    while chunk and not member.eof:
        member.decompress(chunk, _HEAD_BYTES)
        chunk = member.unconsumed_tail
    return bytes(member.unused_data)


@dataclass(frozen=True)
class _Verdict(Exception):
    reason: ReadReason
    detail: str
    failed: bool = False


def _add_record(batch: Batch, offset: int | str, record: WarcRecord, limits: Limits) -> None:
    try:
        content = _content(record, limits)
    except _Verdict as verdict:
        (batch.fail if verdict.failed else batch.drop)(offset, verdict.reason, verdict.detail)
        return
    headers = record.headers
    batch.keep(
        offset,
        len(content),
        {
            "text": "",
            "url": headers.get("WARC-Target-URI"),
            "record.content": content,
            "record.mime": _mime(record),
            "record.charset": record.http_charset,
            "meta": {
                key: value
                for key, value in (
                    ("http.status", str(record.http_headers.status_code)),
                    ("warc.date", headers.get("WARC-Date")),
                    ("warc.record_id", headers.get("WARC-Record-ID")),
                )
                if value
            },
        },
    )


def _mime(record: WarcRecord) -> str:
    return (record.http_content_type or "").partition(";")[0].strip().lower()


def _content(record: WarcRecord, limits: Limits) -> bytes:
    """The body of an HTML response, decoded; raises the verdict on any other record."""
    if record.record_type != WarcRecordType.response or not record.is_http:
        raise _Verdict(ReadReason.NOT_A_RESPONSE, str(record.record_type))
    if record.http_headers is None or record.http_headers.status_code is None:
        raise _Verdict(ReadReason.MALFORMED_RECORD, "no HTTP status line", failed=True)
    if record.http_headers.status_code != 200:
        raise _Verdict(ReadReason.STATUS_NOT_OK, f"{record.http_headers.status_code}, wanted 200")
    if _mime(record) not in _HTML:
        raise _Verdict(ReadReason.NOT_HTML, _mime(record) or "no media type")
    length, limit = record.content_length, limits.max_record_bytes
    if length > limit:
        raise _Verdict(ReadReason.TOO_LARGE, f"{length} bytes, at most {limit}", failed=True)
    content: bytes = record.reader.read(length)
    if len(content) < length:
        raise _Verdict(ReadReason.TRUNCATED, f"{len(content)} of {length} bytes", failed=True)
    return _decode_body(record, content, limit)


def _decode_body(record: WarcRecord, content: bytes, limit: int) -> bytes:
    """Undoes transfer and content encodings; archives that kept the header of a body already decoded are common."""
    for header, readers in (("Transfer-Encoding", _TRANSFER), ("Content-Encoding", _ENCODINGS)):
        for name in (record.http_headers.get(header) or "").lower().split(","):
            reader = readers.get(name.strip())
            if reader is None or not content:
                continue
            try:
                content = _read_bounded(reader(io.BytesIO(content)), limit)
            except OSError:
                continue
    if not content:
        raise _Verdict(ReadReason.EMPTY, "no body")
    return content


def _read_bounded(reader: WarcReader, limit: int) -> bytes:
    parts, size = [], 0
    while part := reader.read(1 << 16):
        parts.append(part)
        size += len(part)
        if size > limit:
            raise _Verdict(ReadReason.TOO_LARGE, f"more than {limit} bytes when decoded", failed=True)
    return b"".join(parts)


_TRANSFER: dict[str, Any] = {"chunked": ChunkedReader}
_ENCODINGS: dict[str, Any] = {
    "gzip": GzipReader,
    "x-gzip": GzipReader,
    "deflate": lambda stream: GzipReader(stream, zlib=True),
    "br": BrotliReader,
    "zstd": ZstdReader,
}
