"""Cuts an archive into its records, whatever its layout, from wherever it breaks on, and in ranges.

An archive is plain, or one gzip member for each record, or compressed as a whole. Where it breaks, one `Break` says so,
and reading goes on at the next record that can be found. A range of an archive holds the records that begin in it; to
find the first of them, reading starts `LOOKBACK` bytes before, so that what only looks like a record (an archive within
an archive) is passed by.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple, cast

from zlib_ng import zlib_ng as zlib

from tiers.l0_raw.batches import WHOLE, ReadReason, Span
from tiers.l0_raw.compression import BROKEN_STREAM, GZIP, decompressed, is_compressed, why_broken

LOOKBACK = 8 << 20
MAX_HEADER = 1 << 15
_NEWLINES = re.compile(rb"[\r\n]*")
_MEMBER = re.compile(rb"\x1f\x8b\x08")
_BROKEN = cast(type[Exception], zlib.error)
_BLOCK = 1 << 20
_PIECE = 1 << 14


class Head(NamedTuple):
    """The header of a record: how long it is, and how long it says that the content is, in bytes."""

    size: int
    length: int


@dataclass(frozen=True)
class Grammar:
    """How a kind of archive writes its records.

    Attributes:
        begins: Matches at a record's first byte.
        ends: Matches the end of a header.
        parse: The header that `data`, at most `MAX_HEADER` bytes, begins with; `None` if it begins with no whole one.
        likely: Where a header may begin, for a search; `parse` has the last word.
        overlap: The most bytes that a match of `likely` spans.
        terminator: What follows each record's content.
        unknown: The reason of a file that holds nothing of this kind.
    """

    begins: re.Pattern[bytes]
    ends: re.Pattern[bytes]
    parse: Callable[[bytes], Head | None]
    likely: Callable[[bytes | bytearray, int], int]
    overlap: int
    terminator: bytes
    unknown: ReadReason


class Record(NamedTuple):
    """A record.

    Attributes:
        place: Its offset, as in a CDX index: in the compressed file where each record is a member of its own, in the
            uncompressed one otherwise.
        data: Header and content; of content that is too large, only the beginning.
        head: The sizes of both.
    """

    place: int | str
    data: bytes
    head: Head


class Break(NamedTuple):
    """A place where no whole record is."""

    place: int | str
    reason: ReadReason
    detail: str


def records(stream: BinaryIO, grammar: Grammar, max_content: int, span: Span) -> Iterator[Record | Break]:
    """The records of an archive that begin in `span`, and its breaks.

    Args:
        stream: The archive, seekable.
        grammar: How its records are written.
        max_content: Bytes of a record's content that are read at most.
        span: In the file's bytes; anything but the whole only where `is_splittable`.
    """
    stream.seek(0)
    if not stream.read(1):
        yield Break(0, ReadReason.EMPTY_FILE, "the file has no bytes")
    elif _holds_members(stream, grammar):
        yield from _members(stream, grammar, max_content, span, max(span.start - LOOKBACK, 0))
    elif is_compressed(stream):
        yield from _split(_Window(decompressed(stream), 0), grammar, max_content, span, 0)
    else:
        start = max(span.start - LOOKBACK, 0)
        stream.seek(start)
        window = _Window(stream, start)
        first = _seek_record(window, grammar, start, span.end) if start else 0
        yield from _split(window, grammar, max_content, span, first)


def is_splittable(stream: BinaryIO, grammar: Grammar) -> bool:
    """Whether records can be found from the middle of the archive on."""
    return _holds_members(stream, grammar) or not is_compressed(stream)


def _holds_members(stream: BinaryIO, grammar: Grammar) -> bool:
    """Whether the archive is of gzip members that don't go on after their first record."""
    stream.seek(0)
    head = stream.read(1 << 16)
    if not head.startswith(GZIP):
        return False
    try:
        plain = zlib.decompressobj(31).decompress(head, 1 << 22)
    except _BROKEN:
        return True
    first = grammar.parse(plain[:MAX_HEADER])
    return first is None or not plain[first.size + first.length :].strip(b"\r\n")


def _members(stream: BinaryIO, grammar: Grammar, max_content: int, span: Span, start: int) -> Iterator[Record | Break]:
    blocks = _Blocks(stream)
    at = _next_member(blocks, grammar, start, span.end) if start else 0
    while at is not None and at < span.end and blocks.piece(at):
        member = _inflate(blocks, at, max_content + MAX_HEADER)
        if at >= span.start:
            yield from _of_member(at, member, grammar, max_content)
        at = member.end if member.is_sound(grammar) else _next_member(blocks, grammar, at + 1, span.end)


