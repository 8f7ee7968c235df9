"""Kernels that take lines out of texts as C4 does."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tiers.l1_filtered.kernels.lines import ends_in_ellipsis, line_end, next_line, strip
from tiers.l1_filtered.kernels.text import DECIMAL, SPACE, UNSPACED, Codes, Counts, Text, compiled

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
_FIRST_LETTERS = sum(1 << (letter - ord("a")) for letter in {ord(phrase[0]) for phrase in PHRASES})
_CITATIONS = np.array([ord(character) for character in "edit]citation needed]"])
_KELVIN = 0x212A  # Of characters beyond ASCII, only this one is a letter of a phrase in lower case.


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
        lines: Lines before and after that aren't blank [texts, 2].
        cut: Whether anything but white space went [texts].
    """

    text: Text
    lines: Counts
    cut: Counts


@compiled
def clean(text: Text, rules: LineRules) -> Cleaned:
    """What is left of texts for the rules that follow: lines without white space around them, and without blank ones.

    Lines for which a document is dropped stay, so that what is measured of the rest doesn't depend on that.
    """
    texts, size = len(text.bounds) - 1, len(text.codes)
    left = Text(np.empty(size, np.uint32), np.empty(size, np.uint32), np.empty(size + texts + 1, np.int64))
    first_lines, begins, ends = np.zeros(texts + 1, np.int64), np.empty(texts, np.int64), np.empty(texts, np.int64)
    stops = np.zeros((texts, 2), np.int64)
    at = lines = 0
    for number in range(texts):
        begin = at
        at, lines = _clean(text, number, rules, left, at, lines, stops[number])
        begins[number], ends[number] = strip(left.classes, begin, at)
        first_lines[number + 1] = lines
    left.bounds[lines] = at
    lines_left = Text(left.codes[:at], left.classes[:at], left.bounds[: lines + 1])
    return Cleaned(lines_left, first_lines, begins, ends, stops)


@compiled
def _clean(
    text: Text, number: int, rules: LineRules, left: Text, at: int, lines: int, stops: Counts
) -> tuple[int, int]:
    """Appends the lines that are left of one text; gives how many characters and lines there are now."""
    first, place, end = lines, text.bounds[number], text.bounds[number + 1]
    while place < end:
        start, place = place, line_end(text.classes, place, end)
        begin, last = strip(text.classes, start, place)
        to = at + 1 if lines > first else at
        stop = _clean_line(text, begin, last, rules, left, to)
        found = _phrases(left.codes, to, stop)
        if not stops[0] and not stops[1] and stop >= to:
            _look_for_stops(text, number, rules, left, to, stop, found, stops)
        if stop >= to and not _falls_away(found, rules):
            if lines > first:
                left.codes[at], left.classes[at] = ord("\n"), SPACE
            left.bounds[lines] = to
            at = stop
            lines += 1
        if place < end:
            place = next_line(text.codes, place, end)
    return at, lines


@compiled
def _look_for_stops(
    text: Text, number: int, rules: LineRules, left: Text, begin: int, end: int, found: int, stops: Counts
) -> None:
    """Notes what a document is dropped for if the line left[begin:end] holds it."""
    if rules.lorem_ipsum and found & _LOREM_IPSUM:
        stops[0] = 1
    elif rules.curly_bracket and not (rules.javascript and found & _JAVASCRIPT) and _brackets(left.codes, begin, end):
        stops[1] = _brackets(text.codes, text.bounds[number], text.bounds[number + 1])


@compiled
def _brackets(codes: Codes, begin: int, end: int) -> int:
    """Opening curly brackets in codes[begin:end]."""
    count = 0
    for at in range(begin, end):
        count += codes[at] == ord("{")
    return count


@compiled
def _falls_away(found: int, rules: LineRules) -> bool:
    """Whether a line with these phrases falls away."""
    return bool((rules.javascript and found & _JAVASCRIPT) or (rules.policies and found & _POLICIES))


@compiled
def _clean_line(text: Text, begin: int, end: int, rules: LineRules, left: Text, to: int) -> int:
    """Writes the line text[begin:end], which has no white space around it, without citation marks.

    Returns:
        Where what was written to left[to:] ends, or -1 if the line falls away for its form.
    """
    words, longest = _chunks(text.classes, begin, end)
    if words < rules.fewest_words or longest > rules.longest_word:
        return -1
    at = to
    while begin < end:
        mark = _citation(text, begin, end) if rules.citations and text.codes[begin] == ord("[") else 0
        if not mark:
            left.codes[at], left.classes[at] = text.codes[begin], text.classes[begin]
            at += 1
        begin += max(mark, 1)
    return -1 if rules.terminal_punctuation and not _ends_well(left.codes, to, at) else at


@compiled
def _chunks(classes: Codes, begin: int, end: int) -> tuple[int, int]:
    """How many words, split at white space, classes[begin:end] has, and the length of the longest."""
    words = longest = length = 0
    for at in range(begin, end):
        if classes[at] & (SPACE | UNSPACED):
            words += (length > 0) + (classes[at] & UNSPACED != 0)
            longest, length = max(longest, length), 0
        else:
            length += 1
    return words + (length > 0), max(longest, length)


