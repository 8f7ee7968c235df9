"""Kernels that tell whether a chunk of text is an address, which stays one word."""

from __future__ import annotations

import numpy as np

from tiers.l1_filtered.kernels.text import ALPHANUMERIC, DECIMAL, HOST, LOWER, Codes, Text, compiled

_LONGEST = 2000


@compiled
def is_address(text: Text, begin: int, end: int) -> bool:
    """Whether text[begin:end] is an address: scheme and user if any, host, port and path if any."""
    if end - begin > _LONGEST or not _has(text.codes, ord("."), begin, end):
        return False
    host = _behind_scheme(text, begin, end)
    if _is_location(text, begin, end) or _is_location(text, _behind_user(text.codes, begin, end), end):
        return True
    return host > begin and (
        _is_location(text, host, end) or _is_location(text, _behind_user(text.codes, host, end), end)
    )


@compiled
def _has(codes: Codes, code: int, begin: int, end: int) -> bool:
    """Whether codes[begin:end] holds a code point."""
    for at in range(begin, end):
        if codes[at] == code:
            return True
    return False


@compiled
def _behind_scheme(text: Text, begin: int, end: int) -> int:
    """The place behind `scheme://`, or `begin` if text[begin:end] doesn't begin so."""
    at = begin
    while at < end and (text.classes[at] & ALPHANUMERIC or _is_any(int(text.codes[at]), ord("_"), ord("-"), ord("."))):
        at += 1
    slashes = at + 2 < end and text.codes[at + 1] == ord("/") and text.codes[at + 2] == ord("/")
    return at + 3 if at - begin > 1 and slashes and text.codes[at] == ord(":") else begin


@compiled
def _is_any(code: int, first: int, second: int, third: int) -> bool:
    """Whether a code point is one of three."""
    return code == first or code == second or code == third


@compiled
def _behind_user(codes: Codes, begin: int, end: int) -> int:
    """The place behind the first `@`, or `begin` if codes[begin:end] has none or nothing before it."""
    for at in range(begin + 1, end):
        if codes[at] == ord("@"):
            return at + 1 if codes[begin] != ord("@") else begin
    return begin


@compiled
def _is_location(text: Text, begin: int, end: int) -> bool:
    """Whether text[begin:end] is a host, by name or number, with port and path if any."""
    at = begin
    while at < end and (
        text.classes[at] & (HOST | LOWER | DECIMAL) or _is_any(int(text.codes[at]), ord("_"), ord("-"), ord("."))
    ):
        at += 1
    if not _is_host(text, begin, at) and not _is_number(text, begin, at):
        return False
    if at < end and text.codes[at] == ord(":"):
        digits = _decimals(text.classes, at + 1, end)
        if not 2 <= digits <= 5:
            return False
        at += 1 + digits
    return at == end or _is_any(int(text.codes[at]), ord("/"), ord("?"), ord("#"))


@compiled
def _decimals(classes: Codes, at: int, end: int) -> int:
    """How many decimal digits follow each other from a place."""
    count = 0
    while at + count < end and classes[at + count] & DECIMAL:
        count += 1
    return count


@compiled
def _is_host(text: Text, begin: int, end: int) -> bool:
    """Whether text[begin:end] is labels with periods between, the last of them 2 to 63 small letters."""
    label, small = begin, True
    for at in range(begin, end):
        if text.codes[at] == ord("."):
            if at == label or not text.classes[label] & text.classes[at - 1] & HOST or not _is_label(text, label, at):
                return False
            label, small = at + 1, True
        else:
            small &= text.classes[at] & LOWER != 0
    return small and label > begin and 2 <= end - label <= 63


@compiled
def _is_label(text: Text, begin: int, end: int) -> bool:
    """Whether text[begin:end] holds nothing but characters of a label."""
    for at in range(begin, end):
        if not text.classes[at] & HOST and text.codes[at] != ord("_") and text.codes[at] != ord("-"):
            return False
    return True


@compiled
def _is_number(text: Text, begin: int, end: int) -> bool:
    """Whether text[begin:end] is an address of four numbers, the first from 1 to 223."""
    first, digits = text.codes[begin] if begin < end else np.uint32(0), _decimals(text.classes, begin, end)
    if first < ord("1") or first > ord("9") or digits > 3:
        return False
    if digits == 3 and first > ord("1"):
        second, third = text.codes[begin + 1], text.codes[begin + 2]
        low = second == ord("0") or second == ord("1") or (second == ord("2") and ord("0") <= third <= ord("3"))
        if first > ord("2") or not low:
            return False
    at = begin + digits
    for _ in range(3):
        digits = _decimals(text.classes, at + 1, end)
        if at >= end or text.codes[at] != ord(".") or not 1 <= digits <= 3:
            return False
        at += 1 + digits
    return at == end