class _Member(NamedTuple):
    """A gzip member: the beginning of its plain bytes, whether that is all, where it ends, why it is broken."""

    data: bytes
    whole: bool
    end: int
    broken: tuple[ReadReason, str] | None = None

    def is_sound(self, grammar: Grammar) -> bool:
        """Whether another member may be expected behind it: it has nothing in it, or begins with a record."""
        start = self.data.lstrip(b"\r\n")
        return not self.broken and (not start or bool(grammar.begins.match(start)))


def _of_member(place: int, member: _Member, grammar: Grammar, max_content: int) -> Iterator[Record | Break]:
    """The records of a member; it should be one. Further ones have their place in it in their name."""
    if member.broken:
        yield Break(place, *member.broken)
        return
    head = grammar.parse(member.data[:MAX_HEADER])
    if head and (not member.whole or not member.data[head.size + head.length :].strip(b"\r\n")):
        if member.whole and len(member.data) < head.size + head.length:
            yield _short(place, len(member.data) - head.size, head)
        else:
            yield Record(place, member.data, head)
        return
    for found in _split(_Window(None, 0, member.data), grammar, max_content, WHOLE, 0):
        if place and isinstance(found, Break) and found.reason is grammar.unknown:
            found = found._replace(reason=ReadReason.MALFORMED_RECORD)
        yield found._replace(place=f"{place}+{found.place}" if found.place else place)


def _inflate(blocks: _Blocks, at: int, most: int) -> _Member:
    inflater = zlib.decompressobj(31)
    parts, size = [], 0
    while not inflater.eof:
        piece = blocks.piece(at)
        if not piece:
            return _Member(b"", False, at, (ReadReason.TRUNCATED, "the file breaks off within a member"))
        try:
            part = inflater.decompress(piece, _BLOCK)
        except _BROKEN as error:
            return _Member(b"", False, at, (ReadReason.BAD_COMPRESSION, str(error)))
        # At the end of a member `unconsumed_tail` still tells what it did before.
        at += len(piece) - len(inflater.unused_data if inflater.eof else inflater.unconsumed_tail)
        if size < most:
            parts.append(part)
        size += len(part)
    data = parts[0] if len(parts) == 1 else b"".join(parts)
    return _Member(data, len(data) == size, at)


def _next_member(blocks: _Blocks, grammar: Grammar, start: int, end: int) -> int | None:
    """Where the next member begins that holds a record, at or after `start` and before `end`."""
    for at in blocks.occurrences(_MEMBER, start):
        if at >= end:
            return None
        try:
            head = zlib.decompressobj(31).decompress(blocks.piece(at), MAX_HEADER)
        except _BROKEN:
            continue
        if grammar.begins.match(head):
            return at
    return None


class _Blocks:
    """Pieces of a stream from anywhere, read by blocks."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._base = 0
        self._block = b""

    def piece(self, at: int) -> memoryview:
        """Some bytes from `at` on; none at the end."""
        if not self._base <= at < self._base + len(self._block):
            self._stream.seek(at)
            self._base, self._block = at, self._stream.read(_BLOCK)
        inside = at - self._base
        return memoryview(self._block)[inside : inside + _PIECE]

    def occurrences(self, pattern: re.Pattern[bytes], start: int) -> Iterator[int]:
        """The offsets of matches of three bytes, from `start` on."""
        while self.piece(start):
            base, block = self._base, self._block
            for match in pattern.finditer(block, start - base):
                yield base + match.start()
            start = base + len(block)
            edge = block[-2:] + bytes(self.piece(start)[:2])
            for match in pattern.finditer(edge):
                yield start - 2 + match.start()


def _split(window: _Window, grammar: Grammar, max_content: int, span: Span, at: int | None) -> Iterator[Record | Break]:
    """The records of plain bytes that begin in `span`, from the one at `at` on."""
    while at is not None and (at := window.skip(at)) < span.end:
        window.drop(at)
        head = grammar.parse(window.bytes(at, at + MAX_HEADER))
        found: Record | Break | None
        if head is None:
            found = _no_record(window, grammar, at)
            after = _seek_record(window, grammar, at + 1, span.end) if found else None
        elif head.length > max_content:
            found = Record(at, window.bytes(at, at + head.size + max_content), head)
            after = _behind_large(window, grammar, at, head, max_content)
        else:
            end = at + head.size + head.length
            found = _fault(window, grammar, at, head)
            after = _seek_record(window, grammar, at + head.size, span.end) if found else end
            found = found or Record(at, window.bytes(at, end), head)
        if found and at >= span.start:
            yield found
        at = after


def _no_record(window: _Window, grammar: Grammar, at: int) -> Break | None:
    """What is wrong where no whole header is; nothing at the end of the bytes."""
    if not window.holds(at + 1):
        return Break(at, *window.broken) if window.broken else None
    if not at and not grammar.begins.match(window.bytes(0, 16)):
        return Break(0, grammar.unknown, "it begins otherwise")
    header = window.bytes(at, at + MAX_HEADER)
    if grammar.begins.match(header) and not grammar.ends.search(header) and not window.holds(at + MAX_HEADER):
        return Break(at, *(window.broken or (ReadReason.TRUNCATED, "the file breaks off")))
    return Break(at, ReadReason.MALFORMED_RECORD, "no record begins here, or it has no length")


def _fault(window: _Window, grammar: Grammar, at: int, head: Head) -> Break | None:
    """What is wrong with a record whose header is whole: it breaks off, or doesn't end where its header says."""
    end = at + head.size + head.length
    if not window.holds(end):
        if window.broken:
            return Break(at, *window.broken)
        return _short(at, window.end - at - head.size, head)
    follows = window.skip(end)
    if not window.holds(follows + 1) or grammar.parse(window.bytes(follows, follows + MAX_HEADER)):
        return None
    # A record that is followed by something else may be whole; but not if another one begins in it.
    terminated = window.bytes(end, end + len(grammar.terminator)) == grammar.terminator
    if terminated and _find(window, grammar, at + head.size, end) is None:
        return None
    return Break(at, ReadReason.MALFORMED_RECORD, f"it does not end after the {head.length} bytes that it declares")


