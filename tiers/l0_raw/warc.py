"""The reader of web archives (WARC 1.0 and 1.1, ISO 28500)."""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, Protocol

from fastwarc.stream_io import BrotliReader, ChunkedReader, GzipReader, WarcReader, ZstdReader
from fastwarc.warc import ArchiveIterator, WarcRecord, WarcRecordType

from tiers.l0_raw.batches import CONTENT, DEFAULT_LIMITS, Batch, Limits, ReadReason
from tiers.stage import Outcome

HTML_TYPES = frozenset({"text/html", "application/xhtml+xml"})
_CHUNK = 1 << 16
_GZIP = b"\x1f\x8b"


def read_warc(stream: BinaryIO, uri: str, limits: Limits = DEFAULT_LIMITS) -> Iterator[Outcome]:
    """Reads a WARC file: plain, with one gzip member for each record, or as one gzip member.

    Each record is one row. HTML responses with status 200 are kept, with their bytes in `record.content` and an
    empty text. A record's source is its byte offset, as in a CDX index: in the compressed file where each record is
    a member of its own, in the uncompressed one otherwise. Where a file breaks, one row fails; what came before it is
    kept, and reading goes on at the next record that can be found (not within a single gzip member).

    Args:
        stream: The file, seekable.
        uri: Its stable name.
        limits: Bounds on memory.
    """
    batch = Batch(uri, limits, CONTENT)
    archive = _Archive(stream, batch, limits)
    while archive.goes_on():
        yield from archive.read()
    yield batch.flush()


