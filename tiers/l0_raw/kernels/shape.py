"""Counts over the bytes of a page that tell its shape."""

from __future__ import annotations

import numpy as np

from tiers.kernel import START, called, compiled, inlined
from tiers.l0_raw.kernels.names import (
    BLANK,
    FORM_FEED,
    GREATER,
    LESS,
    LOWER_A,
    LOWER_Z,
    NEWLINE,
    RETURN,
    SLASH,
    TAB,
    Data,
    constant,
    lower,
    stands_at,
)

_ESCAPE = 0x1B
_REPLACED = constant("\ufffd".encode())
_LICENSE, _CENS, _REL = constant(b"license"), constant(b"cen"), constant(b"rel")
_BLOCK, _NEAR = 1024, 60

# Elements that the parser opens anew in each paragraph until they are closed (HTML standard, section 13.2.4.3).
_MAY_BE_FORMATTING = np.zeros(1 << 16, np.bool_)
"""Whether a tag whose name begins with these two bytes may be one of them."""
for _name in (f"{letter}{end}" for letter in "bisu" for end in "> \t\n\f\r/"):
    _MAY_BE_FORMATTING[int.from_bytes(_name.encode())] = True
for _name in ("bi", "co", "em", "fo", "sm", "st", "tt"):
    _MAY_BE_FORMATTING[int.from_bytes(_name.encode())] = True


@inlined
def _is_control(byte: int) -> bool:
    """Whether it is a control character that no text holds in any encoding of the web but UTF-16."""
    white = (byte == TAB) | (byte == NEWLINE) | (byte == FORM_FEED) | (byte == RETURN)
    return (byte < BLANK) & (not white) & (byte != _ESCAPE)  # ISO-2022-JP uses escape


@compiled
def count_controls(data: Data) -> int:
    """How many control characters there are that no text holds."""
    controls = 0
    for at in range(len(data)):
        controls += _is_control(data[at])
    return controls


@compiled
def is_strange(data: Data) -> bool:
    """Whether UTF-8 holds such a control character or U+FFFD, in the time in which it is read once."""
    found = False
    for at in range(len(data) - 2):  # without a branch, so that many bytes are compared at once
        replaced = (data[at] == _REPLACED[0]) & (data[at + 1] == _REPLACED[1]) & (data[at + 2] == _REPLACED[2])
        found |= replaced | _is_control(data[at])
    for at in range(max(len(data) - 2, 0), len(data)):
        found |= _is_control(data[at])
    return found


@compiled
def count_tags(data: Data) -> int:
    """How many `<` there are."""
    count = 0
    for at in range(len(data)):
        count += data[at] == LESS
    return count


@compiled
def most_open(data: Data) -> tuple[int, int]:
    """How many elements, and how many formatting elements, may be open at once in a page, at most.

    Tags are counted as they stand there, also those in scripts and comments.
    """
    depth = deepest = formatting = most = START
    for at in range(len(data) - 3):
        if data[at] != LESS:
            continue
        end = data[at + 1] == SLASH
        first, second = lower(data[at + 1 + end]), lower(data[at + 2 + end])
        if LOWER_A <= first <= LOWER_Z:
            depth = depth - 1 if end and depth else depth + (not end)
            deepest = max(deepest, depth)
            if _MAY_BE_FORMATTING[first << 8 | second]:
                formatting = formatting - 1 if end and formatting else formatting + (not end)
                most = max(most, formatting)
    return deepest, most


@compiled
def most_parts(data: Data, least: int) -> int:
    """How many parts white space and slashes make of what lies between one `>` and the next, at most.

    Only pieces that cover a whole block of `least` bytes are looked at, so that not every byte need be.
    """
    most = at = START
    while at < len(data):
        end = at
        while end < len(data) and data[end] != GREATER:
            end += 1
        if end - at < least:
            at += least
        else:
            begin = at
            while begin and data[begin - 1] != GREATER:
                begin -= 1
            most, at = max(most, _parts(data, begin, end)), end + 1
    return most


@called
def _parts(data: Data, begin: int, end: int) -> int:
    count = 1
    for at in range(begin, end):
        byte = data[at]
        count += (byte == BLANK) | ((byte >= TAB) & (byte <= RETURN)) | (byte == SLASH)
    return count


@compiled
def may_link_to_licence(data: Data) -> bool:
    """Whether `license` stands shortly behind `rel`."""
    for begin in range(0, len(data), _BLOCK):
        block, count = data[begin : begin + _BLOCK + 2], 0
        for at in range(len(block) - 2):  # without a branch, so that many bytes are compared at once
            count += (block[at] == _CENS[0]) & (block[at + 1] == _CENS[1]) & (block[at + 2] == _CENS[2])
        for at in range(max(begin - 2, 0), begin + len(block) if count else 0):
            if stands_at(data, at, len(data), _LICENSE) and _holds_rel(data, max(at - _NEAR, 0), at):
                return True
    return False


@called
def _holds_rel(data: Data, begin: int, end: int) -> bool:
    for at in range(begin, end - 2):
        if lower(data[at]) == _REL[0] and lower(data[at + 1]) == _REL[1] and lower(data[at + 2]) == _REL[2]:
            return True
    return False
