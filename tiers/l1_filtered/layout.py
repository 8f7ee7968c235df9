"""Which lines of a text are prose, and which are code or tables, whose white space and short lines mean something.

The forms are those that plain text and extracted pages carry: fenced and indented code as in CommonMark 0.31 (sections
4.4 and 4.5), Markdown and reStructuredText tables, columns set with spaces or tabs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum, auto


class Layout(Enum):
    """What a line is part of."""

    PROSE = auto()
    FENCED = auto()
    INDENTED = auto()
    TABLE = auto()


# Three tildes exactly: reStructuredText underlines titles with longer rows of them.
_FENCE = re.compile(r"[ \t]*(`{3,}|~{3}(?!~))([^`]*)$")
_CODE = re.compile(r"(?: {4}| {0,3}\t)[ \t]*[^ \t]")
_LIST_ITEM = re.compile(r"[ \t]+(?:[-*+•◦▪‣·–]|\d{1,3}[.)])[ \t]")
_RULE = re.compile(r"[ \t]*[|+:=-][|+:=\- \t]*$")
GAP = re.compile(r"(?<=[^ \t])(?: ?\t|  )[ \t]*(?=[^ \t])")
"""White space within a line that is more than one space."""


def line_layouts(text: str) -> list[Layout]:
    """The layout of each line between line feeds; a fence that isn't closed reaches to the end, as in CommonMark."""
    lines = text.split("\n")
    layouts = [Layout.PROSE] * len(lines)
    if "```" in text or "~~~" in text:
        _mark_fenced(lines, layouts)
    if "    " in text or "\t" in text:
        _mark_indented(lines, layouts)
    if any(sign in text for sign in ("|", "+-", "+=", "=  ", "-  ")):
        _mark_ruled_tables(lines, layouts)
    if "  " in text or "\t" in text:
        _mark_columns(lines, layouts)
    return layouts


def _mark_fenced(lines: Sequence[str], layouts: list[Layout]) -> None:
    opened = ""
    for number, line in enumerate(lines):
        fence = _FENCE.match(line) if "```" in line or "~~~" in line else None
        if opened:
            layouts[number] = Layout.FENCED
            if fence and fence[1].startswith(opened) and not fence[2].strip():
                opened = ""
        elif fence:
            opened = fence[1]
            layouts[number] = Layout.FENCED


def _mark_indented(lines: Sequence[str], layouts: list[Layout]) -> None:
    for number, line in enumerate(lines):
        if line[:1] in " \t" and layouts[number] is Layout.PROSE and _CODE.match(line) and not _LIST_ITEM.match(line):
            layouts[number] = Layout.INDENTED


def _mark_ruled_tables(lines: Sequence[str], layouts: list[Layout]) -> None:
    """Rows between bars, and all rows of a block with a rule such as `---|---` or `===  ===` in it."""
    block: list[int] = []
    ruled = False
    for number in range(len(lines) + 1):
        line = lines[number].strip() if number < len(lines) else ""
        rule = len(line) > 2 and _RULE.match(line) is not None and ("|" in line or "+" in line or "  " in line)
        if line and layouts[number] is Layout.PROSE and (rule or "|" in line or (ruled and "  " in line)):
            block.append(number)
            ruled = ruled or rule or (line[0] == line[-1] == "|" and len(line) > 1)
            continue
        if ruled:
            for row in block:
                layouts[row] = Layout.TABLE
        block, ruled = [], False


def _mark_columns(lines: Sequence[str], layouts: list[Layout]) -> None:
    """Neighbouring lines that both have tabs, or words that begin in the same column after two spaces or more."""
    before: set[int] = set()
    for number, line in enumerate(lines):
        columns: set[int] = set()
        body = line.strip(" \t")
        if ("  " in body or "\t" in body) and layouts[number] in (Layout.PROSE, Layout.TABLE):
            columns = {-1 if "\t" in gap.group() else gap.end() for gap in GAP.finditer(line)}
            if columns & before:
                layouts[number - 1] = layouts[number] = Layout.TABLE
        before = columns
