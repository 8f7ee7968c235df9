"""Tables of a page as tables of Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tiers.l0_raw.html.flat import FlatPage
from tiers.l0_raw.html.serialised import attribute, plain
from tiers.l0_raw.kernels.flattening import BREAK, INLINE, OPEN, PARTNER, TEXT
from tiers.l0_raw.kernels.tags import HEADINGS, NAMES

_NOT_IN_DATA = frozenset((*HEADINGS, *"article blockquote dl form li ol pre section table ul".split()))
_MAX_CELL = 1000
_MAX_LINES = 3
"""A cell with more lines or paragraphs is text of the page rather than a datum."""
_MAX_SPAN = 50


def read_table(page: FlatPage, tags: list[list[int]], left_out: list[bool]) -> list[str] | None:
    """The lines of a table of data; `None` where it only lays out a page or has no two rows and columns.

    Args:
        page: The page.
        tags: The rows of its tags from the start tag of the table to the end tag.
        left_out: Which block elements of the page to leave out.
    """
    caption: list[str] = []
    rows: list[list[list[str]]] = []
    parts, lines = caption, 0
    for kind, name, source, text in _shown(page, tags, left_out):
        if kind == OPEN:
            if name in _NOT_IN_DATA:
                return None
            if name == "tr":
                rows.append([])
            elif name in ("td", "th") and rows:
                parts, lines = [], 0
                rows[-1] += [parts, *([] for _ in range(_span(page.source(source)) - 1))]
        if kind >= BREAK:
            parts.append(" ")
            lines += kind == BREAK or (kind == OPEN and name == "p")
            if lines > _MAX_LINES:
                return None
        parts.append(text)
    return _markdown(_cell(caption), [[_cell(cell) for cell in row] for row in rows])


def _shown(page: FlatPage, tags: list[list[int]], left_out: list[bool]) -> Iterator[tuple[int, str, int, str]]:
    """Kind, name and place of each tag within the table, with the text behind it."""
    at, first = 1, tags[0][PARTNER] - len(tags) + 1
    while at < len(tags) - 1:
        kind, name, element, partner, source, _ = tags[at]
        if kind == OPEN and left_out[element]:
            kind, at = INLINE, partner - first
        yield kind, NAMES[name], source, page.words(tags[at][TEXT], tags[at + 1][TEXT])
        at += 1


def _span(source: str) -> int:
    span = attribute(source, "colspan")
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
