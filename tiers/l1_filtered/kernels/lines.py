"""Kernels that measure texts by their lines, paragraphs and words."""

from __future__ import annotations

import numpy as np

from tiers.kernel import compiled, inlined
from tiers.l1_filtered.kernels.tallies import Tally, count_in, empty_tally, new_tally
from tiers.l1_filtered.kernels.text import (
    CODE,
    LETTER,
    LINE_BREAK,
    PUNCTUATION,
    SENTENCE_END,
    SPACE,
    SYMBOL,
    TERMINAL,
    Characters,
    Counts,
    Hashes,
    Shares,
    Text,
    hash_text,
    slot_of,
)
from tiers.l1_filtered.kernels.words import Words

_NEWLINE = ord("\n")
_RETURN, _HASH, _HYPHEN, _PERIOD, _BULLET, _ELLIPSIS = map(ord, "\r#-.•…")


@inlined
def strip(text: Characters, begin: int, end: int) -> tuple[int, int]:
    """Where text[begin:end] begins and ends without white space at either end."""
    while begin < end and text[begin] & SPACE:
        begin += 1
    while begin < end and text[end - 1] & SPACE:
        end -= 1
    return begin, end


@inlined
def line_end(text: Characters, at: int, end: int) -> int:
    """Where the line at a place ends, as `str.splitlines` splits."""
    while at < end and not text[at] & LINE_BREAK:
        at += 1
    return at


@inlined
def next_line(text: Characters, at: int, end: int) -> int:
    """Where the line behind the break at a place begins."""
    return at + 2 if text[at] & CODE == _RETURN and at + 1 < end and text[at + 1] & CODE == _NEWLINE else at + 1


@inlined
def newlines(text: Characters, begin: int, end: int) -> int:
    """How many newlines text[begin:end] holds."""
    count = 0
    for at in range(begin, end):
        count += text[at] & CODE == _NEWLINE
    return count


@inlined
def _newline(text: Characters, at: int, end: int) -> int:
    """Where the next newline is, or `end`."""
    while at < end and text[at] & CODE != _NEWLINE:
        at += 1
    return at


@inlined
def _tally_for(text: Characters, begins: Counts, ends: Counts) -> Tally:
    """A tally that holds the lines of any one of text[begins:ends]."""
    most = 0
    for number in range(len(begins)):
        most = max(most, newlines(text, begins[number], ends[number]))
    return new_tally(most + 2)


@compiled
def repeated_lines(text: Text) -> Shares:
    """Shares of paragraphs and of lines that occurred before, each in number and in characters.

    Returns:
        [texts, (paragraphs, their characters, lines, their characters)]; NaN for an empty text.
    """
    characters, bounds = text.characters, text.bounds
    shares = np.full((len(bounds) - 1, 4), np.nan)
    tally = _tally_for(characters, bounds[:-1], bounds[1:])
    for number in range(len(shares)):
        begin, end = bounds[number], bounds[number + 1]
        if begin == end:
            continue
        breaks = newlines(characters, begin, end)
        empty_tally(tally, breaks + 1)
        shares[number, 0], shares[number, 1] = _repeated_paragraphs(characters, begin, end, tally)
        empty_tally(tally, breaks + 2)
        shares[number, 2], shares[number, 3] = _repeated_lines(characters, begin, end, tally)
    return shares


@inlined
def _occurred(text: Characters, begin: int, end: int, tally: Tally) -> bool:
    """Whether text[begin:end] occurred before; from now on it did."""
    return bool(tally[count_in(tally, hash_text(text, begin, end)), 1] > 1)


@inlined
def _repeated_paragraphs(text: Characters, begin: int, end: int, tally: Tally) -> tuple[float, float]:
    """Paragraphs stand between blank lines."""
    size = end - begin
    begin, end = strip(text, begin, end)
    paragraphs = repeated = characters = 0
    while True:
        at = _newline(text, begin, end)
        while at < end and text[at + 1] & CODE != _NEWLINE:
            at = _newline(text, at + 1, end)
        paragraphs += 1
        if _occurred(text, begin, at, tally):
            repeated += 1
            characters += at - begin
        if at == end:
            return repeated / paragraphs, characters / size
        begin = at
        while text[begin] & CODE == _NEWLINE:
            begin += 1


