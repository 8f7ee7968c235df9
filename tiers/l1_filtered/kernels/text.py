"""Texts as the kernels see them: characters behind one another, each a code point with its classes as single bits.

Kernels hand each other plain arrays, of which the inner ones are inlined; tuples of arrays cost time at each use, so
they stand only where Python calls.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tiers.kernel import compiled, inlined

CODE = (1 << 21) - 1
"""The bits of a character that are its code point."""
SPACE, LINE_BREAK, LETTER, ALPHANUMERIC, DECIMAL = (1 << bit for bit in range(21, 26))
"""`str.isspace`, a break of `str.splitlines`, `str.isalpha`, `str.isalnum`, `str.isdecimal`."""
DIGIT, LOWER, UPPER, HOST = (1 << bit for bit in range(26, 30))
"""0 to 9; lower and upper case (letters without case are both); what a host name's labels begin and end with."""
PREFIX, SUFFIX, INFIX, QUOTE, STOPPED = (1 << bit for bit in range(30, 35))
"""Stands apart before words, behind them; may do so inside them; a quote; what a period is cut off from."""
ICON, HEAD, UNSPACED = (1 << bit for bit in range(35, 38))
"""A symbol such as an emoji; may begin what is joined again; a character that is a word of its own."""
SYMBOL, PUNCTUATION, SENTENCE_END, TERMINAL = (1 << bit for bit in range(38, 42))
"""As in `tiers.l1_filtered.words`."""

Characters = npt.NDArray[np.int64]
Counts = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]
Shares = npt.NDArray[np.float64]

_MIX = np.uint64(0x9E3779B97F4A7C15)
_FINISH = np.uint64(0xD6E8FEB86659FD93)
_HALF = np.uint64(32)


class Text(NamedTuple):
    """Attributes:
    characters: Of all texts, one text behind the other [characters].
    bounds: Where texts begin, and the end of the last [texts + 1].
    """

    characters: Characters
    bounds: Counts


@inlined
def hash_text(text: Characters, begin: int, end: int) -> np.uint64:
    """64-bit hash of the code points in text[begin:end], three at a time; never 0, the same on every machine."""
    hashed, at = np.uint64(end - begin), begin
    while at < end - 2:
        three = (text[at] & CODE) | (text[at + 1] & CODE) << 21 | (text[at + 2] & CODE) << 42
        hashed = (hashed ^ np.uint64(three)) * _MIX
        hashed ^= hashed >> _HALF
        at += 3
    for rest in range(at, end):
        hashed = (hashed ^ np.uint64(text[rest] & CODE)) * _MIX
    hashed = (hashed ^ (hashed >> _HALF)) * _FINISH
    return hashed ^ (hashed >> _HALF) | np.uint64(1)


@inlined
def slot_of(entries: Hashes, hashed: np.uint64) -> int:
    """Where the entry of `hashed` is, or would be, among entries [slots, (hash, value)]; free ones have the hash 0."""
    slot = int(np.int64(hashed >> _HALF)) & (len(entries) - 1)
    while entries[slot, 0] != hashed and entries[slot, 0] != 0:
        slot = (slot + 1) & (len(entries) - 1)
    return slot


@compiled
def put_entries(entries: Hashes, text: Text, values: Hashes, other: np.uint64) -> None:
    """Enters texts with their values, or changes these; `other` sets entries of another kind apart."""
    for number in range(len(values)):
        hashed = hash_text(text.characters, text.bounds[number], text.bounds[number + 1]) ^ other
        slot = slot_of(entries, hashed)
        entries[slot, 0], entries[slot, 1] = hashed, values[number]


@compiled
def decode(data: npt.NDArray[np.uint8], offsets: Counts, table: Characters) -> Text:
    """Texts from UTF-8; broken ones give some characters.

    Args:
        data: The texts' bytes.
        offsets: Where texts begin, and the end of the last [texts + 1].
        table: The character of every code point.
    """
    characters, bounds = np.empty(offsets[-1] - offsets[0], np.int64), np.zeros(len(offsets), np.int64)
    at = 0
    for text in range(len(offsets) - 1):
        byte, end = offsets[text], offsets[text + 1]
        while byte < end:
            code, size = (int(data[byte]), 1) if data[byte] < 0x80 else _code_point(data, byte, end)
            characters[at] = table[code]
            byte += size
            at += 1
        bounds[text + 1] = at
    return Text(characters[:at], bounds)


@inlined
def _code_point(data: npt.NDArray[np.uint8], at: int, end: int) -> tuple[int, int]:
    """The code point beyond ASCII that begins at a byte, and its size."""
    first = int(data[at])
    size = 2 + (first >= 0xE0) + (first >= 0xF0)
    code = first & (0x7F >> size)
    for byte in range(at + 1, min(at + size, end)):
        code = code << 6 | (int(data[byte]) & 0x3F)
    return (code if code <= 0x10FFFF else 0xFFFD), size


@compiled
def encode(text: Text) -> tuple[npt.NDArray[np.uint8], Counts]:
    """UTF-8 of texts, and where each begins, with the end of the last [texts + 1]."""
    characters, bounds = text.characters, text.bounds
    size = 0
    for at in range(len(characters)):
        code = characters[at] & CODE
        size += 1 + (code >= 0x80) + (code >= 0x800) + (code >= 0x10000)
    data, offsets = np.empty(size, np.uint8), np.zeros(len(bounds), np.int64)
    byte = 0
    for number in range(len(bounds) - 1):
        for at in range(bounds[number], bounds[number + 1]):
            byte = _put(data, byte, int(characters[at] & CODE))
        offsets[number + 1] = byte
    return data, offsets


@inlined
def _put(data: npt.NDArray[np.uint8], at: int, code: int) -> int:
    """Writes a code point in UTF-8 and gives the place behind it."""
    if code < 0x80:
        data[at] = code
        return at + 1
    size = 2 + (code >= 0x800) + (code >= 0x10000)
    for byte in range(size - 1, 0, -1):
        data[at + byte] = 0x80 | (code & 0x3F)
        code >>= 6
    data[at] = (0xF00 >> size & 0xFF) | code
    return at + size
