"""What no edit program may touch in a text: code, tables and formulas."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby

_FENCE = re.compile(r" {0,3}(`{3,}(?=[^`]*$)|~{3,})")
_INDENTED = re.compile(r"(?: {4,}|\t)\s*(?![-*+•‣◦–]\s|\d{1,3}[.)]\s)\S")
_TABLE_ROW = re.compile(r"\s*\|.*\|\s*$")
_DISPLAY = re.compile(
    r"(?<![\\$])\$\$(?!\$)(?:\\[\s\S]|[^\\$]|\$(?!\$))++\$\$"
    r"|^[ \t]*\\\[(?:(?!\\[\[\]])[\s\S])++\\\][ \t]*[.,;]?[ \t]*$",
    re.MULTILINE,
)
_INLINE = re.compile(r"(?<![\\$])\$(?![\s$])(?:\\.|[^\\$])++(?<!\s)\$(?![\d$])|\\\((?:(?!\\[()]).)++\\\)")

Span = tuple[int, int]
"""Where something stands in a line: its first character and the one behind its last."""


@dataclass(frozen=True)
class Protected:
    """What is protected in a text.

    Attributes:
        lines: The numbers of the lines that are protected as a whole.
        spans: For each other line with a formula in it, by number, where its formulas stand.
    """

    lines: frozenset[int]
    spans: Mapping[int, tuple[Span, ...]]

    def around(self, first: int, last: int) -> Protected:
        """What is protected from line `first` to line `last` and directly beside them; `first` becomes 1."""
        near = range(first - 1, last + 2)
        return Protected(
            frozenset(number - first + 1 for number in near if number in self.lines),
            {number - first + 1: self.spans[number] for number in near if number in self.spans},
        )


def find_protected(text: str) -> Protected:
    """Finds what no program may touch.

    Code is what stands in a fence (CommonMark 4.5; one that is never closed runs to the end; behind one of backticks
    stands no other) or is indented by four spaces or a tab (4.4) without being an item of a nested list; blank lines
    within an indented block belong to it.
    A table is a run of rows between pipes.

    A display formula stands between `$$` or, on lines of its own, between `\\[` and `\\]`, without a blank line in it.
    It protects its lines, unless it stands on one line with other text. There, and for formulas between `\\(` and
    `\\)` or single dollars, the formula alone is protected, and the line may be removed. Of dollars, the first has no
    space behind it, and the last none before it and no digit behind it, so that prices are none (Pandoc's manual,
    tex_math_dollars).
    """
    lines = text.split("\n")
    code, fenced = _code_and_tables(lines)
    spans: dict[int, list[Span]] = {}
    if "$" in text or "\\(" in text or "\\[" in text:
        for first, run in _paragraphs(lines, fenced):
            code |= _display_lines(first, run, spans)
        for number, line in enumerate(lines, 1):
            if number not in code:
                spans.setdefault(number, []).extend(match.span() for match in _INLINE.finditer(line))
    return Protected(frozenset(code), {n: tuple(found) for n, found in spans.items() if found and n not in code})


def protected_lines(text: str) -> frozenset[int]:
    """The numbers of the lines that no program may touch."""
    return find_protected(text).lines


def opens_fence(line: str) -> bool:
    """Whether `line` would open or close a block of code."""
    return _FENCE.match(line) is not None


def _code_and_tables(lines: Sequence[str]) -> tuple[set[int], set[int]]:
    """The numbers of lines of code and tables, and those within fences among them."""
    protected: set[int] = set()
    fenced: set[int] = set()
    fence, indented = "", 0
    for number, line in enumerate(lines, 1):
        mark = _FENCE.match(line)
        if fence:
            fenced.add(number)
            if mark and mark[1].startswith(fence) and not line[mark.end() :].strip():
                fence = ""
        elif mark:
            fenced.add(number)
            fence, indented = mark[1], 0
        elif _INDENTED.match(line):
            protected.update(range(indented or number, number + 1))
            indented = number
        elif _TABLE_ROW.match(line):
            protected.add(number)
        if not fence and line.strip() and indented != number:
            indented = 0
    return protected | fenced, fenced


def _paragraphs(lines: Sequence[str], fenced: set[int]) -> Iterator[tuple[int, list[str]]]:
    """Runs of lines that are neither blank nor fenced, each behind the number of its first."""
    numbered = enumerate(lines, 1)
    for inside, run in groupby(numbered, key=lambda pair: bool(pair[1].strip()) and pair[0] not in fenced):
        if inside:
            pairs = list(run)
            yield pairs[0][0], [line for _, line in pairs]


def _display_lines(first: int, run: Sequence[str], spans: dict[int, list[Span]]) -> set[int]:
    """The lines that the display formulas of a paragraph protect; one beside other text is added to `spans`."""
    starts = [0, *accumulate(len(line) + 1 for line in run)]
    protected: set[int] = set()
    for match in _DISPLAY.finditer("\n".join(run)):
        top, bottom = (bisect_right(starts, at) - 1 for at in (match.start(), match.end() - 1))
        if top == bottom and match[0].strip() != run[top].strip():
            spans.setdefault(first + top, []).append((match.start() - starts[top], match.end() - starts[top]))
        else:
            protected.update(range(first + top, first + bottom + 1))
    return protected
