"""The stage that holds documents to the published quality rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import pyarrow as pa

from tiers.document import DOCUMENT, add_column
from tiers.l1_filtered.measures import Measures, WordMemory
from tiers.l1_filtered.rules import C4, FineWeb, GopherQuality, GopherRepetition, Reason, Verdict
from tiers.stage import Context, Outcome, Stage, decide_rows, fates


class QualityRules(Stage):
    """Gopher repetition, Gopher quality, C4 and FineWeb, in this order, on one split into words.

    The order is that of FineWeb's published pipeline (Penedo et al. 2024), so that reasons and counts can be
    compared with it: C4 takes lines out, and FineWeb's rules see what it left. The first rule that a document breaks
    is its reason. A family set to `None` is turned off. Kept documents that lost more than white space are noted.
    """

    name: ClassVar[str] = "quality_rules"

    gopher_repetition: GopherRepetition | None = GopherRepetition()
    gopher_quality: GopherQuality | None = GopherQuality()
    c4: C4 | None = C4()
    fineweb: FineWeb | None = FineWeb()

    def judge(self, text: str, memory: WordMemory) -> tuple[Verdict, str]:
        """The first rule that `text` breaks, and the text with the lines that C4 leaves of it."""
        measures = Measures(text, memory)
        for family in (self.gopher_repetition, self.gopher_quality):
            verdict = family.judge(measures) if family else None
            if verdict:
                return verdict, text
        left = seen = text
        if self.c4:
            verdict, lines = self.c4.judge(text, memory)
            if verdict:
                return verdict, text
            if self.c4.edit:
                left, seen = self.c4.edited(text), "\n".join(lines).strip()
        if self.fineweb is None:
            return None, left
        return self.fineweb.judge(measures if seen == text else Measures(seen, memory)), left

    def prepare(self, context: Context) -> Callable[[pa.Table], Outcome]:
        """The function that judges a table, with a memory of the words that it has seen."""
        memory = WordMemory()

        def apply(table: pa.Table) -> Outcome:
            texts = table["text"].to_pylist()
            judged = [self.judge(text, memory) for text in texts]
            left = pa.array([text for _, text in judged], pa.large_string())
            outcome = decide_rows(add_column(table, DOCUMENT.field("text"), left), [verdict for verdict, _ in judged])
            noted = [
                (row_id, Reason.LINES_REMOVED.value, _change(before, after))
                for row_id, before, (verdict, after) in zip(table["id"].to_pylist(), texts, judged, strict=True)
                if verdict is None and after is not before and after.split() != before.split()
            ]
            return Outcome(outcome.kept, outcome.dropped, noted=fates(noted))

        return apply


def _change(before: str, after: str) -> str:
    """What C4 took out of a kept document, in lines and characters."""
    lines = (sum(1 for line in text.splitlines() if line.strip()) for text in (before, after))
    first, last = lines
    return f"{first - last} of {first} lines, {len(before) - len(after)} of {len(before)} characters"
