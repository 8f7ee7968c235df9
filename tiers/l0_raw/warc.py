"""The reader of web archives (WARC 1.0 and 1.1, ISO 28500), and of the texts (WET) that were made from them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from tiers.l0_raw.archives import Content, Verdict, read_archive
from tiers.l0_raw.batches import DEFAULT_LIMITS, DEFAULT_OPTIONS, WHOLE, Limits, ReadOptions, ReadReason, Span
from tiers.l0_raw.records import Grammar, Head
from tiers.l0_raw.responses import Headers, check_size, media_type, parse_headers, read_response
from tiers.stage import Outcome

_VERSION = re.compile(rb"WARC/\d\.\d{1,2}[ \t]*\r?\n")
_END = re.compile(rb"\n\r?\n")
_LENGTH = re.compile(rb"\n[Cc](?i:ontent-length)[ \t]*:[ \t]*(\d{1,18})[ \t]*\r?\n")
_META = {
    "warc-date": "warc.date",
    "warc-record-id": "warc.record_id",
    "warc-identified-content-language": "warc.language",
    "warc-truncated": "truncated",
}


def read_warc(
    stream: BinaryIO,
    uri: str,
    limits: Limits = DEFAULT_LIMITS,
    options: ReadOptions = DEFAULT_OPTIONS,
    span: Span = WHOLE,
) -> Iterator[Outcome]:
    """Reads a WARC file: plain, with one gzip member for each record, or compressed as a whole.

    Each record is one row. Responses of the wanted status and media type are kept; of HTML, `record.content` holds the
    bytes, and the text is empty. The text of a WET file's `conversion` records is kept as it is. A record's source is
    its byte offset, as in a CDX index: in the compressed file where each record is a member of its own, in the
    uncompressed one otherwise. Where a file breaks, one row fails; what came before it is kept, and reading goes on at
    the next record that can be found (not within a broken gzip member).

    Args:
        stream: The file, seekable.
        uri: Its stable name.
        limits: Bounds on memory.
        options: Which responses to keep.
        span: The range of the file whose records are read; see `tiers.l0_raw.records`.
    """
    return read_archive(stream, uri, WARC, lambda header, content: _row(header, content, limits, options), limits, span)


def _parse(data: bytes) -> Head | None:
    end = _END.search(data)
    # A header that breaks off runs into the next record's, whose version stands within it then.
    if not end or not _VERSION.match(data) or _VERSION.search(data, 1, end.end()):
        return None
    length = _LENGTH.search(data, 0, end.end())
    return Head(end.end(), int(length[1])) if length else None


def _likely(data: bytes | bytearray, start: int) -> int:
    found = _VERSION.search(data, start)
    return found.start() if found else -1


WARC = Grammar(
    begins=re.compile(rb"WARC/"),
    ends=_END,
    parse=_parse,
    likely=_likely,
    overlap=16,
    terminator=b"\r\n\r\n",
    unknown=ReadReason.NOT_A_WARC,
)


def _row(header: bytes, content: Content, limits: Limits, options: ReadOptions) -> dict[str, Any]:
    headers = parse_headers(header)
    kind, mime = headers.first("warc-type").lower(), media_type(headers)
    if not kind:
        raise Verdict(ReadReason.MALFORMED_RECORD, "no WARC-Type", failed=True)
    if kind == "revisit":
        raise Verdict(ReadReason.REVISIT, f"of {headers.first('warc-refers-to-target-uri') or 'what is not named'}")
    if kind == "conversion":
        row = _converted(content, mime, limits)
    elif kind == "response" and mime == "application/http":
        row = read_response(content, options, limits)
    else:
        raise Verdict(ReadReason.NOT_A_RESPONSE, f"{kind} of {mime or 'no media type'}")
    return {**row, "url": _target(headers), "meta": {**row["meta"], **_meta(headers)}}


def _converted(content: Content, mime: str, limits: Limits) -> dict[str, Any]:
    """The row of text that was extracted when the archive was made; the format has it in UTF-8."""
    if mime != "text/plain":
        raise Verdict(ReadReason.MIME_NOT_WANTED, f"a conversion to {mime or 'no media type'}, wanted text/plain")
    check_size(content.length, limits)
    try:
        text = str(content.data, "utf-8")
    except UnicodeDecodeError as error:
        raise Verdict(ReadReason.INVALID_UTF8, f"byte {error.start}: {error.reason}", failed=True) from None
    if not text.strip():
        raise Verdict(ReadReason.EMPTY, "only white space")
    return {"text": text, "record.content": b"", "record.mime": mime, "record.charset": "utf-8", "meta": {}}


def _target(headers: Headers) -> str | None:
    """The URL that was asked for; WARC 1.0 shows it in angle brackets, which some writers take at their word."""
    url = headers.first("warc-target-uri")
    return url.removeprefix("<").removesuffix(">") or None


def _meta(headers: Headers) -> dict[str, str]:
    return {key: value for name, key in _META.items() if (value := headers.first(name))}
