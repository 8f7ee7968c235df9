"""Kernels that split texts into words; `tiers.l1_filtered.words` says what a word is.

A *chunk* is what stands between white space. No rule looks beyond its ends, and the words of a chunk make it up, so a
split is the set of places where words begin; it takes time linear in the length of a chunk.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tiers.l1_filtered.kernels.addresses import is_address
from tiers.l1_filtered.kernels.text import (
    ALPHANUMERIC,
    DECIMAL,
    DIGIT,
    HEAD,
    ICON,
    INFIX,
    LETTER,
    LOWER,
    PREFIX,
    PUNCTUATION,
    QUOTE,
    SENTENCE_END,
    SPACE,
    STOPPED,
    SUFFIX,
    SYMBOL,
    UNSPACED,
    UPPER,
    Codes,
    Counts,
    Hashes,
    Text,
    compiled,
    hash_codes,
    slot_of,
)

LONGEST_SPECIAL = 16
_LONGEST_JOINED = 64
_LONGEST_UNIT = 5


class Words(NamedTuple):
    """Attributes:
    hashes: One for each word [words].
    lengths: In characters [words].
    kinds: LETTER, SYMBOL, PUNCTUATION and SENTENCE_END [words].
    bounds: Where the words of each text begin, and the end of the last [texts + 1].
    """

    hashes: Hashes
    lengths: Counts
    kinds: Codes
    bounds: Counts


class Special(NamedTuple):
    """Chunks whose words no rule finds, and units of measure; sets of hashes with open addressing, 0 for no entry.

    Attributes:
        hashes: Of the chunks [slots].
        starts: Where words begin in a chunk, as bits [slots].
        runs: Where they would by the rules alone [slots].
        units: Hashes of what stands apart behind a digit [slots].
    """

    hashes: Hashes
    starts: Codes
    runs: Codes
    units: Hashes


@compiled
def split_words(text: Text, special: Special) -> Words:
    """The words of texts."""
    size = len(text.codes)
    words = Words(np.empty(size, np.uint64), np.empty(size, np.int64), np.empty(size, np.uint32), text.bounds.copy())
    starts, joined = np.zeros(size + 1, np.bool_), np.empty(_LONGEST_JOINED + 1, np.int64)
    count = 0
    for number in range(len(text.bounds) - 1):
        begin, end = text.bounds[number], text.bounds[number + 1]
        words.bounds[number] = count
        for at in range(begin, end + 1):
            if at == end or text.classes[at] & SPACE:
                if begin < at:
                    _mark_words(text, begin, at, special, starts, joined)
                    count = _put_words(text, begin, at, starts, words, count)
                begin = at + 1
    words.bounds[-1] = count
    return Words(words.hashes[:count], words.lengths[:count], words.kinds[:count], words.bounds)


@compiled
def _put_words(text: Text, begin: int, end: int, starts: npt.NDArray[np.bool_], words: Words, count: int) -> int:
    """Appends the words of a chunk, from where they start, and gives the new number of words."""
    word = begin
    for at in range(begin + 1, end + 1):
        if at == end or starts[at]:
            words.hashes[count] = hash_codes(text.codes, word, at)
            words.lengths[count] = at - word
            words.kinds[count] = _kind(text.classes, word, at)
            word = at
            count += 1
    return count


@compiled
def _kind(classes: Codes, begin: int, end: int) -> np.uint32:
    """The kind of the word classes[begin:end]."""
    every, some = np.uint32(SYMBOL | PUNCTUATION | SENTENCE_END), np.uint32(0)
    for at in range(begin, end):
        every &= classes[at]
        some |= classes[at]
    if end - begin > 1:
        every &= np.uint32(SYMBOL | PUNCTUATION)
    return every | (some & np.uint32(LETTER))


@compiled
def _mark_words(
    text: Text, begin: int, end: int, special: Special, starts: npt.NDArray[np.bool_], joined: Counts
) -> None:
    """Marks where words start within a chunk; it has no marks yet."""
    letters = np.uint32(LETTER)
    for at in range(begin, end):
        letters &= text.classes[at]
    if not _mark_special(text.codes, begin, end, special, starts) and not letters:
        _mark_by_rules(text, begin, end, special, starts)
        _join_special(text, begin, end, special, starts, joined)
    for at in range(begin, end):
        if text.classes[at] & UNSPACED:
            starts[at] = starts[at + 1] = True


@compiled
def _special_slot(codes: Codes, begin: int, end: int, special: Special) -> int:
    """The slot of the special chunk that codes[begin:end] is, or -1."""
    if begin == end or end - begin > LONGEST_SPECIAL:
        return -1
    slot = slot_of(special.hashes, hash_codes(codes, begin, end))
    return slot if special.hashes[slot] else -1


@compiled
def _mark_special(codes: Codes, begin: int, end: int, special: Special, starts: npt.NDArray[np.bool_]) -> bool:
    """Marks the words of codes[begin:end] if it is special, and tells whether it is."""
    slot = _special_slot(codes, begin, end, special)
    if slot >= 0:
        for at in range(begin, end):
            starts[at] = special.starts[slot] >> np.uint32(at - begin) & np.uint32(1)
    return slot >= 0


@compiled
def _mark_by_rules(text: Text, begin: int, end: int, special: Special, starts: npt.NDArray[np.bool_]) -> None:
    """Takes prefixes and suffixes off a chunk until what is left is special or has none, and splits that inside."""
    while begin < end and _special_slot(text.codes, begin, end, special) < 0:
        prefix = _prefix(text, begin, end)
        begin += prefix
        starts[begin] = True
        if prefix and _special_slot(text.codes, begin, end, special) >= 0:
            break
        suffix = _suffix(text, begin, end, special)
        end -= suffix
        starts[end] = True
        if not prefix and not suffix:
            break
    if begin < end and not _mark_special(text.codes, begin, end, special, starts):
        _mark_inside(text, begin, end, starts)


@compiled
def _dots(codes: Codes, at: int, end: int, step: int) -> int:
    """How many periods follow each other from a place, forwards (1) or backwards (-1)."""
    count = 0
    while at != end and codes[at] == ord("."):
        at += step
        count += 1
    return count


@compiled
def _prefix(text: Text, begin: int, end: int) -> int:
    """The length of what stands apart before the words of a chunk; 0 if nothing does."""
    first = text.codes[begin]
    second = text.codes[begin + 1] if begin + 1 < end else np.uint32(0)
    if first == ord("."):
        dots = _dots(text.codes, begin, end, 1)
        return dots if dots > 1 else 0
    if first == ord("+"):
        return 0 if begin + 1 < end and text.classes[begin + 1] & DECIMAL else 1
    if text.classes[begin] & PREFIX:
        return 2 if first == ord("…") and second == ord("…") else 1
    if second == ord("$") and (first == ord("A") or first == ord("C")):
        return 2
    dollars = begin + 2 < end and text.codes[begin + 2] == ord("$")
    return 3 if dollars and first == ord("U") and second == ord("S") else 0


@compiled
def _suffix(text: Text, begin: int, end: int, special: Special) -> int:
    """The length of what stands apart behind the words of text[begin:end]; 0 if nothing does."""
    if begin == end:
        return 0
    last = text.codes[end - 1]
    before = text.codes[end - 2] if end - begin > 1 else np.uint32(0)
    if last == ord(".") and before == ord("."):
        return _dots(text.codes, end - 1, begin - 1, -1)
    unit = _unit(text, begin, end, special)
    if unit > 1:
        return unit
    if (last == ord("…") and before == ord("…")) or (
        (last == ord("s") or last == ord("S")) and (before == ord("'") or before == ord("’"))
    ):
        return 2
    if unit or text.classes[end - 1] & SUFFIX:
        return 1
    if end - begin == 1:
        return 0
    if last == ord("+"):
        return 1 if text.classes[end - 2] & DIGIT else 0
    return 1 if last == ord(".") and _is_stopped(text, begin, end - 1) else 0


@compiled
def _unit(text: Text, begin: int, end: int, special: Special) -> int:
    """The length of the longest unit or currency at the end of text[begin:end] that follows a digit; 0 without."""
    for size in range(min(_LONGEST_UNIT, end - begin - 1), 0, -1):
        if (
            text.classes[end - size - 1] & DIGIT
            and special.units[slot_of(special.units, hash_codes(text.codes, end - size, end))]
        ):
            return size
    return 0


@compiled
def _is_stopped(text: Text, begin: int, end: int) -> bool:
    """Whether a period behind text[begin:end] stands apart from it."""
    if text.classes[end - 1] & STOPPED:
        return True
    if end - begin == 1:
        return False
    last = text.codes[end - 1]
    degrees = text.codes[end - 2] == ord("°") and (last == ord("F") or last == ord("C") or last == ord("K"))
    return bool(degrees or text.classes[end - 1] & text.classes[end - 2] & UPPER)


@compiled
def _mark_inside(text: Text, begin: int, end: int, starts: npt.NDArray[np.bool_]) -> None:
    """Marks the words of what has lost its prefixes and suffixes."""
    if is_address(text, begin, end):
        return
    at = begin
    while at < end:
        size = _infix(text, begin, at, end) if text.classes[at] & INFIX else 0
        if size and at > begin:
            starts[at] = starts[at + size] = True
        at += max(size, 1)


@compiled
def _is_letter(classes: Codes, at: int, end: int) -> bool:
    """Whether a letter, or a number that is no digit, stands at a place before `end`."""
    return at < end and classes[at] & (ALPHANUMERIC | DECIMAL) == ALPHANUMERIC


@compiled
def _infix(text: Text, begin: int, at: int, end: int) -> int:
    """The length of what stands apart between words of text[begin:end] at a place; 0 if nothing does."""
    code = text.codes[at]
    before = text.classes[at - 1] if at > begin else np.uint32(0)
    behind = text.classes[at + 1] if at + 1 < end else np.uint32(0)
    if code == ord("…") or text.classes[at] & ICON:
        return 1
    if code == ord("."):
        dots = _dots(text.codes, at, end, 1)
        return dots if dots > 1 or (before & (LOWER | QUOTE) and behind & (UPPER | QUOTE)) else 0
    if code == ord(","):
        return int(at > begin and _is_letter(text.classes, at - 1, end) and _is_letter(text.classes, at + 1, end))
    if before & DIGIT and (code == ord("+") or code == ord("-") or code == ord("*") or code == ord("^")):
        if behind & DIGIT or (at + 1 < end and text.codes[at + 1] == ord("-")):
            return 1
    if not before & ALPHANUMERIC or code == ord("+") or code == ord("*") or code == ord("^"):
        return 0
    return _joint(text, at, end)


@compiled
def _joint(text: Text, at: int, end: int) -> int:
    """The length of the dash, colon or the like between the character before and a letter; 0 without the letter."""
    code, size = text.codes[at], 1
    longest = 3 if code == ord("-") else 2 if code == ord("—") else 1
    while size < longest and at + size < end and text.codes[at + size] == code:
        size += 1
    return size if _is_letter(text.classes, at + size, end) else 0


@compiled
def _join_special(
    text: Text, begin: int, end: int, special: Special, starts: npt.NDArray[np.bool_], words: Counts
) -> None:
    """Marks anew each run of words that make up a special chunk, longest runs first, without overlap.

    A chunk of very many words is left as it is: it's no language, and emoticons in it don't matter.
    """
    count, heads = 0, np.uint32(0)
    for at in range(begin, end):
        if at == begin or starts[at]:
            if count == _LONGEST_JOINED:
                return
            words[count] = at
            heads |= text.classes[at]
            count += 1
    if not heads & HEAD:
        return
    words[count] = end
    joined = np.uint64(0)
    for size in range(min(count, LONGEST_SPECIAL), 1, -1):
        for first in range(count - size + 1):
            run = np.uint64((1 << size) - 1) << np.uint64(first)
            if text.classes[words[first]] & HEAD and not joined & run:
                if _is_run(text.codes, words[first : first + size + 1], special):
                    _mark_special(text.codes, words[first], words[first + size], special, starts)
                    joined |= run


@compiled
def _is_run(codes: Codes, words: Counts, special: Special) -> bool:
    """Whether words, by where they start and the last one ends, are those of a special chunk by the rules alone."""
    slot = _special_slot(codes, words[0], words[-1], special)
    if slot < 0:
        return False
    run = np.uint32(0)
    for start in words[:-1]:
        run |= np.uint32(1) << np.uint32(start - words[0])
    return bool(run == special.runs[slot])
