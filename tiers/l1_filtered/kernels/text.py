"""Texts as the kernels see them: code points behind one another, and the classes of each, as single bits."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

SPACE, LINE_BREAK, LETTER, ALPHANUMERIC, DECIMAL = (1 << bit for bit in range(5))
"""`str.isspace`, a break of `str.splitlines`, `str.isalpha`, `str.isalnum`, `str.isdecimal`."""
DIGIT, LOWER, UPPER, HOST = (1 << bit for bit in range(5, 9))
"""0 to 9; lower and upper case (letters without case are both); what a host name's labels begin and end with."""
PREFIX, SUFFIX, INFIX, QUOTE, STOPPED = (1 << bit for bit in range(9, 14))
"""Stands apart before words, behind them; may do so inside them; a quote; what a period is cut off from."""
ICON, HEAD, UNSPACED = (1 << bit for bit in range(14, 17))
"""A symbol such as an emoji; may begin what is joined again; a character that is a word of its own."""
SYMBOL, PUNCTUATION, SENTENCE_END, TERMINAL = (1 << bit for bit in range(17, 21))
"""As in `words`; a word has the first two if all of its characters have, SENTENCE_END if it is one such mark."""

_MIX = np.uint64(0x9E3779B97F4A7C15)
_FINISH = np.uint64(0xD6E8FEB86659FD93)
_HALF = np.uint64(32)

Codes = npt.NDArray[np.uint32]
Counts = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]
Kernel = TypeVar("Kernel", bound=Callable[..., Any])


class Text(NamedTuple):
    """Attributes:
    codes: Code points of all texts, one text behind the other [characters].
    classes: Their classes [characters].
    bounds: Where texts begin, and the end of the last [texts + 1].
    """

    codes: Codes
    classes: Codes
    bounds: Counts


def _digest() -> str:
    """Of the sources of all kernels."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:16]


_SOURCES = _digest()


def compiled(function: Kernel) -> Kernel:
    """Compiles a kernel when it is first called; later processes find it beside its source, or in the user's cache.

    A kernel's entry there is found by its name and holds those it calls, so the name tells of which sources it is.
    Where no cache can be written, each process compiles anew.
    """
    function.__qualname__ += f"-{_SOURCES}"
    try:
        return cast(Kernel, numba.njit(cache=True, nogil=True)(function))
    except RuntimeError:
        return cast(Kernel, numba.njit(nogil=True)(function))


@compiled
def hash_codes(codes: Codes, begin: int, end: int) -> np.uint64:
    """64-bit hash of codes[begin:end], never 0, the same on every machine."""
    hashed = np.uint64(end - begin + 1)
    for at in range(begin, end):
        hashed = (hashed ^ np.uint64(codes[at])) * _MIX
    hashed = (hashed ^ (hashed >> _HALF)) * _FINISH
    return hashed ^ (hashed >> _HALF) | np.uint64(1)


@compiled
def slot_of(hashes: Hashes, hashed: np.uint64) -> int:
    """Where `hashed` is, or would be, in a set of hashes."""
    slot = int(np.int64(hashed >> _HALF)) & (len(hashes) - 1)
    while hashes[slot] != hashed and hashes[slot] != 0:
        slot = (slot + 1) & (len(hashes) - 1)
    return slot


@compiled
def decode(data: npt.NDArray[np.uint8], offsets: Counts, classes: Codes) -> Text:
    """Code points and classes of texts in UTF-8; broken ones give some code points.

    Args:
        data: The texts' bytes.
        offsets: Where texts begin, and the end of the last [texts + 1].
        classes: Of every code point there is.
    """
    codes = np.empty(offsets[-1] - offsets[0], np.uint32)
    found = np.empty(len(codes), np.uint32)
    bounds = np.zeros(len(offsets), np.int64)
    at = 0
    for text in range(len(offsets) - 1):
        byte, end = offsets[text], offsets[text + 1]
        while byte < end:
            code, size = _code_point(data, byte, end)
            codes[at], found[at] = code, classes[code]
            byte += size
            at += 1
        bounds[text + 1] = at
    return Text(codes[:at], found[:at], bounds)


@compiled
def _code_point(data: npt.NDArray[np.uint8], at: int, end: int) -> tuple[int, int]:
    """The code point that begins at a byte, and its size."""
    first = int(data[at])
    if first < 0x80:
        return first, 1
    size = 2 + (first >= 0xE0) + (first >= 0xF0)
    code = first & (0x7F >> size)
    for byte in range(at + 1, min(at + size, end)):
        code = code << 6 | (int(data[byte]) & 0x3F)
    return (code if code <= 0x10FFFF else 0xFFFD), size


@compiled
def encode(text: Text) -> tuple[npt.NDArray[np.uint8], Counts]:
    """UTF-8 of texts, and where each begins, with the end of the last [texts + 1]."""
    size = 0
    for code in text.codes[: text.bounds[-1]]:
        size += 1 + (code >= 0x80) + (code >= 0x800) + (code >= 0x10000)
    data, offsets = np.empty(size, np.uint8), np.zeros(len(text.bounds), np.int64)
    at = 0
    for number in range(len(text.bounds) - 1):
        for place in range(text.bounds[number], text.bounds[number + 1]):
            at = _put(data, at, int(text.codes[place]))
        offsets[number + 1] = at
    return data, offsets


@compiled
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
