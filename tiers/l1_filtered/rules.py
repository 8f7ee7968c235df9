"""The four families of quality rules: Gopher repetition, Gopher quality, C4, FineWeb.

Each family is a set of thresholds with the published values as defaults, and a function that gives the first rule
that a text breaks, with the measured value and the threshold, or `None`. A threshold set to `None` turns its rule
off. The order of the rules within a family decides which reason is given; it is that of the common open pipelines.
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache
from itertools import pairwise
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from tiers.l1_filtered.measures import (
    ALPHABETIC,
    ENDS_SENTENCE,
    LINE_BREAK,
    LINE_BREAK_RECORD,
    PUNCTUATION,
    RECORD,
    SYMBOLIC,
    Measures,
    Ngrams,
    WordMemory,
    covered,
    duplicated,
    repeated,
    repeats,
    top_run,
    word_hash,
)
from tiers.l1_filtered.words import TERMINALS

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Run = Annotated[int, Field(ge=1, le=64)]
Verdict = tuple[str, str] | None


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


class _Family(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _above(reason: Reason, value: float, threshold: float | None) -> Verdict:
    """A verdict if `value` exceeds `threshold`."""
    if threshold is None or value <= threshold:
        return None
    return reason, f"{value:.4g} > {threshold:.4g}"


def _below(reason: Reason, value: float, threshold: float | None) -> Verdict:
    """A verdict if `value` falls short of `threshold`."""
    if threshold is None or value >= threshold:
        return None
    return reason, f"{value:.4g} < {threshold:.4g}"


class GopherRepetition(_Family):
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

    def judge(self, measures: Measures) -> Verdict:
        """The first rule that the text breaks."""
        if not measures.text:
            return Reason.EMPTY, "0 characters"
        return self._judge_lines(measures.text) or self._judge_runs(measures)

    def _judge_lines(self, text: str) -> Verdict:
        paragraphs = _split_paragraphs(text)
        count, characters = repeated(paragraphs)
        verdict = _above(Reason.DUPLICATE_PARAGRAPHS, count / len(paragraphs), self.duplicate_paragraphs) or _above(
            Reason.DUPLICATE_PARAGRAPH_CHARACTERS, characters / len(text), self.duplicate_paragraph_characters
        )
        if verdict:
            return verdict
        lines = _split_lines(text)
        count, characters = repeated(lines)
        return _above(Reason.DUPLICATE_LINES, count / len(lines), self.duplicate_lines) or _above(
            Reason.DUPLICATE_LINE_CHARACTERS, characters / len(text), self.duplicate_line_characters
        )

    def _judge_runs(self, measures: Measures) -> Verdict:
        size, most = len(measures.text), measures.words
        ngrams = Ngrams(measures)
        for n, threshold in self.top_n_grams:
            if most * ngrams.longest(n) <= threshold * size:
                continue  # No run occurs more often than the shorter one in it.
            most, length = top_run(ngrams, n)
            verdict = _above(_of_run("top_{}_gram", Reason.TOP_N_GRAM, n), most * length / size, threshold)
            if verdict:
                return verdict
        return self._judge_duplicates(measures)

    def _judge_duplicates(self, measures: Measures) -> Verdict:
        """Runs that repeat; a bound spares most documents the exact count.

        Where a longer run repeats, so does a shorter one that begins there. Whatever a rule counts therefore lies in
        runs that begin where a shortest one repeats.
        """
        if not self.duplicate_n_grams:
            return None
        size, offsets = len(measures.text), measures.offsets
        shortest, longest = self.duplicate_n_grams[0][0], self.duplicate_n_grams[-1][0]
        ngrams = Ngrams(measures)
        recurring, repeating = repeats(ngrams.hashes(shortest))
        if covered(repeating, longest, offsets) <= min(share for _, share in self.duplicate_n_grams) * size:
            return None
        for n, threshold in self.duplicate_n_grams:
            if covered(repeating, n, offsets) <= threshold * size:
                continue
            hashes = ngrams.hashes(n)
            recurring = recurring[recurring < len(hashes)]
            share = duplicated(hashes, n, recurring, ngrams.lengths(n)) / size
            verdict = _above(_of_run("duplicate_{}_grams", Reason.DUPLICATE_N_GRAMS, n), share, threshold)
            if verdict:
                return verdict
        return None


def _split_paragraphs(text: str) -> list[str]:
    """Paragraphs stand between blank lines."""
    text = text.strip()
    return re.split(r"\n{2,}", text) if "\n\n\n" in text else text.split("\n\n")


def _split_lines(text: str) -> list[str]:
    """Lines without the blank ones between them; a line break at either end leaves an empty line there."""
    lines = [line for line in text.split("\n") if line]
    return [""] * text.startswith("\n") + lines + [""] * text.endswith("\n")


def _of_run(pattern: str, other: Reason, n: int) -> Reason:
    name = "gopher_repetition." + pattern.format(n)
    return Reason(name) if name in Reason.__members__.values() else other


class GopherQuality(_Family):
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

    def judge(self, measures: Measures) -> Verdict:
        """The first rule that the text breaks."""
        proper = (measures.kinds & SYMBOLIC) == 0
        count = int(proper.sum())
        verdict = _below(Reason.TOO_SHORT, count, self.min_words) or _above(Reason.TOO_LONG, count, self.max_words)
        if verdict or not measures.words:
            return verdict
        return self._judge_lengths(measures, proper) or self._judge_symbols(measures) or self._judge_words(measures)

    def _judge_lengths(self, measures: Measures, proper: npt.NDArray[np.bool_]) -> Verdict:
        lengths = measures.lengths[proper]
        if not len(lengths):
            return None
        mean = int(lengths.sum()) / len(lengths)
        return _below(Reason.SHORT_WORDS, mean, self.min_mean_word_length) or _above(
            Reason.LONG_WORDS, mean, self.max_mean_word_length
        )

    def _judge_symbols(self, measures: Measures) -> Verdict:
        text, words = measures.text, measures.words
        ellipses = text.count("...") + text.count("…")
        verdict = _above(Reason.HASHES, text.count("#") / words, self.max_symbols_per_word) or _above(
            Reason.ELLIPSES, ellipses / words, self.max_symbols_per_word
        )
        if verdict:
            return verdict
        lines = text.splitlines()
        bullets = sum(line.lstrip().startswith(("•", "-")) for line in lines)
        trailing = sum(line.rstrip().endswith(("...", "…")) for line in lines) if ellipses else 0
        return _above(Reason.BULLETS, bullets / len(lines), self.max_bullet_lines) or _above(
            Reason.ELLIPSIS_LINES, trailing / len(lines), self.max_ellipsis_lines
        )

    def _judge_words(self, measures: Measures) -> Verdict:
        alphabetic = int(((measures.kinds & ALPHABETIC) != 0).sum()) / measures.words
        verdict = _below(Reason.FEW_LETTERS, alphabetic, self.min_alphabetic_words)
        if verdict or self.min_stop_words is None:
            return verdict
        found = int((measures.hashes[:, None] == _hashes(self.stop_words)).any(axis=0).sum())
        return _below(Reason.FEW_STOP_WORDS, found, self.min_stop_words)


@lru_cache(maxsize=8)
def _hashes(words: tuple[str, ...]) -> npt.NDArray[np.uint64]:
    return np.array([word_hash(word) for word in set(words)], np.uint64)


_CITATION = re.compile(r"\[(?:\d*|edit|citation needed)\]")
_POLICIES = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
_LINE_ENDS = (".", "?", "!", '"', "'")


class C4(_Family):
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

    def judge(self, text: str, memory: WordMemory) -> tuple[Verdict, list[str]]:
        """The first rule that the text breaks, and the lines that are left of it."""
        kept: list[str] = []
        for raw in text.splitlines():
            line = self._line(raw)
            if line is None:
                continue
            lower = line.lower()
            if self.lorem_ipsum and "lorem ipsum" in lower:
                return (Reason.LOREM_IPSUM, "1 > 0"), kept
            if self.javascript and "javascript" in lower:
                continue
            if self.curly_bracket and "{" in line:
                return (Reason.CURLY_BRACKET, f"{text.count('{')} > 0"), kept
            if self._states_a_policy(lower):
                continue
            kept.append(line)
        if self.min_sentences is None or len(kept) >= self.min_sentences:
            return None, kept
        return _below(Reason.FEW_SENTENCES, sentences(kept, memory), self.min_sentences), kept

    def edited(self, text: str) -> str:
        """What is left of the text of a document that is kept, with its paragraphs and indentation."""
        lines: list[str] = []
        for raw in text.splitlines():
            line = self._line(raw) if raw.strip() else ""
            if (
                line is None
                or (self.javascript and "javascript" in line.lower())
                or self._states_a_policy(line.lower())
            ):
                continue
            lines.append(raw[: len(raw) - len(raw.lstrip())] + line if line else "")
        return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")

    def _states_a_policy(self, lower: str) -> bool:
        return self.policies and any(policy in lower for policy in _POLICIES)

    def _line(self, raw: str) -> str | None:
        """The line without citation marks, or `None` if it falls away for its form."""
        line = raw.strip()
        words = line.split()
        longest = self.max_word_length
        if longest and len(line) > longest and max(map(len, words)) > longest:
            return None
        if self.citations and "[" in line:
            line = _CITATION.sub("", line)
        if self.terminal_punctuation and (not line.endswith(_LINE_ENDS) or line.endswith("...")):
            return None
        if self.min_words_per_line and len(words) < self.min_words_per_line:
            return None
        return line


def sentences(lines: list[str], memory: WordMemory) -> int:
    """Sentences in `lines`: each begins one, and so does every word after a mark that ends one."""
    records = b"".join(LINE_BREAK_RECORD + memory.table(line.split()).tobytes() for line in lines)
    kinds = np.frombuffer(records, RECORD)["kind"]
    kinds = kinds[((kinds & PUNCTUATION) == 0) | ((kinds & ENDS_SENTENCE) != 0)]
    ends = (kinds & ENDS_SENTENCE) != 0
    begins = (kinds & (ENDS_SENTENCE | LINE_BREAK)) == 0
    return len(lines) + int((ends[:-1] & begins[1:]).sum())


class FineWeb(_Family):
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

    def judge(self, measures: Measures) -> Verdict:
        """The first rule that the text breaks."""
        text = measures.text
        lines = [line for line in text.split("\n") if line and not line.isspace()]
        if not lines:
            return Reason.NO_LINES, "0 lines"
        punctuated = sum(line[-1] in TERMINALS for line in lines) / len(lines)
        short = sum(len(line) <= self.short_line for line in lines) / len(lines)
        breaks = text.count("\n")
        verdict = (
            _below(Reason.LINE_PUNCTUATION, punctuated, self.min_line_punctuation)
            or _above(Reason.SHORT_LINES, short, self.max_short_lines)
            or _above(
                Reason.DUPLICATE_CHARACTERS,
                repeated(lines)[1] / (len(text) - breaks),
                self.max_duplicate_line_characters,
            )
        )
        if verdict or self.max_line_breaks_per_word is None:
            return verdict
        return _above(Reason.LINE_BREAKS, breaks / measures.words, self.max_line_breaks_per_word)
