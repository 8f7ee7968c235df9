"""The stage that holds documents to the published quality rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import pyarrow as pa
from pydantic import model_validator

from tiers.document import DOCUMENT, add_column
from tiers.l1_filtered.rules import C4, Family, FineWeb, GopherQuality, GopherRepetition, Reason
from tiers.stage import Context, Measure, Outcome, Rule, SignalStage, fates


class QualityRules(SignalStage):
    """Gopher repetition, Gopher quality, C4 and FineWeb, in this order, on one split into words.

    The order is that of FineWeb's published pipeline (Penedo et al. 2024), so that reasons and counts can be
    compared with it: C4 takes lines out, and FineWeb's rules see what it left. The first rule that a document breaks
    is its reason. A family set to `None` is turned off. Kept documents that lost more than white space are noted.

    Attributes:
        unspaced: What is a word in scripts that put no space between words (Han, Kana, Thai, Lao, Khmer, Myanmar): a
            chunk between white space and punctuation, as the English split of the published rules has it, or each
            character. With characters the counts mean something, but the published thresholds are for English words;
            FineWeb-2 takes them from each language's own statistics (Penedo et al. 2025, arXiv:2506.20920).
    """

    name: ClassVar[str] = "quality_rules"
    version: ClassVar[int] = 2

    gopher_repetition: GopherRepetition | None = GopherRepetition()
    gopher_quality: GopherQuality | None = GopherQuality()
    c4: C4 | None = C4()
    fineweb: FineWeb | None = FineWeb()
    unspaced: Literal["chunks", "characters"] = "chunks"

    @model_validator(mode="after")
    def _some_family(self) -> QualityRules:
        if not self._families():
            raise ValueError("all families of rules are turned off")
        return self

    def _families(self) -> dict[str, Family]:
        """The families that are on, by name."""
        families: dict[str, Family | None] = {
            "gopher_repetition": self.gopher_repetition,
            "gopher_quality": self.gopher_quality,
            "c4": self.c4,
            "fineweb": self.fineweb,
        }
        return {name: family for name, family in families.items() if family}

    @property
    def signals(self) -> tuple[pa.Field, ...]:
        """What is measured, for each family that is on."""
        return tuple(field for family in self._families().values() for field in family.signals())

    def measuring(self) -> dict[str, Any]:
        """Signals depend on which families are on, and on their parameters that are no thresholds."""
        families = {name: family.measuring() for name, family in self._families().items()}
        return {**super().measuring(), "unspaced": self.unspaced, **families}

    def prepare_measuring(self, context: Context) -> Measure:
        """The function that measures texts; its kernels are compiled by the first process that ever calls it."""
        from tiers.l1_filtered.measures import Measuring

        return Measuring(self)

    def rules(self) -> Sequence[Rule]:
        """The rules of the families that are on."""
        return [rule for family in self._families().values() for rule in family.rules()]

    def decide(self, table: pa.Table, signals: pa.Table) -> Outcome:
        """Drops the rows that break a rule, and takes lines out of the others as C4 does."""
        outcome = super().decide(table, signals)
        if self.c4 is None or not self.c4.edit:
            return outcome
        from tiers.l1_filtered.measures import edited

        before = outcome.kept["text"]
        after = edited(before, self.c4, self.unspaced == "characters")
        return Outcome(
            add_column(outcome.kept, DOCUMENT.field("text"), after.texts),
            outcome.dropped,
            noted=fates(
                (row_id, Reason.LINES_REMOVED, detail)
                for row_id, detail in zip(outcome.kept["id"].to_pylist(), after.details, strict=True)
                if detail
            ),
        )