@compiled
def _ends_well(codes: Codes, begin: int, end: int) -> bool:
    """Whether codes[begin:end] ends as a sentence or a quotation does, not in an ellipsis."""
    if begin == end or ends_in_ellipsis(codes, begin, end):
        return False
    last = codes[end - 1]
    marks = last == ord(".") or last == ord("?") or last == ord("!")
    return bool(marks or last == ord('"') or last == ord("'"))


@compiled
def _citation(text: Text, begin: int, end: int) -> int:
    """The length of `[12]`, `[]`, `[edit]` or `[citation needed]` at a bracket; 0 if none of these is there."""
    at = begin + 1
    while at < end and text.classes[at] & DECIMAL:
        at += 1
    if at < end and text.codes[at] == ord("]"):
        return at + 1 - begin
    if _stands_at(text.codes, begin + 1, end, _CITATIONS[:5]):
        return 6
    return 17 if _stands_at(text.codes, begin + 1, end, _CITATIONS[5:]) else 0


@compiled
def _lower(code: int) -> int:
    """The lower case of ASCII, and of what becomes ASCII."""
    if ord("A") <= code <= ord("Z"):
        return code + 32
    return ord("k") if code == _KELVIN else code


@compiled
def _stands_at(codes: Codes, at: int, end: int, phrase: Counts) -> bool:
    """Whether codes[at:end] begins with a phrase, as it is."""
    if end - at < len(phrase):
        return False
    for place in range(len(phrase)):
        if codes[at + place] != phrase[place]:
            return False
    return True


@compiled
def _phrases(codes: Codes, begin: int, end: int) -> int:
    """Which of `PHRASES` codes[begin:end] holds, in any case, as bits."""
    found = 0
    for at in range(begin, end):
        letter = _lower(int(codes[at])) - ord("a")
        if 0 <= letter < 26 and _FIRST_LETTERS >> letter & 1:
            for number in range(len(_PHRASE_BOUNDS) - 1):
                phrase = _PHRASES[_PHRASE_BOUNDS[number] : _PHRASE_BOUNDS[number + 1]]
                if phrase[0] == letter + ord("a") and _is_phrase(codes, at, end, phrase):
                    found |= 1 << number
    return found


@compiled
def _is_phrase(codes: Codes, at: int, end: int, phrase: Counts) -> bool:
    """Whether codes[at:end] begins with a phrase, in any case."""
    if end - at < len(phrase):
        return False
    for place in range(len(phrase)):
        if _lower(int(codes[at + place])) != phrase[place]:
            return False
    return True


@compiled
def edit(text: Text, rules: LineRules) -> Edited:
    """What is left of texts for their readers: paragraphs stay apart, with one blank line, and code stays indented."""
    texts, size = len(text.bounds) - 1, len(text.codes)
    left = Text(np.empty(size, np.uint32), np.empty(size, np.uint32), np.zeros(texts + 1, np.int64))
    lines, cut = np.zeros((texts, 2), np.int64), np.zeros(texts, np.int64)
    at = 0
    for number in range(texts):
        at = _edit(text, number, rules, left, at, lines[number], cut)
        left.bounds[number + 1] = at
    return Edited(Text(left.codes[:at], left.classes[:at], left.bounds), lines, cut)


@compiled
def _edit(text: Text, number: int, rules: LineRules, left: Text, at: int, lines: Counts, cut: Counts) -> int:
    """Appends what is left of one text and gives how many characters there are now."""
    first, place, end = at, text.bounds[number], text.bounds[number + 1]
    breaks = 0
    while place < end:
        start, place = place, line_end(text.classes, place, end)
        begin, last = strip(text.classes, start, place)
        to = at + (min(breaks, 2) if at > first else 0)
        stop = _clean_line(text, begin, last, rules, left, to + begin - start) if begin < last else to
        lines[0] += begin < last
        if stop < 0 or _falls_away(_phrases(left.codes, to + begin - start, stop), rules):
            cut[number] = 1
        elif begin == last or stop == to + begin - start:
            cut[number] |= begin < last
            breaks += 1
        else:
            cut[number] |= stop - to < last - start
            _indent(text, start, begin, left, at, to)
            lines[1] += strip(left.classes, to, stop)[0] < stop
            at, breaks = stop, 1
        if place < end:
            place = next_line(text.codes, place, end)
    return at


@compiled
def _indent(text: Text, start: int, begin: int, left: Text, at: int, to: int) -> None:
    """Writes newlines to left[at:to] and the indentation text[start:begin] behind them."""
    for place in range(at, to):
        left.codes[place], left.classes[place] = ord("\n"), SPACE
    for place in range(begin - start):
        left.codes[to + place], left.classes[to + place] = text.codes[start + place], text.classes[start + place]