class _Source(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...
    def seek(self, offset: int, whence: int = 0, /) -> int: ...
    def tell(self) -> int: ...
    def close(self) -> None: ...


class _Archive:
    """Reads records into a batch, from wherever the last break left off."""

    def __init__(self, stream: BinaryIO, batch: Batch, limits: Limits) -> None:
        head = stream.read(_CHUNK)
        stream.seek(0)
        self._members = head.startswith(_GZIP) and not _holds_several_records(head)
        self._zipped = head.startswith(_GZIP) and not self._members
        self._source: _Source = _Unzipped(stream) if self._zipped else stream
        self._batch = batch
        self._limits = limits
        self._start: int | None = 0
        self._last = -1
        self._last_failed = False

    def goes_on(self) -> bool:
        """Whether there is a place to read on from."""
        return self._start is not None

    def read(self) -> Iterator[Outcome]:
        """Reads until the end of the file or the next break."""
        self._source.seek(self._start or 0)
        self._start = None
        unread = None
        try:
            for record in ArchiveIterator(self._source, parse_http=False):
                unread = record.stream_pos
                self._add(unread, record)
                unread = None
                yield from self._batch.flush_full()
        except OSError as error:
            self._break(error, unread)
        else:
            self._end()

    def _add(self, offset: int, record: WarcRecord) -> None:
        try:
            content = _content(record, self._limits)
        except _Verdict as verdict:
            (self._batch.fail if verdict.failed else self._batch.drop)(offset, verdict.reason, verdict.detail)
            self._last_failed = verdict.failed
        else:
            self._batch.keep(offset, len(content), _row(record, content))
            self._last_failed = False
        self._last = offset

    def _break(self, error: OSError, unread: int | None) -> None:
        """Fails the record that could not be read, and looks for the next one."""
        if "ecompression" in str(error):
            reason = ReadReason.BAD_COMPRESSION
        else:
            reason = ReadReason.NOT_A_WARC if self._last < 0 and unread is None else ReadReason.MALFORMED_RECORD
        if unread is not None or not self._last_failed:
            self._batch.fail(_behind(self._last) if unread is None else unread, reason, str(error))
        self._last = self._last if unread is None else unread
        self._last_failed = True
        if not self._zipped:
            self._start = self._next_record()

    def _next_record(self) -> int | None:
        """The offset of the next record that looks whole, behind the break; `None` if there is none."""
        needle = b"\x1f\x8b\x08" if self._members else b"\r\n\r\nWARC/"
        skip = 0 if self._members else 4
        extent = None if self._members else _extent(self._source, self._last)
        start = self._last + 1 if extent is None else extent - 4
        for found in _occurrences(self._source, needle, max(start, 0)):
            self._last = found + skip
            if not self._members or _is_whole_record(self._source, found):
                return found + skip
        return None

    def _end(self) -> None:
        """Fails what lies behind the last record: the iterator is silent about a header that breaks off."""
        self._source.seek(0)
        if not self._source.read(1):
            self._batch.fail(0, ReadReason.EMPTY_FILE, "the file has no bytes")
        elif not self._last_failed and self._is_torn():
            self._batch.fail(_behind(self._last), ReadReason.TRUNCATED, "the file breaks off")

    def _is_torn(self) -> bool:
        if isinstance(self._source, _Unzipped):
            return self._source.torn
        if self._last < 0:
            return True
        if self._members:
            return not _members_end(self._source, self._last)
        extent = _extent(self._source, self._last)
        return extent is None or self._source.seek(0, 2) < extent


def _behind(offset: int) -> int | str:
    """The place of something broken behind the record at `offset`, whose own place isn't known."""
    return 0 if offset < 0 else f"{offset}+"


class _Unzipped:
    """A gzip file as its uncompressed bytes, for a reader that would count compressed ones.

    Attributes:
        torn: Whether the file ended within a member.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._rewind()

    def _rewind(self) -> None:
        self._stream.seek(0)
        self._member = zlib.decompressobj(31)
        self._waiting = b""
        self._position = 0
        self.torn = False

    def read(self, size: int = -1) -> bytes:
        """Reads some bytes, at most `size`; none at the end."""
        size = _CHUNK if size < 0 else size
        while size:
            if not self._waiting:
                self._waiting = self._stream.read(_CHUNK)
            if self._member.eof and self._waiting:
                self._member = zlib.decompressobj(31)
            if not self._waiting:
                self.torn = not self._member.eof
                return b""
            try:
                data = self._member.decompress(self._waiting, size)
            except zlib.error as error:
                raise OSError(f"Decompression error: {error}") from None
            self._waiting = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            self._position += len(data)
            if data:
                return data
        return b""

    def seek(self, offset: int, whence: int = 0) -> int:
        """Goes back to the start, which is all that is needed."""
        if (offset, whence) != (0, 0):
            raise io.UnsupportedOperation("a compressed stream is read from its start")
        torn = self.torn
        self._rewind()
        self.torn = torn
        return 0

    def tell(self) -> int:
        """How many uncompressed bytes were read."""
        return self._position

    def close(self) -> None:
        """Leaves the stream open for its owner."""


def _holds_several_records(head: bytes) -> bool:
    """Whether the first gzip member goes on after its first record."""
    try:
        plain = zlib.decompressobj(31).decompress(head, 1 << 22)
    except zlib.error:
        return False
    extent = _extent(io.BytesIO(plain), 0)
    return extent is not None and bool(plain[extent:].strip(b"\r\n"))


def _extent(source: _Source, offset: int) -> int | None:
    """Where the uncompressed record at `offset` ends, by its header; `None` if that has no end or no length."""
    if offset < 0:
        return None
    source.seek(offset)
    header, end, _ = source.read(_CHUNK).partition(b"\r\n\r\n")
    length = re.search(rb"(?im)^content-length:[ \t]*(\d+)", header)
    return offset + len(header) + 4 + int(length[1]) if end and length else None


def _occurrences(source: _Source, needle: bytes, start: int) -> Iterator[int]:
    """The offsets of `needle` from `start` on."""
    window, base = b"", start
    while True:
        source.seek(base + len(window))
        data = source.read(1 << 20)
        if not data:
            return
        window += data
        at = window.find(needle)
        while at >= 0:
            yield base + at
            at = window.find(needle, at + 1)
        keep = min(len(window), len(needle) - 1)
        base, window = base + len(window) - keep, window[len(window) - keep :]


def _is_whole_record(source: _Source, offset: int) -> bool:
    """Whether a whole gzip member with a WARC record begins at `offset`."""
    source.seek(offset)
    member = zlib.decompressobj(31)
    plain = b""
    try:
        while not member.eof and (chunk := source.read(_CHUNK)):
            for part in _inflate(member, chunk):
                plain = plain or part
    except zlib.error:
        return False
    return member.eof and plain.startswith(b"WARC/")


def _members_end(source: _Source, offset: int) -> bool:
    """Whether the file's last gzip member, at or behind that at `offset`, has its end."""
    source.seek(offset)
    member = zlib.decompressobj(31)
    try:
        while chunk := source.read(_CHUNK):
            while chunk:
                if member.eof:
                    member = zlib.decompressobj(31)
                for _ in _inflate(member, chunk):
                    pass
                chunk = member.unused_data
    except zlib.error:
        return False
    return bool(member.eof)


def _inflate(member: Any, chunk: bytes) -> Iterator[bytes]:
    """Decompresses `chunk` in parts of bounded size."""
    while chunk and not member.eof:
        yield member.decompress(chunk, _CHUNK)
        chunk = member.unconsumed_tail


class _Verdict(Exception):
    """Why a record isn't kept."""

    def __init__(self, reason: ReadReason, detail: str, *, failed: bool = False) -> None:
        self.reason = reason
        self.detail = detail
        self.failed = failed
        super().__init__(detail)


def _row(record: WarcRecord, content: bytes) -> dict[str, Any]:
    headers = record.headers
    meta = {
        "http.status": str(record.http_headers.status_code),
        "warc.date": headers.get("WARC-Date"),
        "warc.record_id": headers.get("WARC-Record-ID"),
        "warc.truncated": headers.get("WARC-Truncated"),
    }
    return {
        "text": "",
        "url": headers.get("WARC-Target-URI"),
        "record.content": content,
        "record.mime": _mime(record),
        "record.charset": record.http_charset,
        "meta": {key: value for key, value in meta.items() if value},
    }


def _mime(record: WarcRecord) -> str:
    return (record.http_content_type or "").partition(";")[0].strip().lower()


def _content(record: WarcRecord, limits: Limits) -> bytes:
    """The body of an HTML response, decoded; raises the verdict on any other record."""
    headers = record.headers
    if not headers.contains_key("Content-Length") or not headers.contains_key("WARC-Type"):
        raise _Verdict(ReadReason.MALFORMED_RECORD, "no Content-Length or no WARC-Type", failed=True)
    if record.record_type != WarcRecordType.response or not record.is_http:
        raise _Verdict(ReadReason.NOT_A_RESPONSE, headers.get("WARC-Type") or "")
    # Some archives end HTTP header lines with a bare line feed; reading both is no slower.
    record.parse_http(quirks_mode=True)
    if record.http_headers is None or record.http_headers.status_code is None:
        raise _Verdict(ReadReason.MALFORMED_RECORD, "no HTTP status line", failed=True)
    if record.http_headers.status_code != 200:
        raise _Verdict(ReadReason.STATUS_NOT_OK, f"{record.http_headers.status_code}, wanted 200")
    if _mime(record) not in HTML_TYPES:
        raise _Verdict(ReadReason.NOT_HTML, _mime(record) or "no media type")
    length, limit = record.content_length, limits.max_record_bytes
    if length > limit:
        raise _Verdict(ReadReason.TOO_LARGE, f"{length} bytes, at most {limit}", failed=True)
    content: bytes = record.reader.read(length)
    if len(content) < length:
        raise _Verdict(ReadReason.TRUNCATED, f"{len(content)} of {length} bytes", failed=True)
    return _decode_body(record, content, limit)


def _decode_body(record: WarcRecord, content: bytes, limit: int) -> bytes:
    """Undoes transfer and content encodings.

    Many archives store the decoded body under the original headers, so a body that isn't encoded as they say is
    taken as it is.
    """
    for header, readers in (("Transfer-Encoding", _TRANSFER), ("Content-Encoding", _ENCODINGS)):
        names = (record.http_headers.get(header) or "").lower().split(",")
        for name in reversed(names):
            reader = readers.get(name.strip())
            if reader is not None and content:
                content = _decoded(reader, content, limit)
    if not content:
        raise _Verdict(ReadReason.EMPTY, "no body")
    return content


def _decoded(reader: Any, content: bytes, limit: int) -> bytes:
    try:
        return _read_bounded(reader(io.BytesIO(content)), limit) or content
    except OSError:
        return content


def _read_bounded(reader: WarcReader, limit: int) -> bytes:
    parts, size = [], 0
    while part := reader.read(_CHUNK):
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
