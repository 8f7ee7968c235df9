"""The four families of quality rules: Gopher repetition, Gopher quality, C4, FineWeb.

Each family is a set of thresholds with the published values as defaults, the signals that it bounds, and its rules. A
threshold set to `None` turns its rule off. The order of the rules within a family decides which reason is given; it is
that of the common open pipelines.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, model_validator

from tiers.stage import Rule

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Run = Annotated[int, Field(ge=1, le=64)]


class Reason(StrEnum):
    """Why a document was dropped, or what was changed in it; runs of n words add `_n` to theirs."""

    EMPTY = "gopher_repetition.empty"
    DUPLICATE_PARAGRAPHS = "gopher_repetition.duplicate_paragraphs"
    DUPLICATE_PARAGRAPH_CHARACTERS = "gopher_repetition.duplicate_paragraph_characters"
    DUPLICATE_LINES = "gopher_repetition.duplicate_lines"
    DUPLICATE_LINE_CHARACTERS = "gopher_repetition.duplicate_line_characters"
    TOP_2_GRAM = "gopher_repetition.top_2_gram"
    TOP_3_GRAM = "gopher_repetition.top_3_gram"
    TOP_4_GRAM = "gopher_repetition.top_4_gram"
    TOP_N_GRAM = "gopher_repetition.top_n_gram"
    DUPLICATE_5_GRAMS = "gopher_repetition.duplicate_5_grams"
    DUPLICATE_6_GRAMS = "gopher_repetition.duplicate_6_grams"
    DUPLICATE_7_GRAMS = "gopher_repetition.duplicate_7_grams"
    DUPLICATE_8_GRAMS = "gopher_repetition.duplicate_8_grams"
    DUPLICATE_9_GRAMS = "gopher_repetition.duplicate_9_grams"
    DUPLICATE_10_GRAMS = "gopher_repetition.duplicate_10_grams"
    DUPLICATE_N_GRAMS = "gopher_repetition.duplicate_n_grams"
    TOO_SHORT = "gopher_quality.too_short"
    TOO_LONG = "gopher_quality.too_long"
    SHORT_WORDS = "gopher_quality.short_words"
    LONG_WORDS = "gopher_quality.long_words"
    HASHES = "gopher_quality.hashes"
    ELLIPSES = "gopher_quality.ellipses"
    BULLETS = "gopher_quality.bullets"
    ELLIPSIS_LINES = "gopher_quality.ellipsis_lines"
    FEW_LETTERS = "gopher_quality.few_alphabetic_words"
    FEW_STOP_WORDS = "gopher_quality.few_stop_words"
    LOREM_IPSUM = "c4.lorem_ipsum"
    CURLY_BRACKET = "c4.curly_bracket"
    FEW_SENTENCES = "c4.few_sentences"
    LINES_REMOVED = "c4.lines_removed"
    NO_LINES = "fineweb.empty"
    LINE_PUNCTUATION = "fineweb.line_punctuation"
    SHORT_LINES = "fineweb.short_lines"
    DUPLICATE_CHARACTERS = "fineweb.duplicate_line_characters"
    LINE_BREAKS = "fineweb.line_breaks"


class Family(BaseModel):
    """One family of rules, as a frozen configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def signals(self) -> Sequence[pa.Field]:
        """What is measured, in the order in which `measures` gives it."""
        raise NotImplementedError

    def rules(self) -> Sequence[Rule]:
        """The rules in the order in which they give the reason."""
        raise NotImplementedError

    def measuring(self) -> dict[str, Any]:
        """What the signals depend on beside the text: every parameter that is no threshold."""
        raise NotImplementedError


def _counts(*names: str) -> list[pa.Field]:
    return [pa.field(name, pa.int64()) for name in names]


def _shares(*names: str) -> list[pa.Field]:
    return [pa.field(name, pa.float64()) for name in names]


