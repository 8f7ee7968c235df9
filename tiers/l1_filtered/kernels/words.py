"""Kernels that split texts into words; `tiers.l1_filtered.words` says what a word is.

A *chunk* is what stands between white space. No rule looks beyond its ends, and the words of a chunk make it up, so a
split is the set of places where words begin; it takes time linear in the length of a chunk.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tiers.kernel import compiled, inlined
from tiers.l1_filtered.kernels.addresses import is_address
from tiers.l1_filtered.kernels.text import (
    ALPHANUMERIC,
    CODE,
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
    Characters,
    Counts,
    Hashes,
    Text,
    hash_text,
    slot_of,
)

LONGEST_SPECIAL = 16
_LONGEST_JOINED = 64
_LONGEST_UNIT = 5
_HALF, _ONE = np.uint64(32), np.uint64(1)
_PERIOD, _COMMA, _PLUS, _HYPHEN, _ASTERISK, _CARET = map(ord, ".,+-*^")
_ELLIPSIS, _EM_DASH, _DEGREE, _DOLLAR, _APOSTROPHE, _CURLY_APOSTROPHE = map(ord, "…—°$'’")
_A, _C, _F, _K, _S, _U, _SMALL_S = map(ord, "ACFKSUs")

UNIT = np.uint64(0x5851F42D4C957F2D)
"""Makes another hash of a chunk: that of what stands apart behind a digit."""


class Words(NamedTuple):
    """Attributes:
    hashes: One for each word [words].
    lengths: In characters [words].
    kinds: LETTER if it has one, SYMBOL and PUNCTUATION if all is, SENTENCE_END if it is one such mark [words].
    bounds: Where the words of each text begin, and the end of the last [texts + 1].
    """

    hashes: Hashes
    lengths: Counts
    kinds: Counts
    bounds: Counts


@compiled
def split_words(text: Text, special: Hashes) -> Words:
    """The words of texts.

    Args:
        text: The texts.
        special: Entries of special chunks, whose words no rule finds, with where words begin in them, as bits, and in
            the upper half where they would by the rules alone; of units, with 0.
    """
    characters, bounds, size = text.characters, text.bounds, len(text.characters)
    hashes, lengths, kinds = np.empty(size, np.uint64), np.empty(size, np.int64), np.empty(size, np.int64)
    starts, scratch = np.zeros(size + 1, np.bool_), np.empty(_LONGEST_JOINED + 1, np.int64)
    words, of_texts = 0, np.zeros(len(bounds), np.int64)
    for number in range(len(bounds) - 1):
        at, end = bounds[number], bounds[number + 1]
        while at < end:
            begin, at = at, _chunk_end(characters, at, end)
            if begin < at:
                _mark_words(characters, begin, at, special, starts, scratch)
                word = begin
                for place in range(begin + 1, at + 1):
                    if place == at or starts[place]:
                        hashes[words] = hash_text(characters, word, place)
                        lengths[words], kinds[words] = place - word, _kind(characters, word, place)
                        word = place
                        words += 1
            at += 1
        of_texts[number + 1] = words
    return Words(hashes[:words], lengths[:words], kinds[:words], of_texts)


@inlined
def _chunk_end(text: Characters, at: int, end: int) -> int:
    """Where the chunk at a place ends."""
    while at < end and not text[at] & SPACE:
        at += 1
    return at


@inlined
def _kind(text: Characters, begin: int, end: int) -> int:
    """The kind of the word text[begin:end]."""
    every, some = text[begin], text[begin]
    for at in range(begin + 1, end):
        every &= text[at] & ~SENTENCE_END
        some |= text[at]
    return int(every & (SYMBOL | PUNCTUATION | SENTENCE_END) | some & LETTER)


@inlined
def _mark_words(
    text: Characters, begin: int, end: int, special: Hashes, starts: npt.NDArray[np.bool_], scratch: Counts
) -> None:
    """Marks where words start within a chunk; it has no marks yet."""
    every, some = text[begin], text[begin]
    for at in range(begin + 1, end):
        every &= text[at]
        some |= text[at]
    slot = _special_slot(text, begin, end, special)
    if slot >= 0:
        _mark_special(text, begin, end, special[slot, 1], starts)
    elif not every & LETTER:
        _mark_by_rules(text, begin, end, special, starts)
        _join_special(text, begin, end, special, starts, scratch)
    if some & UNSPACED:
        for at in range(begin, end):
            if text[at] & UNSPACED:
                starts[at] = starts[at + 1] = True


@inlined
def _special_slot(text: Characters, begin: int, end: int, special: Hashes) -> int:
    """The slot of the special chunk that text[begin:end] is, or -1."""
    if begin == end or end - begin > LONGEST_SPECIAL:
        return -1
    slot = slot_of(special, hash_text(text, begin, end))
    return slot if special[slot, 1] else -1


@inlined
def _mark_special(text: Characters, begin: int, end: int, words: np.uint64, starts: npt.NDArray[np.bool_]) -> None:
    """Marks the words of a special chunk."""
    for at in range(begin, end):
        starts[at] = words >> np.uint64(at - begin) & _ONE


@compiled
def _mark_by_rules(text: Characters, begin: int, end: int, special: Hashes, starts: npt.NDArray[np.bool_]) -> None:
    """Takes prefixes and suffixes off a chunk until what is left is special or has none, and splits that inside."""
    slot = -1
    while begin < end and slot < 0:
        prefix = _prefix(text, begin, end)
        begin += prefix
        starts[begin] = True
        slot = _special_slot(text, begin, end, special) if prefix else -1
        if slot >= 0:
            break
        suffix = _suffix(text, begin, end, special)
        end -= suffix
        starts[end] = True
        if not prefix and not suffix:
            break
        slot = _special_slot(text, begin, end, special)
    if slot >= 0:
        _mark_special(text, begin, end, special[slot, 1], starts)
    else:
        _mark_inside(text, begin, end, starts)


@inlined
def _dots(text: Characters, at: int, end: int, step: int) -> int:
    """How many periods follow each other from a place, forwards (1) or backwards (-1)."""
    count = 0
    while at != end and text[at] & CODE == _PERIOD:
        at += step
        count += 1
    return count


@inlined
def _prefix(text: Characters, begin: int, end: int) -> int:
    """The length of what stands apart before the words of a chunk; 0 if nothing does."""
    first = text[begin] & CODE
    second = text[begin + 1] & CODE if begin + 1 < end else 0
    if first == _PERIOD:
        dots = _dots(text, begin, end, 1)
        return dots if dots > 1 else 0
    if first == _PLUS:
        return 0 if begin + 1 < end and text[begin + 1] & DECIMAL else 1
    if text[begin] & PREFIX:
        return 2 if first == _ELLIPSIS and second == _ELLIPSIS else 1
    if second == _DOLLAR and (first == _A or first == _C):
        return 2
    dollars = begin + 2 < end and text[begin + 2] & CODE == _DOLLAR
    return 3 if dollars and first == _U and second == _S else 0


@inlined
def _suffix(text: Characters, begin: int, end: int, special: Hashes) -> int:
    """The length of what stands apart behind the words of text[begin:end]; 0 if nothing does."""
    if begin == end:
        return 0
    last = text[end - 1] & CODE
    before = text[end - 2] & CODE if end - begin > 1 else 0
    if last == _PERIOD and before == _PERIOD:
        return _dots(text, end - 1, begin - 1, -1)
    unit = _unit(text, begin, end, special)
    if unit > 1:
        return unit
    if (last == _ELLIPSIS and before == _ELLIPSIS) or (
        (last == _SMALL_S or last == _S) and (before == _APOSTROPHE or before == _CURLY_APOSTROPHE)
    ):
        return 2
    if unit or text[end - 1] & SUFFIX:
        return 1
    if end - begin == 1:
        return 0
    if last == _PLUS:
        return 1 if text[end - 2] & DIGIT else 0
    return 1 if last == _PERIOD and _is_stopped(text, begin, end - 1) else 0


@inlined
def _unit(text: Characters, begin: int, end: int, special: Hashes) -> int:
    """The length of the longest unit or currency at the end of text[begin:end] that follows a digit; 0 without."""
    for size in range(min(_LONGEST_UNIT, end - begin - 1), 0, -1):
        if text[end - size - 1] & DIGIT and special[slot_of(special, hash_text(text, end - size, end) ^ UNIT), 0]:
            return size
    return 0


@inlined
def _is_stopped(text: Characters, begin: int, end: int) -> bool:
    """Whether a period behind text[begin:end] stands apart from it."""
    if text[end - 1] & STOPPED:
        return True
    if end - begin == 1:
        return False
    last = text[end - 1] & CODE
    degrees = text[end - 2] & CODE == _DEGREE and (last == _F or last == _C or last == _K)
    return bool(degrees or text[end - 1] & text[end - 2] & UPPER)


@inlined
def _mark_inside(text: Characters, begin: int, end: int, starts: npt.NDArray[np.bool_]) -> None:
    """Marks the words of what has lost its prefixes and suffixes."""
    inside = 0
    for at in range(begin, end):
        inside |= text[at] & INFIX
    if not inside or is_address(text, begin, end):
        return
    at = begin
    while at < end:
        size = _infix(text, begin, at, end) if text[at] & INFIX else 0
        if size and at > begin:
            starts[at] = starts[at + size] = True
        at += max(size, 1)


@inlined
def _is_letter(text: Characters, at: int, end: int) -> bool:
    """Whether a letter, or a number that is no digit, stands at a place before `end`."""
    return at < end and text[at] & (ALPHANUMERIC | DECIMAL) == ALPHANUMERIC


@inlined
def _infix(text: Characters, begin: int, at: int, end: int) -> int:
    """The length of what stands apart between words of text[begin:end] at a place; 0 if nothing does."""
    code = text[at] & CODE
    before = text[at - 1] if at > begin else 0
    behind = text[at + 1] if at + 1 < end else 0
    if code == _ELLIPSIS or text[at] & ICON:
        return 1
    if code == _PERIOD:
        dots = _dots(text, at, end, 1)
        return dots if dots > 1 or (before & (LOWER | QUOTE) and behind & (UPPER | QUOTE)) else 0
    if code == _COMMA:
        return int(at > begin and _is_letter(text, at - 1, end) and _is_letter(text, at + 1, end))
    if before & DIGIT and (code == _PLUS or code == _HYPHEN or code == _ASTERISK or code == _CARET):
        if behind & DIGIT or (at + 1 < end and text[at + 1] & CODE == _HYPHEN):
            return 1
    if not before & ALPHANUMERIC or code == _PLUS or code == _ASTERISK or code == _CARET:
        return 0
    return _joint(text, at, end)


@inlined
def _joint(text: Characters, at: int, end: int) -> int:
    """The length of the dash, colon or the like between the character before and a letter; 0 without the letter."""
    code, size = text[at] & CODE, 1
    longest = 3 if code == _HYPHEN else 2 if code == _EM_DASH else 1
    while size < longest and at + size < end and text[at + size] & CODE == code:
        size += 1
    return size if _is_letter(text, at + size, end) else 0


@compiled
def _join_special(
    text: Characters, begin: int, end: int, special: Hashes, starts: npt.NDArray[np.bool_], words: Counts
) -> None:
    """Marks anew each run of words that make up a special chunk, longest runs first, without overlap.

    A chunk of very many words is left as it is: it's no language, and emoticons in it don't matter.
    """
    count, heads = 0, 0
    for at in range(begin, end):
        if at == begin or starts[at]:
            if count == _LONGEST_JOINED:
                return
            words[count] = at
            heads |= text[at]
            count += 1
    if not heads & HEAD:
        return
    words[count] = end
    joined = np.uint64(0)
    for size in range(min(count, LONGEST_SPECIAL), 1, -1):
        for first in range(count - size + 1):
            run = np.uint64((1 << size) - 1) << np.uint64(first)
            if text[words[first]] & HEAD and not joined & run:
                slot = _special_slot(text, words[first], words[first + size], special)
                if slot >= 0 and _is_run(words, first, first + size, special[slot, 1] >> _HALF):
                    _mark_special(text, words[first], words[first + size], special[slot, 1], starts)
                    joined |= run


@inlined
def _is_run(words: Counts, first: int, last: int, run: np.uint64) -> bool:
    """Whether words, by where they start, are those of a special chunk by the rules alone."""
    for word in range(first, last):
        run ^= _ONE << np.uint64(words[word] - words[first])
    return bool(run == 0)
