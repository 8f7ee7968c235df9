"""What becomes of an archived HTTP response: a row with its bytes or its text, or a reason against it."""

from __future__ import annotations

import io
import re
from typing import Any

from fastwarc.stream_io import BrotliReader, ChunkedReader, GzipReader, WarcReader, ZstdReader
from fastwarc.warc import HeaderMap

from tiers.l0_raw.archives import Content, Verdict
from tiers.l0_raw.batches import Limits, ReadOptions, ReadReason
from tiers.l0_raw.html import Refused, decode
from tiers.l0_raw.page_notes import license_of_link

HTML_TYPES = frozenset({"text/html", "application/xhtml+xml"})
REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TEXT_TYPE = re.compile(r"text/|application/(json|xml|javascript|x-tex|x-ndjson|yaml)$|.*\+(json|xml)$")
_STATUS = re.compile(rb"HTTP/\d+(?:\.\d+)? +(\d{3})(?!\d)")
_HEADER_END = re.compile(rb"\r?\n\r?\n")
_BARE_NEWLINE = re.compile(rb"(?<!\r)\n")
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([^\s\"';,]+)", re.IGNORECASE)
_MAX_HTTP_HEADER = 1 << 16


def parse_headers(block: bytes, encoding: str = "utf-8") -> HeaderMap:
    """The fields of a header, that of WARC or HTTP, behind its first line; its lines may end without a return."""
    headers = HeaderMap(encoding)
    headers.parse(io.BytesIO(_BARE_NEWLINE.sub(b"\r\n", block)))
    return headers


def read_response(content: Content, options: ReadOptions, limits: Limits) -> dict[str, Any]:
    """The row of a response that is wanted: an HTML page's bytes, or another type's text.

    Its `meta` holds `http.status`, `http.robots` where the server sent `X-Robots-Tag`, and `truncated` where the body is
    shorter than declared; a licence that a `Link` header names becomes a column.

    Raises:
        Verdict: it is not wanted, or broken.
    """
    status = _STATUS.match(content.data)
    if not status:
        raise Verdict(ReadReason.MALFORMED_RECORD, "no HTTP status line", failed=True)
    end = _HEADER_END.search(content.data, 0, _MAX_HTTP_HEADER)
    size = end.end() if end else min(len(content.data), _MAX_HTTP_HEADER)
    http = parse_headers(content.data[:size], "latin1")
    mime = (http.get("Content-Type") or "").partition(";")[0].strip().lower()
    _check_wanted(int(status[1]), mime, http, options)
    length = content.length - size
    check_size(length, limits)
    body = _decode_body(http, content.data[size:], limits.max_record_bytes)
    charset = _CHARSET.search(http.get("Content-Type") or "")
    row = content_row(body, mime, charset[1] if charset else None)
    meta = {
        "http.status": str(int(status[1])),
        "http.robots": ", ".join(value.strip() for value in http.get_multiple("X-Robots-Tag")),
        "truncated": _missing_bytes(http, length),
    }
    row["meta"] = {key: value for key, value in meta.items() if value}
    row["license"] = license_of_link(", ".join(http.get_multiple("Link")))
    return row


def _check_wanted(status: int, mime: str, http: HeaderMap, options: ReadOptions) -> None:
    if status not in options.status:
        if status in REDIRECTS:
            raise Verdict(ReadReason.REDIRECT, f"{status} to {http.get('Location') or 'nowhere'}")
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


def content_row(body: bytes, mime: str, charset: str | None) -> dict[str, Any]:
    """The row of a body: of HTML its bytes, of anything else its text.

    Raises:
        Verdict: the body is empty, or is no text.
    """
    if not body:
        raise Verdict(ReadReason.EMPTY, "no body")
    if mime in HTML_TYPES:
        return {"text": "", "record.content": body, "record.mime": mime, "record.charset": charset}
    try:
        text = decode(body, charset)
    except Refused as refused:
        raise Verdict(ReadReason.UNDECODABLE, refused.detail, failed=True) from None
    if not text.strip():
        raise Verdict(ReadReason.EMPTY, "only white space")
    return {"text": text, "record.content": b"", "record.mime": mime, "record.charset": charset}


def _missing_bytes(http: HeaderMap, length: int) -> str | None:
    """How a body falls short of what its HTTP header declares, where that can be told."""
    declared = http.get("Content-Length") or ""
    encoded = http.contains_key("Content-Encoding") or http.contains_key("Transfer-Encoding")
    if encoded or not declared.isascii() or not declared.isdigit() or int(declared) <= length:
        return None
    return f"{length} of {declared} bytes"


def _decode_body(http: HeaderMap, content: bytes, limit: int) -> bytes:
    """Undoes transfer and content encodings.

    Many archives store the decoded body under the original headers, so a body that isn't encoded as they say is
    taken as it is.
    """
    for header, readers in (("Transfer-Encoding", _TRANSFER), ("Content-Encoding", _ENCODINGS)):
        names = (http.get(header) or "").lower().split(",")
        for name in reversed(names):
            reader = readers.get(name.strip())
            if reader is not None and content:
                content = _decoded(reader, content, limit)
    return content


def _decoded(reader: Any, content: bytes, limit: int) -> bytes:
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
