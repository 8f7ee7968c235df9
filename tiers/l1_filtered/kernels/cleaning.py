"""Kernels that take lines out of texts as C4 does."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tiers.kernel import compiled, inlined
from tiers.l1_filtered.kernels.lines import ends_in_ellipsis, line_end, next_line, strip
from tiers.l1_filtered.kernels.text import CODE, DECIMAL, SPACE, UNSPACED, Characters, Counts, Text

PHRASES = (
    "lorem ipsum",
    "javascript",
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
)
_LOREM_IPSUM, _JAVASCRIPT, _POLICIES = 0b1, 0b10, 0b1111_1100
_PHRASES = np.array([ord(character) for character in "".join(PHRASES)])
_PHRASE_BOUNDS = np.cumsum([0, *map(len, PHRASES)])
_SECOND_LETTERS = np.zeros(26, np.int64)
for _phrase in PHRASES:
    _SECOND_LETTERS[ord(_phrase[0]) - ord("a")] |= 1 << (ord(_phrase[1]) - ord("a"))
_CITATIONS = np.array([ord(character) for character in "edit]citation needed]"])
_KELVIN = 0x212A  # Of characters beyond ASCII, only this one is a letter of a phrase in lower case.
_NEWLINE, _BRACKET, _CLOSING_BRACKET, _BRACE = map(ord, "\n[]{")
_PERIOD, _QUESTION_MARK, _EXCLAMATION_MARK, _QUOTATION_MARK, _APOSTROPHE = map(ord, ".?!\"'")
_A, _Z, _SMALL_A, _SMALL_K = map(ord, "AZak")


class LineRules(NamedTuple):
    """Which lines fall away, as `C4` says; `longest_word` and `fewest_words` always bound."""

    longest_word: int
    fewest_words: int
    terminal_punctuation: bool
    citations: bool
    lorem_ipsum: bool
    javascript: bool
    curly_bracket: bool
    policies: bool


class Cleaned(NamedTuple):
    """What is left of texts.

    Attributes:
        lines: The lines that are left, each with the newline that stands between it and the next.
        first_lines: Which of them are those of a text [texts + 1].
        begins: Where a text begins without white space before it [texts].
        ends: Where it ends without white space behind it [texts].
        stops: 1 where a line with "lorem ipsum" comes before any with a curly bracket; curly brackets in the whole text
            where a line with one comes first; else 0 [texts, 2].
    """

    lines: Text
    first_lines: Counts
    begins: Counts
    ends: Counts
    stops: Counts


class Edited(NamedTuple):
    """Texts without the lines that fell away, with their paragraphs and indentation.

    Attributes:
        text: The texts.
        lines: Lines before and after that aren't blank, and lines of which more than white space went [texts, 3].
    """

    text: Text
    lines: Counts


@compiled
def clean(text: Text, rules: LineRules) -> Cleaned:
    """What is left of texts for the rules that follow: lines without white space around them, and without blank ones.

    Lines for which a document is dropped stay, so that what is measured of the rest doesn't depend on that.
    """
    characters, bounds = text.characters, text.bounds
    texts, size = len(bounds) - 1, len(characters)
    left, line_bounds = np.empty(size, np.int64), np.empty(size + texts + 1, np.int64)
    first_lines, begins, ends = np.zeros(texts + 1, np.int64), np.empty(texts, np.int64), np.empty(texts, np.int64)
    stops = np.zeros((texts, 2), np.int64)
    at = lines = 0
    for number in range(texts):
        begin = at
        of_text = characters[bounds[number] : bounds[number + 1]]
        at, lines = _clean(of_text, rules, left, at, line_bounds, lines, stops[number])
        begins[number], ends[number] = strip(left, begin, at)
        first_lines[number + 1] = lines
    line_bounds[lines] = at
    return Cleaned(Text(left[:at], line_bounds[: lines + 1]), first_lines, begins, ends, stops)


@inlined
def _clean(
    text: Characters, rules: LineRules, left: Characters, at: int, bounds: Counts, lines: int, stops: Counts
) -> tuple[int, int]:
    """Appends the lines that are left of one text; gives how many characters and lines there are now."""
    first, place, end = lines, 0, len(text)
    while place < end:
        start, place = place, line_end(text, place, end)
        begin, last = strip(text, start, place)
        to = at + 1 if lines > first else at
        stop = _clean_line(text, begin, last, rules, left, to)
        found = _phrases(left, to, stop)
        if stop >= to and not stops[0] and not stops[1]:
            _look_for_stops(text, rules, left, to, stop, found, stops)
        if stop >= to and not _falls_away(found, rules):
            if lines > first:
                left[at] = _NEWLINE | SPACE
            bounds[lines] = to
            at = stop
            lines += 1
        if place < end:
            place = next_line(text, place, end)
    return at, lines


@inlined
def _look_for_stops(
    text: Characters, rules: LineRules, left: Characters, begin: int, end: int, found: int, stops: Counts
) -> None:
    """Notes what a document is dropped for if the line left[begin:end] holds it."""
    if rules.lorem_ipsum and found & _LOREM_IPSUM:
        stops[0] = 1
    elif rules.curly_bracket and not (rules.javascript and found & _JAVASCRIPT) and _brackets(left, begin, end):
        stops[1] = _brackets(text, 0, len(text))


@inlined
def _brackets(text: Characters, begin: int, end: int) -> int:
    """Opening curly brackets in text[begin:end]."""
    count = 0
    for at in range(begin, end):
        count += text[at] & CODE == _BRACE
    return count


@inlined
def _falls_away(found: int, rules: LineRules) -> bool:
    """Whether a line with these phrases falls away."""
    return bool((rules.javascript and found & _JAVASCRIPT) or (rules.policies and found & _POLICIES))


@inlined
def _clean_line(text: Characters, begin: int, end: int, rules: LineRules, left: Characters, to: int) -> int:
    """Writes the line text[begin:end], which has no white space around it, without citation marks.

    Returns:
        Where what was written to left[to:] ends, or -1 if the line falls away for its form.
    """
    words, longest = _chunks(text, begin, end)
    if words < rules.fewest_words or longest > rules.longest_word:
        return -1
    at = to
    while begin < end:
        mark = _citation(text, begin, end) if rules.citations and text[begin] & CODE == _BRACKET else 0
        if not mark:
            left[at] = text[begin]
            at += 1
        begin += max(mark, 1)
    return -1 if rules.terminal_punctuation and not _ends_well(left, to, at) else at


@inlined
def _chunks(text: Characters, begin: int, end: int) -> tuple[int, int]:
    """How many words, split at white space, text[begin:end] has, and the length of the longest."""
    words = longest = length = 0
    for at in range(begin, end):
        if text[at] & (SPACE | UNSPACED):
            words += (length > 0) + (text[at] & UNSPACED != 0)
            longest, length = max(longest, length), 0
        else:
            length += 1
    return words + (length > 0), max(longest, length)


@inlined
def _ends_well(text: Characters, begin: int, end: int) -> bool:
    """Whether text[begin:end] ends as a sentence or a quotation does, not in an ellipsis."""
    if begin == end or ends_in_ellipsis(text, begin, end):
        return False
    last = text[end - 1] & CODE
    marks = last == _PERIOD or last == _QUESTION_MARK or last == _EXCLAMATION_MARK
    return bool(marks or last == _QUOTATION_MARK or last == _APOSTROPHE)


@inlined
def _citation(text: Characters, begin: int, end: int) -> int:
    """The length of `[12]`, `[]`, `[edit]` or `[citation needed]` at a bracket; 0 if none of these is there."""
    at = begin + 1
    while at < end and text[at] & DECIMAL:
        at += 1
    if at < end and text[at] & CODE == _CLOSING_BRACKET:
        return at + 1 - begin
    if _stands_at(text, begin + 1, end, _CITATIONS[:5]):
        return 6
    return 17 if _stands_at(text, begin + 1, end, _CITATIONS[5:]) else 0


@inlined
def _lower(code: int) -> int:
    """The lower case of ASCII, and of what becomes ASCII."""
    if _A <= code <= _Z:
        return code + 32
    return _SMALL_K if code == _KELVIN else code


@inlined
def _stands_at(text: Characters, at: int, end: int, phrase: Counts) -> bool:
    """Whether text[at:end] begins with a phrase, as it is."""
    if end - at < len(phrase):
        return False
    for place in range(len(phrase)):
        if text[at + place] & CODE != phrase[place]:
            return False
    return True


@inlined
def _phrases(text: Characters, begin: int, end: int) -> int:
    """Which of `PHRASES` text[begin:end] holds, in any case, as bits."""
    found = 0
    for at in range(begin, end - 1):
        first, second = _lower(int(text[at] & CODE)) - _SMALL_A, _lower(int(text[at + 1] & CODE)) - _SMALL_A
        if 0 <= first < 26 and 0 <= second < 26 and _SECOND_LETTERS[first] >> second & 1:
            for number in range(len(PHRASES)):
                phrase = _PHRASES[_PHRASE_BOUNDS[number] : _PHRASE_BOUNDS[number + 1]]
                found |= int(_is_phrase(text, at, end, phrase)) << number
    return found


@inlined
def _is_phrase(text: Characters, at: int, end: int, phrase: Counts) -> bool:
    """Whether text[at:end] begins with a phrase, in any case."""
    if end - at < len(phrase):
        return False
    for place in range(len(phrase)):
        if _lower(int(text[at + place] & CODE)) != phrase[place]:
            return False
    return True


@compiled
def edit(text: Text, rules: LineRules) -> Edited:
    """What is left of texts for their readers: paragraphs stay apart, with one blank line, and code stays indented."""
    characters, bounds = text.characters, text.bounds
    left, left_bounds = np.empty(len(characters), np.int64), np.zeros(len(bounds), np.int64)
    lines = np.zeros((len(bounds) - 1, 3), np.int64)
    at = 0
    for number in range(len(lines)):
        at = _edit(characters[bounds[number] : bounds[number + 1]], rules, left, at, lines[number])
        left_bounds[number + 1] = at
    return Edited(Text(left[:at], left_bounds), lines)


@inlined
def _edit(text: Characters, rules: LineRules, left: Characters, at: int, lines: Counts) -> int:
    """Appends what is left of one text and gives how many characters there are now."""
    first, place, end, breaks = at, 0, len(text), 0
    while place < end:
        start, place = place, line_end(text, place, end)
        begin, last = strip(text, start, place)
        to = at + (min(breaks, 2) if at > first else 0)
        words = to + begin - start
        stop = _clean_line(text, begin, last, rules, left, words) if begin < last else words
        lines[0] += begin < last
        if stop < 0 or _falls_away(_phrases(left, words, stop), rules):
            lines[2] += 1
        else:
            lines[2] += stop - words < last - begin
            breaks += 1
            if stop > words:
                for newline in range(at, to):
                    left[newline] = _NEWLINE | SPACE
                for indented in range(words - to):
                    left[to + indented] = text[start + indented]
                lines[1] += strip(left, to, stop)[0] < stop
                at, breaks = stop, 1
        if place < end:
            place = next_line(text, place, end)
    return at
