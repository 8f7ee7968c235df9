"""Kernels that measure texts by their lines, paragraphs and words."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tiers.l1_filtered.kernels.tallies import Tally, count_in, empty_tally, new_tally
from tiers.l1_filtered.kernels.text import (
    LETTER,
    LINE_BREAK,
    PUNCTUATION,
    SENTENCE_END,
    SPACE,
    SYMBOL,
    TERMINAL,
    Codes,
    Counts,
    Hashes,
    Text,
    compiled,
    hash_codes,
    slot_of,
)
from tiers.l1_filtered.kernels.words import Words

_NEWLINE = ord("\n")

Shares = npt.NDArray[np.float64]


@compiled
def strip(classes: Codes, begin: int, end: int) -> tuple[int, int]:
    """Where classes[begin:end] begins and ends without white space at either end."""
    while begin < end and classes[begin] & SPACE:
        begin += 1
    while begin < end and classes[end - 1] & SPACE:
        end -= 1
    return begin, end


@compiled
def line_end(classes: Codes, at: int, end: int) -> int:
    """Where the line at a place ends, as `str.splitlines` splits."""
    while at < end and not classes[at] & LINE_BREAK:
        at += 1
    return at


@compiled
def next_line(codes: Codes, at: int, end: int) -> int:
    """Where the line behind the break at a place begins."""
    return at + 2 if codes[at] == ord("\r") and at + 1 < end and codes[at + 1] == _NEWLINE else at + 1


@compiled
def newlines(codes: Codes, begin: int, end: int) -> int:
    """How many newlines codes[begin:end] holds."""
    count = 0
    for at in range(begin, end):
        count += codes[at] == _NEWLINE
    return count


@compiled
def _newline(codes: Codes, at: int, end: int) -> int:
    """Where the next newline is, or `end`."""
    while at < end and codes[at] != _NEWLINE:
        at += 1
    return at


@compiled
def _tally_for(codes: Codes, begins: Counts, ends: Counts) -> Tally:
    """A tally that holds the lines of any one of the texts codes[begins:ends]."""
    most = 0
    for number in range(len(begins)):
        most = max(most, newlines(codes, begins[number], ends[number]))
    return new_tally(most + 2)


@compiled
def repeated_lines(text: Text) -> Shares:
    """Shares of paragraphs and of lines that occurred before, each in number and in characters.

    Returns:
        [texts, (paragraphs, their characters, lines, their characters)]; NaN for an empty text.
    """
    texts = len(text.bounds) - 1
    shares = np.full((texts, 4), np.nan)
    tally = _tally_for(text.codes, text.bounds[:-1], text.bounds[1:])
    for number in range(texts):
        begin, end = text.bounds[number], text.bounds[number + 1]
        if begin == end:
            continue
        breaks = newlines(text.codes, begin, end)
        empty_tally(tally, breaks + 1)
        shares[number, 0], shares[number, 1] = _repeated_paragraphs(text, begin, end, tally)
        empty_tally(tally, breaks + 2)
        shares[number, 2], shares[number, 3] = _repeated_lines(text.codes, begin, end, tally)
    return shares


@compiled
def _occurred(codes: Codes, begin: int, end: int, tally: Tally) -> bool:
    """Whether codes[begin:end] occurred before; from now on it did."""
    return bool(tally.counts[count_in(tally, hash_codes(codes, begin, end))] > 1)


@compiled
def _repeated_paragraphs(text: Text, begin: int, end: int, tally: Tally) -> tuple[float, float]:
    """Paragraphs stand between blank lines."""
    size = end - begin
    begin, end = strip(text.classes, begin, end)
    paragraphs = repeated = characters = 0
    while True:
        at = _newline(text.codes, begin, end)
        while at < end and text.codes[at + 1] != _NEWLINE:
            at = _newline(text.codes, at + 1, end)
        paragraphs += 1
        if _occurred(text.codes, begin, at, tally):
            repeated += 1
            characters += at - begin
        if at == end:
            return repeated / paragraphs, characters / size
        begin = at
        while text.codes[begin] == _NEWLINE:
            begin += 1


@compiled
def _repeated_lines(codes: Codes, begin: int, end: int, tally: Tally) -> tuple[float, float]:
    """Lines without the empty ones between them; a newline at either end leaves an empty line there."""
    first, last = codes[begin] == _NEWLINE, codes[end - 1] == _NEWLINE
    lines, repeated, characters = int(first) + int(last), int(first and last), 0
    at = begin
    while at < end:
        start, at = at, _newline(codes, at, end)
        if at > start:
            lines += 1
            if _occurred(codes, start, at, tally):
                repeated += 1
                characters += at - start
        at += 1
    return repeated / lines, characters / (end - begin)


@compiled
def text_quality(text: Text, words: Words, stop_words: Hashes) -> Shares:
    """What Gopher's quality rules bound.

    Args:
        text: The texts.
        words: Their words.
        stop_words: A set of hashes.

    Returns:
        [texts, (words that aren't symbols alone, their mean length; `#` and ellipses for each word; shares of lines
        that begin with a bullet and end in an ellipsis; share of words with a letter; different stop words)]; NaN where
        a text has no words, and for the mean length where all are symbols.
    """
    texts = len(text.bounds) - 1
    found = np.full((texts, 8), np.nan)
    met = np.full(len(stop_words), -1)
    for number in range(texts):
        first, last = words.bounds[number], words.bounds[number + 1]
        proper, characters, alphabetic, stops = 0, 0, 0, 0
        for word in range(first, last):
            alphabetic += words.kinds[word] & LETTER != 0
            if not words.kinds[word] & SYMBOL:
                proper += 1
                characters += words.lengths[word]
            slot = slot_of(stop_words, words.hashes[word])
            if stop_words[slot] and met[slot] != number:
                met[slot] = number
                stops += 1
        found[number, 0] = proper
        if proper:
            found[number, 1] = characters / proper
        if last > first:
            _symbols(text, text.bounds[number], text.bounds[number + 1], last - first, found[number])
            found[number, 6], found[number, 7] = alphabetic / (last - first), stops
    return found


@compiled
def _symbols(text: Text, at: int, end: int, words: int, found: Shares) -> None:
    """Symbols for each word, and lines that begin with a bullet or end in an ellipsis, into `found`."""
    hashes = ellipses = lines = bullets = trailing = 0
    while at < end:
        start, at = at, line_end(text.classes, at, end)
        hashes += _hashes(text.codes, start, at)
        ellipses += _ellipses(text.codes, start, at)
        lines += 1
        first, last = strip(text.classes, start, at)
        if first < last:
            bullets += text.codes[first] == ord("•") or text.codes[first] == ord("-")
            trailing += ends_in_ellipsis(text.codes, first, last) or text.codes[last - 1] == ord("…")
        if at < end:
            at = next_line(text.codes, at, end)
    found[2], found[3], found[4], found[5] = hashes / words, ellipses / words, bullets / lines, trailing / lines


@compiled
def _hashes(codes: Codes, begin: int, end: int) -> int:
    count = 0
    for at in range(begin, end):
        count += codes[at] == ord("#")
    return count


@compiled
def _ellipses(codes: Codes, begin: int, end: int) -> int:
    """Ellipses in codes[begin:end], as one character or as three periods, without overlap."""
    count = dots = 0
    for at in range(begin, end):
        if codes[at] == ord("."):
            dots += 1
        else:
            count += dots // 3 + (codes[at] == ord("…"))
            dots = 0
    return count + dots // 3


@compiled
def ends_in_ellipsis(codes: Codes, begin: int, end: int) -> bool:
    """Whether codes[begin:end] ends in three periods."""
    return bool(end - begin > 2 and codes[end - 1] == codes[end - 2] == codes[end - 3] == ord("."))


@compiled
def sentences(words: Words, first_lines: Counts) -> Counts:
    """Sentences in texts: each line begins one, and so does every word after a mark that ends one [texts].

    Args:
        words: The words of each line.
        first_lines: Which lines are those of a text [texts + 1].
    """
    counts = np.diff(first_lines)
    for text in range(len(counts)):
        for line in range(first_lines[text], first_lines[text + 1]):
            ended = False
            for word in range(words.bounds[line], words.bounds[line + 1]):
                kind = words.kinds[word]
                if kind & SENTENCE_END:
                    ended = True
                elif not kind & PUNCTUATION:
                    counts[text] += ended
                    ended = False
    return counts


@compiled
def line_quality(text: Text, begins: Counts, ends: Counts, words: Counts, short: int) -> Shares:
    """What FineWeb's rules bound, of text[begins:ends].

    Args:
        text: The texts.
        begins: Where each begins [texts].
        ends: Where each ends [texts].
        words: How many words each has [texts].
        short: Characters up to which a line is short.

    Returns:
        [texts, (lines that aren't blank; shares of them that end in a terminal mark and that are short; share of
        characters in lines that occurred before; newlines for each word)]; NaN where there are no such lines.
    """
    found = np.full((len(begins), 5), np.nan)
    tally = _tally_for(text.codes, begins, ends)
    for number in range(len(begins)):
        begin, end = begins[number], ends[number]
        breaks = newlines(text.codes, begin, end)
        empty_tally(tally, breaks + 1)
        lines = ended = few = repeated = 0
        at = begin
        while at < end:
            start, at = at, _newline(text.codes, at, end)
            if _is_blank(text.classes, start, at):
                at += 1
                continue
            lines += 1
            ended += text.classes[at - 1] & TERMINAL != 0
            few += at - start <= short
            if _occurred(text.codes, start, at, tally):
                repeated += at - start
            at += 1
        found[number, 0] = lines
        if lines:
            found[number, 1], found[number, 2] = ended / lines, few / lines
            found[number, 3], found[number, 4] = repeated / (end - begin - breaks), breaks / words[number]
    return found


@compiled
def _is_blank(classes: Codes, begin: int, end: int) -> bool:
    """Whether classes[begin:end] is white space or nothing."""
    for at in range(begin, end):
        if not classes[at] & SPACE:
            return False
    return True