@inlined
def _repeated_lines(text: Characters, begin: int, end: int, tally: Tally) -> tuple[float, float]:
    """Lines without the empty ones between them; a newline at either end leaves an empty line there."""
    first, last = text[begin] & CODE == _NEWLINE, text[end - 1] & CODE == _NEWLINE
    lines, repeated, characters = int(first) + int(last), int(first and last), 0
    at = begin
    while at < end:
        start, at = at, _newline(text, at, end)
        if at > start:
            lines += 1
            if _occurred(text, start, at, tally):
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
        stop_words: Their entries.

    Returns:
        [texts, (words that aren't symbols alone, their mean length; `#` and ellipses for each word; shares of lines
        that begin with a bullet and end in an ellipsis; share of words with a letter; different stop words)]; NaN where
        a text has no words, and for the mean length where all are symbols.
    """
    characters, bounds = text.characters, text.bounds
    hashes, lengths, kinds, of_texts = words
    found = np.full((len(bounds) - 1, 8), np.nan)
    met = np.full(len(stop_words), -1)
    for number in range(len(found)):
        first, last = of_texts[number], of_texts[number + 1]
        proper = length = alphabetic = stops = 0
        for word in range(first, last):
            alphabetic += kinds[word] & LETTER != 0
            proper += kinds[word] & SYMBOL == 0
            length += 0 if kinds[word] & SYMBOL else lengths[word]
            slot = slot_of(stop_words, hashes[word])
            if stop_words[slot, 0] and met[slot] != number:
                met[slot] = number
                stops += 1
        found[number, 0] = proper
        if proper:
            found[number, 1] = length / proper
        if last > first:
            _symbols(characters, bounds[number], bounds[number + 1], last - first, found[number])
            found[number, 6], found[number, 7] = alphabetic / (last - first), stops
    return found


@inlined
def _symbols(text: Characters, at: int, end: int, words: int, found: Shares) -> None:
    """Symbols for each word, and lines that begin with a bullet or end in an ellipsis, into `found`."""
    hashes = ellipses = lines = bullets = trailing = 0
    while at < end:
        start, at = at, line_end(text, at, end)
        for place in range(start, at):
            hashes += text[place] & CODE == _HASH
        ellipses += _ellipses(text, start, at)
        lines += 1
        first, last = strip(text, start, at)
        if first < last:
            bullets += text[first] & CODE == _BULLET or text[first] & CODE == _HYPHEN
            trailing += ends_in_ellipsis(text, first, last) or text[last - 1] & CODE == _ELLIPSIS
        if at < end:
            at = next_line(text, at, end)
    found[2], found[3], found[4], found[5] = hashes / words, ellipses / words, bullets / lines, trailing / lines


@inlined
def _ellipses(text: Characters, begin: int, end: int) -> int:
    """Ellipses in text[begin:end], as one character or as three periods, without overlap."""
    count = dots = 0
    for at in range(begin, end):
        dots = dots + 1 if text[at] & CODE == _PERIOD else 0
        if dots == 3 or text[at] & CODE == _ELLIPSIS:
            count += 1
            dots = 0
    return count


@inlined
def ends_in_ellipsis(text: Characters, begin: int, end: int) -> bool:
    """Whether text[begin:end] ends in three periods."""
    return bool(end - begin > 2 and text[end - 1] & CODE == text[end - 2] & CODE == text[end - 3] & CODE == _PERIOD)


@compiled
def sentences(words: Words, first_lines: Counts) -> Counts:
    """Sentences in texts: each line begins one, and so does every word after a mark that ends one [texts].

    Args:
        words: The words of each line.
        first_lines: Which lines are those of a text [texts + 1].
    """
    counts, kinds, of_lines = np.zeros(len(first_lines) - 1, np.int64), words.kinds, words.bounds
    for text in range(len(counts)):
        counts[text] = first_lines[text + 1] - first_lines[text]
        for line in range(first_lines[text], first_lines[text + 1]):
            ended = False
            for word in range(of_lines[line], of_lines[line + 1]):
                if kinds[word] & SENTENCE_END:
                    ended = True
                elif not kinds[word] & PUNCTUATION:
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
    characters, found = text.characters, np.full((len(begins), 5), np.nan)
    tally = _tally_for(characters, begins, ends)
    for number in range(len(begins)):
        begin, end = begins[number], ends[number]
        breaks = newlines(characters, begin, end)
        empty_tally(tally, breaks + 1)
        lines = ended = few = repeated = 0
        at = begin
        while at < end:
            start, at = at, _newline(characters, at, end)
            if not _is_blank(characters, start, at):
                lines += 1
                ended += characters[at - 1] & TERMINAL != 0
                few += at - start <= short
                repeated += at - start if _occurred(characters, start, at, tally) else 0
            at += 1
        found[number, 0] = lines
        if lines:
            found[number, 1], found[number, 2] = ended / lines, few / lines
            found[number, 3], found[number, 4] = repeated / (end - begin - breaks), breaks / words[number]
    return found


@inlined
def _is_blank(text: Characters, begin: int, end: int) -> bool:
    """Whether text[begin:end] is white space or nothing."""
    for at in range(begin, end):
        if not text[at] & SPACE:
            return False
    return True
