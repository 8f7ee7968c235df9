"""What becomes of an archived HTTP response: a row with its bytes or its text, or a reason against it."""

from __future__ import annotations

import io
import re
from typing import Any

from fastwarc.stream_io import BrotliReader, ChunkedReader, GzipReader, WarcReader, ZstdReader

from tiers.l0_raw.archives import Content, Verdict
from tiers.l0_raw.batches import Limits, ReadOptions, ReadReason
from tiers.l0_raw.html import Refused, decode
from tiers.l0_raw.page_notes import license_of_link

HTML_TYPES = frozenset({"text/html", "application/xhtml+xml"})
REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TEXT_TYPE = re.compile(r"text/|application/(json|xml|javascript|x-tex|x-ndjson|yaml)$|.*\+(json|xml)$")
_STATUS = re.compile(rb"HTTP/\d+(?:\.\d+)? +(\d{3})(?!\d)")
_HEADER_END = re.compile(rb"\n\r?\n")
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([^\s\"';,]+)", re.IGNORECASE)
_COUNT = re.compile(r"[0-9]{1,18}")
_MAX_HTTP_HEADER = 1 << 16


class Headers(dict[str, list[str]]):
    """The values of each field of a header, by its name in lower case."""

    def first(self, name: str) -> str:
        """The first value of a field; empty if there is none."""
        values = self.get(name)
        return values[0] if values else ""

    def joined(self, name: str) -> str:
        """All values of a field that is a list."""
        return ", ".join(self.get(name, ()))


def parse_headers(block: bytes, encoding: str = "utf-8") -> Headers:
    """The fields of a header, that of WARC or HTTP, behind its first line; its lines may end without a return."""
    headers = Headers()
    values: list[str] = []
    for line in block.decode(encoding, "replace").split("\n")[1:]:
        name, colon, value = line.partition(":")
        if line[:1] in (" ", "\t") and values:
            values[-1] = f"{values[-1]} {line.strip()}".rstrip()
        elif colon:
            values = headers.setdefault(name.strip().lower(), [])
            values.append(value.strip())
    return headers


def read_response(content: Content, options: ReadOptions, limits: Limits) -> dict[str, Any]:
    """The row of a response that is wanted: an HTML page's bytes, or another type's text.

    Its `meta` holds `http.status`, `http.robots` where the server sent `X-Robots-Tag`, and `truncated` where the body
    is shorter than declared; a licence that a `Link` header names becomes a column.

    Raises:
        Verdict: it is not wanted, or broken.
    """
    status = _STATUS.match(content.data)
    if not status:
        raise Verdict(ReadReason.MALFORMED_RECORD, "no HTTP status line", failed=True)
    end = _HEADER_END.search(content.data, 0, _MAX_HTTP_HEADER)
    size = end.end() if end else min(len(content.data), _MAX_HTTP_HEADER)
    http = parse_headers(bytes(content.data[:size]), "latin-1")
    mime = media_type(http)
    _check_wanted(int(status[1]), mime, http, options)
    length = content.length - size
    check_size(length, limits)
    body = _decode_body(http, content.data[size:], limits.max_record_bytes)
    charset = _CHARSET.search(http.first("content-type"))
    row = content_row(body, mime, charset[1] if charset else None)
    meta = {
        "http.status": str(int(status[1])),
        "http.robots": http.joined("x-robots-tag"),
        "truncated": _missing_bytes(http, length),
    }
    row["meta"] = {key: value for key, value in meta.items() if value}
    row["license"] = license_of_link(http.joined("link"))
    return row


def media_type(headers: Headers) -> str:
    """The media type that a header declares, without parameters; empty if none."""
    return headers.first("content-type").partition(";")[0].strip().lower()


def _check_wanted(status: int, mime: str, http: Headers, options: ReadOptions) -> None:
    if status not in options.status:
        if status in REDIRECTS:
            raise Verdict(ReadReason.REDIRECT, f"{status} to {http.first('location') or 'nowhere'}")
        raise Verdict(ReadReason.STATUS_NOT_OK, f"{status}, wanted {' or '.join(map(str, options.status))}")
    if mime not in options.mime and f"{mime.partition('/')[0]}/*" not in options.mime:
        raise Verdict(ReadReason.MIME_NOT_WANTED, mime or "no media type")
    if mime not in HTML_TYPES and not _TEXT_TYPE.match(mime):
        raise Verdict(ReadReason.NOT_TEXT, mime)


def check_size(length: int, limits: Limits) -> None:
    """Refuses content that is too large.

    Raises:
        Verdict: with both sizes.
    """
    if length > limits.max_record_bytes:
        raise Verdict(ReadReason.TOO_LARGE, f"{length} bytes, at most {limits.max_record_bytes}", failed=True)


def content_row(body: bytes | memoryview, mime: str, charset: str | None) -> dict[str, Any]:
    """The row of a body: of HTML its bytes, of anything else its text.

    Raises:
        Verdict: the body is empty, or is no text.
    """
    if not body:
        raise Verdict(ReadReason.EMPTY, "no body")
    if mime in HTML_TYPES:
        return {"text": "", "record.content": body, "record.mime": mime, "record.charset": charset}
    try:
        text = decode(bytes(body), charset)
    except Refused as refused:
        raise Verdict(ReadReason.UNDECODABLE, refused.detail, failed=True) from None
    if not text.strip():
        raise Verdict(ReadReason.EMPTY, "only white space")
    return {"text": text, "record.content": b"", "record.mime": mime, "record.charset": charset}


def _missing_bytes(http: Headers, length: int) -> str | None:
    """How a body falls short of what its HTTP header declares, where that can be told."""
    declared = http.first("content-length")
    if "content-encoding" in http or "transfer-encoding" in http or not _COUNT.fullmatch(declared):
        return None
    return f"{length} of {declared} bytes" if length < int(declared) else None


def _decode_body(http: Headers, content: bytes | memoryview, limit: int) -> bytes | memoryview:
    """Undoes transfer and content encodings.

    Many archives store the decoded body under the original headers, so a body that isn't encoded as they say is
    taken as it is.
    """
    for header, readers in (("transfer-encoding", _TRANSFER), ("content-encoding", _ENCODINGS)):
        for name in reversed(http.joined(header).lower().split(",") if header in http else ()):
            reader = readers.get(name.strip())
            if reader is not None and content:
                content = _decoded(reader, content, limit)
    return content


def _decoded(reader: Any, content: bytes | memoryview, limit: int) -> bytes | memoryview:
    try:
        return _read_bounded(reader(io.BytesIO(content)), limit) or content
    except OSError:
        return content


def _read_bounded(reader: WarcReader, limit: int) -> bytes:
    parts, size = [], 0
    while part := reader.read(1 << 16):
        parts.append(part)
        size += len(part)
        if size > limit:
            raise Verdict(ReadReason.TOO_LARGE, f"more than {limit} bytes when decoded", failed=True)
    return b"".join(parts)


_TRANSFER: dict[str, Any] = {"chunked": ChunkedReader}
_ENCODINGS: dict[str, Any] = {
    "gzip": GzipReader,
    "x-gzip": GzipReader,
    "deflate": lambda stream: GzipReader(stream, zlib=True),
    "br": BrotliReader,
    "zstd": ZstdReader,
}
