"""The reader of ARC files (versions 1 and 2), which the Internet Archive wrote before WARC.

A record is a line of fields between blanks, the content, and a line break. Version 1 has URL, IP address, date, media
type and length; version 2 has five more before the length.
Format: https://archive.org/web/researcher/ArcFileFormat.php (Burner and Kahle, 1996)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from tiers.l0_raw.archives import Content, Verdict, read_archive
from tiers.l0_raw.batches import DEFAULT_LIMITS, DEFAULT_OPTIONS, WHOLE, Limits, ReadOptions, ReadReason, Span
from tiers.l0_raw.records import Grammar, Head
from tiers.l0_raw.responses import read_response
from tiers.stage import Outcome

_MAX_LINE = 1 << 12
_SCHEMES = rb"(?:https?|s?ftp|dns|filedesc|gopher|metadata|mms|news|nntp|rtsp|screenshot|warcinfo|whois)"
# Some URLs have blanks in them; the date has not.
_LINE = re.compile(rb"(%s:[^\n]*?) (\S*) (\d{14}) ([^\n]*?) ?(\d{1,18})[ \t]*\r?\n" % _SCHEMES)
_DATE = re.compile(rb" \d{14} ")
_WEB = re.compile(rb"https?://")
_SCHEME = re.compile(rb"%s:\S" % _SCHEMES)


def read_arc(
    stream: BinaryIO,
    uri: str,
    limits: Limits = DEFAULT_LIMITS,
    options: ReadOptions = DEFAULT_OPTIONS,
    span: Span = WHOLE,
) -> Iterator[Outcome]:
    """Reads an ARC file: plain, with one gzip member for each record, or compressed as a whole.

    Rows, sources, breaks and ranges are those of `read_warc`; the record that describes the file, and those of name
    servers, are no responses.
    """
    return read_archive(stream, uri, ARC, lambda line, content: _row(line, content, limits, options), limits, span)


def _parse(data: bytes) -> Head | None:
    line = _LINE.match(data, 0, _MAX_LINE)
    return Head(line.end(), int(line[5])) if line and not _runs_on(line) else None


def _runs_on(line: re.Match[bytes]) -> bool:
    """Whether a line is the beginning of one and the next record's line: it has two dates, or a URL behind a blank."""
    url = line[1]
    start = url.find(b" ") if url.startswith(b"http") else 0
    return bool(_DATE.search(b" %s " % line[4]) or (start >= 0 and _WEB.search(url, start)))


def _likely(data: bytes | bytearray, start: int) -> int:
    for date in _DATE.finditer(data, start):
        first = max(data.rfind(b"\n", start, date.start()) + 1, date.start() - _MAX_LINE, start)
        schemes = list(_SCHEME.finditer(data, first, date.start()))
        if schemes:
            return schemes[-1].start()
    return -1


ARC = Grammar(
    begins=re.compile(rb"%s:" % _SCHEMES),
    ends=re.compile(rb"\n"),
    parse=_parse,
    likely=_likely,
    overlap=_MAX_LINE + 64,
    terminator=b"\n",
    unknown=ReadReason.NOT_AN_ARC,
)


def _row(line: bytes, content: Content, limits: Limits, options: ReadOptions) -> dict[str, Any]:
    fields = _LINE.match(line)
    assert fields is not None, "the grammar has parsed it"
    url = fields[1].decode("utf-8", "replace")
    scheme = url.partition(":")[0].lower()
    if scheme not in ("http", "https"):
        raise Verdict(ReadReason.NOT_A_RESPONSE, f"{scheme} of {fields[4].decode('latin-1') or 'no media type'}")
    row = read_response(content, options, limits)
    date = fields[3].decode()
    stamp = f"{date[:4]}-{date[4:6]}-{date[6:8]}T{date[8:10]}:{date[10:12]}:{date[12:]}Z"
    return {**row, "url": url, "meta": {**row["meta"], "arc.date": stamp}}