class GopherRepetition(Family):
    """Repetition, after Gopher (Rae et al. 2021, arXiv:2112.11446, Table A1).

    All are shares of the document: of its lines or paragraphs, or of its characters. The most frequent run of n
    words counts as often as it occurs; repeated runs count each time after the first, without overlap.
    """

    duplicate_lines: Share | None = 0.3
    duplicate_paragraphs: Share | None = 0.3
    duplicate_line_characters: Share | None = 0.2
    duplicate_paragraph_characters: Share | None = 0.2
    top_n_grams: tuple[tuple[Run, Share], ...] = ((2, 0.2), (3, 0.18), (4, 0.16))
    duplicate_n_grams: tuple[tuple[Run, Share], ...] = (
        (5, 0.15),
        (6, 0.14),
        (7, 0.13),
        (8, 0.12),
        (9, 0.11),
        (10, 0.10),
    )

    @model_validator(mode="after")
    def _ascending(self) -> GopherRepetition:
        for runs in (self.top_n_grams, self.duplicate_n_grams):
            if any(first[0] >= second[0] for first, second in pairwise(runs)):
                raise ValueError("runs of words must be listed from the shortest to the longest")
        return self

    def signals(self) -> Sequence[pa.Field]:
        """Characters, and shares of paragraphs, lines and characters."""
        lines = (
            Reason.DUPLICATE_PARAGRAPHS,
            Reason.DUPLICATE_PARAGRAPH_CHARACTERS,
            Reason.DUPLICATE_LINES,
            Reason.DUPLICATE_LINE_CHARACTERS,
        )
        runs = [rule.signal for rule in self._run_rules()]
        return [*_counts("gopher_repetition.characters"), *_shares(*lines, *runs)]

    def rules(self) -> Sequence[Rule]:
        """Paragraphs, lines, most frequent runs, repeated runs."""
        bounds = (
            (Reason.DUPLICATE_PARAGRAPHS, self.duplicate_paragraphs),
            (Reason.DUPLICATE_PARAGRAPH_CHARACTERS, self.duplicate_paragraph_characters),
            (Reason.DUPLICATE_LINES, self.duplicate_lines),
            (Reason.DUPLICATE_LINE_CHARACTERS, self.duplicate_line_characters),
        )
        return [
            Rule(Reason.EMPTY, "gopher_repetition.characters", "below", 1),
            *(Rule(reason, reason, "above", threshold) for reason, threshold in bounds),
            *self._run_rules(),
        ]

    def _run_rules(self) -> list[Rule]:
        families = (
            ("gopher_repetition.top_{}_gram", Reason.TOP_N_GRAM, self.top_n_grams),
            ("gopher_repetition.duplicate_{}_grams", Reason.DUPLICATE_N_GRAMS, self.duplicate_n_grams),
        )
        return [
            Rule(_of_run(pattern.format(n), other), pattern.format(n), "above", threshold)
            for pattern, other, runs in families
            for n, threshold in runs
        ]

    def measuring(self) -> dict[str, Any]:
        """How long the runs are."""
        return {
            "top_n_grams": [n for n, _ in self.top_n_grams],
            "duplicate_n_grams": [n for n, _ in self.duplicate_n_grams],
        }


def _of_run(name: str, other: Reason) -> Reason:
    """The reason of that name, if there is one."""
    return Reason(name) if name in Reason.__members__.values() else other


class GopherQuality(Family):
    """Quality, after Gopher (Rae et al. 2021, arXiv:2112.11446, Appendix A.1.1).

    Words that are nothing but symbols don't count towards the number of words and their mean length; they do count
    as words in the shares of symbols and of alphabetic words.
    """

    min_words: Count | None = 50
    max_words: Count | None = 100_000
    min_mean_word_length: Annotated[float, Field(ge=0)] | None = 3
    max_mean_word_length: Annotated[float, Field(ge=0)] | None = 10
    max_symbols_per_word: Annotated[float, Field(ge=0)] | None = 0.1
    max_bullet_lines: Share | None = 0.9
    max_ellipsis_lines: Share | None = 0.3
    min_alphabetic_words: Share | None = 0.8
    min_stop_words: Count | None = 2
    stop_words: tuple[str, ...] = ("the", "be", "to", "of", "and", "that", "have", "with")

    def signals(self) -> Sequence[pa.Field]:
        """Words, and what there is of symbols, letters and stop words among them."""
        shares = _shares(
            "gopher_quality.mean_word_length",
            Reason.HASHES,
            Reason.ELLIPSES,
            Reason.BULLETS,
            Reason.ELLIPSIS_LINES,
            "gopher_quality.alphabetic_words",
        )
        return [*_counts("gopher_quality.words"), *shares, *_counts("gopher_quality.stop_words")]

    def rules(self) -> Sequence[Rule]:
        """Number and length of words, symbols, letters, stop words."""
        words, length = "gopher_quality.words", "gopher_quality.mean_word_length"
        return [
            Rule(Reason.TOO_SHORT, words, "below", self.min_words),
            Rule(Reason.TOO_LONG, words, "above", self.max_words),
            Rule(Reason.SHORT_WORDS, length, "below", self.min_mean_word_length),
            Rule(Reason.LONG_WORDS, length, "above", self.max_mean_word_length),
            Rule(Reason.HASHES, Reason.HASHES, "above", self.max_symbols_per_word),
            Rule(Reason.ELLIPSES, Reason.ELLIPSES, "above", self.max_symbols_per_word),
            Rule(Reason.BULLETS, Reason.BULLETS, "above", self.max_bullet_lines),
            Rule(Reason.ELLIPSIS_LINES, Reason.ELLIPSIS_LINES, "above", self.max_ellipsis_lines),
            Rule(Reason.FEW_LETTERS, "gopher_quality.alphabetic_words", "below", self.min_alphabetic_words),
            Rule(Reason.FEW_STOP_WORDS, "gopher_quality.stop_words", "below", self.min_stop_words),
        ]

    def measuring(self) -> dict[str, Any]:
        """Which words are stop words."""
        return {"stop_words": sorted(set(self.stop_words))}