def _short(place: int, got: int, head: Head) -> Break:
    return Break(place, ReadReason.TRUNCATED, f"{got} of {head.length} bytes")


def _behind_large(window: _Window, grammar: Grammar, at: int, head: Head, max_content: int) -> int | None:
    """Where to go on behind a record that is too large to be held: at its end, or where its length proves a lie."""
    end = at + head.size + head.length
    start: int | None = at + head.size
    while start is not None:
        start = _seek_record(window, grammar, start, end)
        if start is not None:
            inner = grammar.parse(window.bytes(start, start + MAX_HEADER))
            if inner and inner.length <= max_content and not _fault(window, grammar, start, inner):
                return start
            start += 1
    return end if window.holds(end) else None


def _find(window: _Window, grammar: Grammar, start: int, end: int) -> int | None:
    """Where, in what the window holds, a record with a whole header begins, at or after `start` and before `end`."""
    while (at := grammar.likely(window.data, start - window.base)) >= 0:
        start = at + window.base
        if start >= end:
            return None
        if grammar.parse(window.bytes(start, start + MAX_HEADER)):
            return start
        start += 1
    return None


def _seek_record(window: _Window, grammar: Grammar, start: int, end: int) -> int | None:
    """As `_find`, reading on; what lies before is let go of."""
    while start < end:
        found = _find(window, grammar, start, end)
        if found is not None:
            return found
        start = max(start, window.end - grammar.overlap)
        window.drop(start)
        if not window.grow():
            return None
    return None


class _Window:
    """The part of a stream that is being looked at.

    Attributes:
        data: The bytes.
        base: The offset of the first of them.
        broken: Why nothing follows, where that is not just the end.
    """

    def __init__(self, stream: BinaryIO | None, base: int, data: bytes = b"") -> None:
        # `read` would lose what a stream still had to give when it breaks.
        self._read = getattr(stream, "read1", stream.read) if stream else None
        self.data = bytearray(data)
        self.base = base
        self.broken: tuple[ReadReason, str] | None = None

    @property
    def end(self) -> int:
        """The offset behind the last byte."""
        return self.base + len(self.data)

    def grow(self) -> bool:
        """Reads on; tells whether there was more."""
        if self._read is None:
            return False
        try:
            more = self._read(1 << 16)
        except BROKEN_STREAM as error:
            self.broken = why_broken(error)
            more = b""
        if not more:
            self._read = None
        self.data += more
        return bool(more)

    def holds(self, end: int) -> bool:
        """Whether there are bytes up to `end`, having read them."""
        while self.end < end:
            if not self.grow():
                return False
        return True

    def bytes(self, start: int, end: int) -> bytes:
        """The bytes from `start` to `end`, or as many as there are."""
        self.holds(end)
        return bytes(memoryview(self.data)[start - self.base : end - self.base])

    def skip(self, at: int) -> int:
        """The offset behind the line breaks at `at`."""
        while True:
            at = self.base + _NEWLINES.match(self.data, at - self.base).end()  # type: ignore[union-attr]
            if at < self.end or not self.grow():
                return at

    def drop(self, start: int) -> None:
        """Lets go of what lies before `start`, once it is worth it."""
        if start - self.base > max(len(self.data) // 2, _BLOCK):
            del self.data[: start - self.base]
            self.base = start
