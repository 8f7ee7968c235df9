"""Tables of a page as tables of Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tiers.l0_raw.html.flat import BREAK, HEADINGS, INLINE, OPEN, FlatPage, Tag, attribute, plain

_NOT_IN_DATA = HEADINGS | frozenset("article blockquote dl form li ol pre section table ul".split())
_MAX_CELL = 1000
_MAX_LINES = 3
"""A cell with more lines or paragraphs is text of the page rather than a datum."""
_MAX_SPAN = 50


def read_table(page: FlatPage, first: int, last: int, skipped: dict[int, int]) -> list[str] | None:
    """The lines of a table of data; `None` where it only lays out a page or has no two rows and columns.

    Args:
        page: The page.
        first: The piece of the table's start tag.
        last: The piece of its end tag.
        skipped: Start and end pieces of elements to leave out.
    """
    caption: list[str] = []
    rows: list[list[list[str]]] = []
    parts, lines = caption, 0
    for tag, source, text in _tags(page, first + 1, last, skipped):
        if tag.kind == OPEN:
            if tag.name in _NOT_IN_DATA:
                return None
            if tag.name == "tr":
                rows.append([])
            elif tag.name in ("td", "th") and rows:
                parts, lines = [], 0
                rows[-1] += [parts, *([] for _ in range(_span(source) - 1))]
        if tag.kind >= BREAK:
            parts.append(" ")
            lines += tag.kind == BREAK or (tag.kind == OPEN and tag.name == "p")
            if lines > _MAX_LINES:
                return None
        parts.append(text)
    return _markdown(_cell(caption), [[_cell(cell) for cell in row] for row in rows])


def _tags(page: FlatPage, first: int, last: int, skipped: dict[int, int]) -> Iterator[tuple[Tag, str, str]]:
    """Each tag, as known and as written, with the text behind it."""
    at = first
    while at < last:
        source, _, text = page.pieces[at].partition(">")
        tag = page.tags[source]
        if at in skipped:
            at = skipped[at]
            text = page.pieces[at].partition(">")[2]
            tag = Tag(INLINE, tag.name)
        yield tag, source, text
        at += 1


def _span(source: str) -> int:
    span = attribute(source, "colspan") if "colspan" in source else ""
    return min(int(span), _MAX_SPAN) if re.fullmatch(r"[1-9]\d{0,3}", span) else 1


def _cell(parts: list[str]) -> str:
    return plain(parts).replace("|", "\\|")


def _markdown(caption: str, rows: list[list[str]]) -> list[str] | None:
    rows = [row for row in rows if any(row)]
    width = max(map(len, rows), default=0)
    used = [column for column in range(width) if any(len(row) > column and row[column] for row in rows)]
    if len(rows) < 2 or len(used) < 2 or any(len(cell) > _MAX_CELL for row in rows for cell in row):
        return None
    lines = ["| " + " | ".join(row[column] if column < len(row) else "" for column in used) + " |" for row in rows]
    lines.insert(1, "|" + " --- |" * len(used))
    return [caption, "", *lines] if caption else lines
