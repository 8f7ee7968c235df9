"""Compiled loops over the bytes of texts: what the scorer sees of them, and its scores.

Texts are UTF-8 as Arrow keeps it: `data` and the `offsets` at which documents begin [D + 1]. A *token* is a run of
letters and digits, or a single sign or ideograph; the first byte of a character tells which. Arrays carry their shape
as a suffix: D documents, N texts, K outputs, P places of hashed features.

A place's weights are integers and lie behind a *stamp*, the number of the last document that has it: one look at the
memory tells whether the document had it before and what it is worth, and sums don't depend on their order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit

SPACE, WORD, SIGN = 0, 1, 2
"""What a character is part of: nothing, a word, a token of its own."""
INSIDE = 4
"""No first byte of a character."""

_KIND = 3
_BASIS, _PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
_ROLL = np.uint64(0x9E3779B97F4A7C15)

Function = TypeVar("Function", bound=Callable[..., Any])


def kernel(function: Function) -> Function:
    """Compiles `function` when it is first called, and keeps the machine code on the disk where that can be written."""
    try:
        return cast("Function", njit(cache=True, nogil=True)(function))
    except RuntimeError:
        return cast("Function", njit(nogil=True)(function))


def inlined(function: Function) -> Function:
    """Makes a function part of the kernels that call it."""
    return cast("Function", njit(nogil=True, forceinline=True)(function))


@inlined
def mix(value: Any) -> Any:
    """Spreads 64 bits: the finaliser of SplitMix64 (Steele et al. 2014)."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@inlined
def token(data: Any, at: int, end: int, kinds: Any, folded: Any) -> tuple[Any, int]:
    """The hash (FNV-1a, mixed) of the token that begins at a byte, and where it ends."""
    value = (_BASIS ^ np.uint64(folded[data[at]])) * _PRIME
    more = WORD if kinds[data[at]] & _KIND == WORD else INSIDE
    at += 1
    while at < end and kinds[data[at]] & more:
        value = (value ^ np.uint64(folded[data[at]])) * _PRIME
        at += 1
    return mix(value), at


@inlined
def visit(place: Any, stamp: int, cells_P1K: Any, sums_K: Any, places: Any, count: Any) -> Any:
    """Adds the weights of a place if it is new to the document, which has `count`; gives 1 then, 0 otherwise."""
    new = np.int64(cells_P1K[place, 0] != stamp)  # no branch: nobody can guess it
    cells_P1K[place, 0] = stamp
    for k in range(len(sums_K)):
        sums_K[k] += new * cells_P1K[place, k + 1]
    if len(places):
        places[count] = place
    return new


@inlined
def scan(
    data: Any, begin: int, end: int, kinds: Any, folded: Any, stamp: int, cells_P1K: Any, sums_K: Any, places: Any
) -> Any:
    """Sums the weights of the distinct places of one text, those of its tokens and of pairs of neighbours.

    Fills in the sums, and the places themselves if there is room for them. Gives how many there are.
    """
    shift = np.uint64(64 - bits_of(len(cells_P1K)))
    count, before, at = 0, np.uint64(0), begin
    sums_K[:] = 0
    while at < end:
        if kinds[data[at]] & _KIND == SPACE:
            at += 1
            continue
        value, at = token(data, at, end, kinds, folded)
        count += visit(np.int64(value >> shift), stamp, cells_P1K, sums_K, places, count)
        if before:
            pair = ((before * _ROLL) ^ value) * _ROLL
            count += visit(np.int64(pair >> shift), stamp, cells_P1K, sums_K, places, count)
        before = value | np.uint64(1)  # no token is none
    return count


@kernel
def bits_of(size: int) -> int:
    """The logarithm to the base of two of a power of two."""
    bits = 0
    while 1 << bits < size:
        bits += 1
    return bits


@kernel
def see(data: Any, offsets_D: Any, limit: int, kinds: Any, folded: Any, size: int, places: Any, counts_D: Any) -> Any:
    """Writes the places of texts one behind the other and gives their number; fills in how many each text has.

    Of each text `limit` bytes are read; `size` places there are.
    """
    cells, sums = np.zeros((size, 1), np.int32), np.empty(0, np.int64)
    total = 0
    for d in range(len(offsets_D) - 1):
        begin, end = offsets_D[d], min(offsets_D[d + 1], offsets_D[d] + limit)
        counts_D[d] = scan(data, begin, end, kinds, folded, d + 1, cells, sums, places[total:])
        total += counts_D[d]
    return total


@kernel
def score(
    data: Any, offsets_D: Any, limit: int, kinds: Any, folded: Any, cells_P1K: Any, sums_DK: Any, counts_D: Any
) -> None:
    """Fills in the sums of the weights of each text's places, and how many there are.

    Of each text `limit` bytes are read.
    """
    cells_P1K[:, 0] = 0
    sums, places = np.empty(cells_P1K.shape[1] - 1, np.int64), np.empty(0, np.uint32)
    for d in range(len(offsets_D) - 1):
        begin, end = offsets_D[d], min(offsets_D[d + 1], offsets_D[d] + limit)
        counts_D[d] = scan(data, begin, end, kinds, folded, d + 1, cells_P1K, sums, places)
        sums_DK[d] = sums


@kernel
def gather(starts_N: Any, places: Any, vector_P: Any, out_N: Any) -> None:
    """The product of a matrix with a vector: the matrix has a row for each text, of ones at its places [N + 1]."""
    for n in range(len(out_N)):
        total = 0.0
        for i in range(starts_N[n], starts_N[n + 1]):
            total += vector_P[places[i]]
        out_N[n] = total


@kernel
def scatter(starts_N: Any, places: Any, vector_N: Any, out_P: Any) -> None:
    """The product of the same matrix, transposed, with a vector; added to `out_P`."""
    for n in range(len(vector_N)):
        for i in range(starts_N[n], starts_N[n + 1]):
            out_P[places[i]] += vector_N[n]
