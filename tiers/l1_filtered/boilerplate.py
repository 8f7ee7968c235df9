"""The stage that takes out lines which belong to the page and not to its text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Annotated, ClassVar

import pyarrow as pa
from pydantic import Field

from tiers.document import DOCUMENT, add_column
from tiers.l1_filtered.boilerplate_lines import Mark, length, mark_line, patterns_for
from tiers.l1_filtered.boilerplate_patterns import Reason
from tiers.l1_filtered.layout import Layout, line_layouts
from tiers.stage import Context, Outcome, Stage, decide_rows, fates


class Boilerplate(Stage):
    """Takes out menus, buttons, page numbers, cookie notices, share bars, copyright lines, breadcrumbs, times of lists.

    Lines are judged one by one, as in the L1 cleaner of UltraData-Math (arXiv:2602.09003), in English, German, French,
    Spanish, Russian, Chinese and Japanese. What might be a heading, such as "Search", goes only beside another such
    line. Lines of code and tables stay, and so do blank lines between paragraphs. Each rule's count is noted.

    Attributes:
        min_left: Share of a document's characters, white space not counted, that must be left; a document of which
            less is left is dropped. Characters measure every script alike.
    """

    name: ClassVar[str] = "boilerplate"

    min_left: Annotated[float, Field(ge=0, le=1)] = 0.3

    def prepare(self, context: Context) -> Callable[[pa.Table], Outcome]:
        """The function that cleans the texts of a table."""

        def apply(table: pa.Table) -> Outcome:
            texts = table["text"].to_pylist()
            cleaned = [without_boilerplate(text) for text in texts]
            verdicts = [self._verdict(before, after) for before, (after, _) in zip(texts, cleaned, strict=True)]
            noted = [
                (row_id, rule.value, f"{count} lines")
                for row_id, verdict, (_, counts) in zip(table["id"].to_pylist(), verdicts, cleaned, strict=True)
                if verdict is None
                for rule, count in sorted(counts.items())
            ]
            left = pa.array([text for text, _ in cleaned], pa.large_string())
            outcome = decide_rows(add_column(table, DOCUMENT.field("text"), left), verdicts)
            return Outcome(outcome.kept, outcome.dropped, noted=fates(noted))

        return apply

    def _verdict(self, before: str, after: str) -> tuple[str, str] | None:
        if before is after:
            return None
        size, left = (sum(map(len, text.split())) for text in (before, after))
        share = left / size
        return (Reason.LITTLE_LEFT.value, f"{share:.4g} < {self.min_left:g}") if share < self.min_left else None


def without_boilerplate(text: str) -> tuple[str, Counter[Reason]]:
    """`text` without the lines that are none of it, and their number by rule; the same object if there are none."""
    marks = mark_lines(text)
    counts = Counter(mark.rule for mark in marks if mark)
    if not counts:
        return text, counts
    kept: list[str] = []
    gap = False
    for line, mark in zip(text.split("\n"), marks, strict=True):
        if mark:
            gap = True
        elif gap and not line.strip() and not (kept and kept[-1].strip()):
            continue
        else:
            kept.append(line)
            gap = gap and not line.strip()
    return "\n".join(kept).strip("\n"), counts


def mark_lines(text: str) -> list[Mark | None]:
    """What each line between line feeds is, if it's no text; blank lines, code and tables never are."""
    folded = text.casefold()
    lines, patterns = folded.split("\n"), patterns_for(folded)
    marks: list[Mark | None] = [None] * len(lines)
    filled = [number for number, line in enumerate(lines) if line and not line.isspace()]
    layouts = line_layouts(text)
    for number in filled:
        if layouts[number] is Layout.PROSE:
            marks[number] = mark_line(lines[number], patterns)
    unsure = [at for at, number in enumerate(filled) if (mark := marks[number]) and not mark.sure]
    alone = [filled[at] for at in unsure if not _in_company(at, filled, lines, marks)]
    for number in alone:
        marks[number] = None
    return marks


_MENU_ITEM = 4


def _in_company(at: int, filled: Sequence[int], lines: Sequence[str], marks: Sequence[Mark | None]) -> bool:
    """Whether a line next to the `at`-th filled one is none of the text, or it is one of several menu items."""
    beside = [filled[place] for place in (at - 1, at + 1) if 0 <= place < len(filled)]
    if any(marks[number] for number in beside):
        return True
    mark = marks[filled[at]]
    menu = mark is not None and mark.rule in (Reason.NAVIGATION, Reason.SHARING)
    return menu and len(beside) == 2 and all(_is_short(lines[number]) for number in beside)


def _is_short(line: str) -> bool:
    return length(line) <= _MENU_ITEM and line.rstrip()[-1] not in ".!?。！？:："