class C4(Family):
    """Lines and pages, after C4 (Raffel et al. 2020, JMLR 21(140), section 2.2).

    Lines fall away one by one, and then the page if too few sentences are left. What the paper's list leaves out and
    its published code does is here too: lines with overlong words or words on cookies and terms of use, citation
    marks. FineWeb's recipe sets `terminal_punctuation` to false (Penedo et al. 2024, section 3.5).

    Attributes:
        terminal_punctuation: Whether lines must end in `.`, `?`, `!` or a quote, and not in an ellipsis.
        min_sentences: Sentences that must be left.
        min_words_per_line: Words, split at white space, below which a line falls away.
        max_word_length: Characters above which a word makes its line fall away.
        citations: Whether to take out marks such as `[12]` and `[edit]`.
        lorem_ipsum: Whether to drop pages with placeholder text.
        javascript: Whether lines that name JavaScript fall away.
        curly_bracket: Whether to drop pages with a `{`.
        policies: Whether lines on cookies and terms of use fall away.
        edit: Whether kept documents lose the lines that fell away, as in C4; otherwise their text stays as it is.
            C4 took blank lines and indentation too; here paragraphs stay apart and code stays indented, and only the
            rules that follow see the text without them.
    """

    terminal_punctuation: bool = True
    min_sentences: Count | None = 5
    min_words_per_line: Count | None = 3
    max_word_length: Annotated[int, Field(ge=1)] | None = 1000
    citations: bool = True
    lorem_ipsum: bool = True
    javascript: bool = True
    curly_bracket: bool = True
    policies: bool = True
    edit: bool = True

    def signals(self) -> Sequence[pa.Field]:
        """What pages are dropped for: of placeholder text and curly brackets only what comes first; sentences left."""
        return _counts(Reason.LOREM_IPSUM, Reason.CURLY_BRACKET, "c4.sentences")

    def rules(self) -> Sequence[Rule]:
        """Placeholder text, curly brackets, sentences."""
        return [
            Rule(Reason.LOREM_IPSUM, Reason.LOREM_IPSUM, "above", 0 if self.lorem_ipsum else None),
            Rule(Reason.CURLY_BRACKET, Reason.CURLY_BRACKET, "above", 0 if self.curly_bracket else None),
            Rule(Reason.FEW_SENTENCES, "c4.sentences", "below", self.min_sentences),
        ]

    def measuring(self) -> dict[str, Any]:
        """Everything that tells which lines fall away, or which of two reasons comes first."""
        return self.model_dump(mode="json", exclude={"min_sentences"})


class FineWeb(Family):
    """Lists, menus and repeated lines, after FineWeb (Penedo et al. 2024, arXiv:2406.17557, section 3.6).

    Attributes:
        min_line_punctuation: Share of lines that must end in a terminal mark of any script.
        max_short_lines: Share of lines that may be short.
        short_line: Characters up to which a line is short.
        max_duplicate_line_characters: Share of characters in lines that occurred before.
        max_line_breaks_per_word: Line breaks for each word.
    """

    min_line_punctuation: Share | None = 0.12
    max_short_lines: Share | None = 0.67
    short_line: Count = 30
    max_duplicate_line_characters: Share | None = 0.01
    max_line_breaks_per_word: Annotated[float, Field(ge=0)] | None = 0.3

    def signals(self) -> Sequence[pa.Field]:
        """Lines, and what there is among them of those that the rules bound."""
        shares = (Reason.LINE_PUNCTUATION, Reason.SHORT_LINES, Reason.DUPLICATE_CHARACTERS, Reason.LINE_BREAKS)
        return [*_counts("fineweb.lines"), *_shares(*shares)]

    def rules(self) -> Sequence[Rule]:
        """Lines at all, their ends, their length, repeated ones, how many there are."""
        return [
            Rule(Reason.NO_LINES, "fineweb.lines", "below", 1),
            Rule(Reason.LINE_PUNCTUATION, Reason.LINE_PUNCTUATION, "below", self.min_line_punctuation),
            Rule(Reason.SHORT_LINES, Reason.SHORT_LINES, "above", self.max_short_lines),
            Rule(Reason.DUPLICATE_CHARACTERS, Reason.DUPLICATE_CHARACTERS, "above", self.max_duplicate_line_characters),
            Rule(Reason.LINE_BREAKS, Reason.LINE_BREAKS, "above", self.max_line_breaks_per_word),
        ]

    def measuring(self) -> dict[str, Any]:
        """How long a short line is."""
        return {"short_line": self.short_line}
