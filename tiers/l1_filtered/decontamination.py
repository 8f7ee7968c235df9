"""The stage that takes out what stands in benchmarks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Annotated, ClassVar, Literal

import pyarrow as pa
from pydantic import Field, model_validator

from tiers.document import DOCUMENT, add_column
from tiers.l1_filtered.contamination import BenchmarkIndex, Span, composed
from tiers.l1_filtered.word_hashes import WORD
from tiers.reference import Reference
from tiers.stage import Context, Outcome, Stage, decide_rows, fates

_QUOTED = 160


class Reason(StrEnum):
    """Why a document was dropped, or what was changed in it."""

    CONTAMINATED = "contaminated"
    CUT = "contamination_cut"


class Decontaminate(Stage):
    """Drops documents that share an n-gram of words with a benchmark, or cuts out what they share.

    Words are compared in lower case without punctuation, 13 at a time, as GPT-3 does (Brown et al. 2020,
    arXiv:2005.14165, appendix C); other practice is 10 (DeepSeekMath, Shao et al. 2024, arXiv:2402.03300, section 2.1)
    and 8 (Llama 3, Dubey et al. 2024, arXiv:2407.21783, section 5.1.4). A shorter string of a benchmark counts if it
    has the 8 words that GPT-3 takes for the least, and stands in the document whole.

    GPT-3 ignores n-grams that occur in more than ten documents of the corpus, as boilerplate. That forgives a benchmark
    just because it was copied often, and makes a document's fate depend on others. Here boilerplate is told by the
    benchmark: an n-gram that many of its strings share is a template, not a question.

    `cut` is GPT-3's: a window around each match goes too, so do pieces shorter than it, and a document with more than
    ten matches goes whole.

    Attributes:
        benchmarks: Files of benchmarks, by name: JSON, JSON lines, Parquet or plain text, compressed or not.
        fields: Keys whose strings count, at any depth; all strings do where there are none.
        n: Words in an n-gram; in scripts without spaces each character is a word.
        min_words: Strings of fewer words are passed over.
        max_items: An n-gram that stands in more different strings of one benchmark is passed over; it should be above
            the number of questions on one passage, where each repeats the passage.
        action: Whether to drop documents or to cut.
        window: Characters around a match that are cut too.
        max_cuts: Matches from which on a document is dropped all the same.
    """

    name: ClassVar[str] = "decontaminate"

    benchmarks: Annotated[dict[str, Reference], Field(min_length=1)]
    fields: tuple[str, ...] = ()
    n: Annotated[int, Field(ge=2, le=64)] = 13
    min_words: Annotated[int, Field(ge=2)] = 8
    max_items: Annotated[int, Field(ge=1)] | None = 100
    action: Literal["drop", "cut"] = "drop"
    window: Annotated[int, Field(ge=0)] = 200
    max_cuts: Annotated[int, Field(ge=1)] = 10

    @model_validator(mode="after")
    def _short_strings_are_shorter(self) -> Decontaminate:
        if self.min_words > self.n:
            raise ValueError(f"min_words {self.min_words} is above n {self.n}")
        return self

    def prepare(self, context: Context) -> Callable[[pa.Table], Outcome]:
        """The function that cleans a table; reads the benchmarks."""
        index = BenchmarkIndex(self.benchmarks, self.fields, self.n, self.min_words, self.max_items)

        def apply(table: pa.Table) -> Outcome:
            texts = [composed(text) for text in table["text"].to_pylist()]
            found = index.search(texts)
            if not found:
                return Outcome(table)
            details = {row: _detail(texts[row], spans, index) for row, spans in found.items()}
            left = {row: self._cut(texts[row], spans) for row, spans in found.items()} if self.action == "cut" else {}
            verdicts = [
                None if row not in found or left.get(row) else (Reason.CONTAMINATED, details[row])
                for row in range(table.num_rows)
            ]
            ids = table["id"]
            noted = [(ids[row].as_py(), Reason.CUT.value, details[row]) for row, text in left.items() if text]
            if noted:
                column = [left.get(row) or text.as_py() for row, text in enumerate(table["text"])]
                table = add_column(table, DOCUMENT.field("text"), column)
            outcome = decide_rows(table, verdicts)
            return Outcome(outcome.kept, outcome.dropped, noted=fates(noted))

        return apply

    def _cut(self, text: str, spans: Sequence[Span]) -> str:
        """What is left of `text`, pieces as paragraphs; empty where that is too little or too many spans matched."""
        if len(spans) > self.max_cuts:
            return ""
        pieces, start = [], 0
        for span in spans:
            pieces.append(text[start : _before_word(text, span.start - self.window)] if span.start > start else "")
            start = _behind_word(text, span.end + self.window)
        pieces.append(text[start:])
        return "\n\n".join(piece.strip() for piece in pieces if len(piece.strip()) >= max(1, self.window))


def _before_word(text: str, at: int) -> int:
    """`at`, or the start of the word that it lies in."""
    while at > 0 and _inside_word(text, at):
        at -= 1
    return max(at, 0)


def _behind_word(text: str, at: int) -> int:
    """`at`, or the end of the word that it lies in."""
    while at < len(text) and _inside_word(text, at):
        at += 1
    return at


def _inside_word(text: str, at: int) -> bool:
    match = WORD.match(text[at - 1 : at + 1])
    return match is not None and match.end() == 2


def _detail(text: str, spans: Sequence[Span], index: BenchmarkIndex) -> str:
    """The longest match: where in the benchmark, how much, where in the text, and how it begins."""
    longest = max(spans, key=lambda span: span.words)
    benchmark, place = index.places[longest.item]
    quoted = " ".join(text[longest.start : longest.end].split())
    quoted = quoted if len(quoted) <= _QUOTED else f"{quoted[:_QUOTED]}…"
    others = f", the longest of {len(spans)} matches" if len(spans) > 1 else ""
    at = f"characters {longest.start} to {longest.end}"
    return f"{longest.words} words of {benchmark}, {place}{others}, {at}: {quoted}"
