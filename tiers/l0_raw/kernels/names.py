"""Names and what they mean, as tables of hashes (FNV-1a) that kernels look into."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from tiers.kernel import called, inlined

Data = npt.NDArray[np.uint8]
Table = npt.NDArray[np.uint64]
Beginnings = npt.NDArray[np.bool_]

BEGUN = np.uint64(0xCBF29CE484222325)
"""The hash of no characters."""
_PRIME = np.uint64(0x100000001B3)
_HALF = np.uint64(32)

TAB, NEWLINE, FORM_FEED, RETURN, BLANK = b"\t\n\f\r "
QUOTE, DOLLAR, APOSTROPHE, OPENING, CLOSING, DASH, SLASH = b"\"$'()-/"
ZERO, NINE, COLON, LESS, EQUALS, GREATER, QUESTION_MARK = b"09:<=>?"
UPPER_A, UPPER_Z, OPENING_BRACKET, BACKSLASH, CLOSING_BRACKET, UNDERSCORE, GRAVE, LOWER_A, LOWER_Z = b"AZ[\\]_`az"


def name_table(values: Mapping[str, int]) -> Table:
    """A table of what names mean, which is not 0: (hash, value) [slots, 2], in free slots 0."""
    table = np.zeros((1 << (4 * len(values)).bit_length(), 2), np.uint64)
    for name, value in values.items():
        hashed = int(BEGUN)
        for byte in name.encode():
            hashed = (hashed ^ byte) * int(_PRIME) & 0xFFFFFFFFFFFFFFFF
        slot = (hashed ^ hashed >> 32) % len(table)
        while table[slot, 0]:
            slot = (slot + 1) % len(table)
        table[slot] = hashed, value
    return table


def name_bits(*groups: tuple[int, Iterable[str]]) -> Table:
    """A table of names, each with the bits of all groups that it is in."""
    values: dict[str, int] = {}
    for bit, names in groups:
        for name in names:
            values[name] = values.get(name, 0) | bit
    return name_table(values)


def beginnings(names: Iterable[str]) -> Beginnings:
    """For each two bytes whether a name begins with them: most others need not be looked up."""
    found = np.zeros(1 << 16, np.bool_)
    for name in names:
        found[int.from_bytes(name[:2].encode())] = True
    return found


@inlined
def hash_byte(hashed: np.uint64, byte: int) -> np.uint64:
    """The hash of what has the hash `hashed` and one byte more."""
    return (hashed ^ np.uint64(byte)) * _PRIME


@inlined
def value_of(table: Table, hashed: np.uint64) -> int:
    """What the name of this hash means; 0 if it isn't in the table."""
    slot = np.int64(hashed ^ (hashed >> _HALF)) & (len(table) - 1)
    while table[slot, 0] != 0:
        if table[slot, 0] == hashed:
            return int(np.int64(table[slot, 1]))
        slot = (slot + 1) & (len(table) - 1)
    return 0


@inlined
def is_blank(byte: int) -> bool:
    """Whether a byte is white space of HTML."""
    return byte == BLANK or byte == NEWLINE or byte == TAB or byte == RETURN or byte == FORM_FEED


@inlined
def lower(byte: int) -> int:
    """A byte, in lower case if it is a letter of ASCII."""
    return byte | 0x20 if UPPER_A <= byte <= UPPER_Z else byte


@inlined
def stands_at(data: Data, at: int, end: int, text: Data) -> bool:
    """Whether data[at:end] begins with `text`."""
    if end - at < len(text):
        return False
    for place in range(len(text)):
        if data[at + place] != text[place]:
            return False
    return True


@called
def holds(data: Data, begin: int, end: int, text: Data) -> bool:
    """Whether data[begin:end] holds `text`."""
    for at in range(begin, end - len(text) + 1):
        if data[at] == text[0] and stands_at(data, at, end, text):
            return True
    return False


def constant(text: bytes) -> Data:
    """`text` as kernels compare it."""
    return np.frombuffer(text, np.uint8)
