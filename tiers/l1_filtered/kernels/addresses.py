"""Kernels that tell whether a chunk of text is an address, which stays one word."""

from __future__ import annotations

from tiers.kernel import compiled, inlined
from tiers.l1_filtered.kernels.text import ALPHANUMERIC, CODE, DECIMAL, HOST, LOWER, Characters

_LONGEST = 2000
_HASH, _HYPHEN, _PERIOD, _SLASH, _ZERO, _ONE, _TWO, _THREE, _NINE, _COLON, _QUESTION_MARK, _AT, _UNDERSCORE = map(
    ord, "#-./01239:?@_"
)


@compiled
def is_address(text: Characters, begin: int, end: int) -> bool:
    """Whether text[begin:end] is an address: scheme and user if any, host, port and path if any."""
    if end - begin > _LONGEST or not _has(text, _PERIOD, begin, end):
        return False
    host = _behind_scheme(text, begin, end)
    if _is_location(text, begin, end) or _is_location(text, _behind_user(text, begin, end), end):
        return True
    return host > begin and (_is_location(text, host, end) or _is_location(text, _behind_user(text, host, end), end))


@inlined
def _has(text: Characters, code: int, begin: int, end: int) -> bool:
    """Whether codes[begin:end] holds a code point."""
    for at in range(begin, end):
        if text[at] & CODE == code:
            return True
    return False


@inlined
def _behind_scheme(text: Characters, begin: int, end: int) -> int:
    """The place behind `scheme://`, or `begin` if text[begin:end] doesn't begin so."""
    at = begin
    while at < end and (text[at] & ALPHANUMERIC or _is_any(int(text[at] & CODE), _UNDERSCORE, _HYPHEN, _PERIOD)):
        at += 1
    slashes = at + 2 < end and text[at + 1] & CODE == _SLASH and text[at + 2] & CODE == _SLASH
    return at + 3 if at - begin > 1 and slashes and text[at] & CODE == _COLON else begin


@inlined
def _is_any(code: int, first: int, second: int, third: int) -> bool:
    """Whether a code point is one of three."""
    return code == first or code == second or code == third


@inlined
def _behind_user(text: Characters, begin: int, end: int) -> int:
    """The place behind the first `@`, or `begin` if codes[begin:end] has none or nothing before it."""
    for at in range(begin + 1, end):
        if text[at] & CODE == _AT:
            return at + 1 if text[begin] & CODE != _AT else begin
    return begin


@compiled
def _is_location(text: Characters, begin: int, end: int) -> bool:
    """Whether text[begin:end] is a host, by name or number, with port and path if any."""
    at = begin
    while at < end and (
        text[at] & (HOST | LOWER | DECIMAL) or _is_any(int(text[at] & CODE), _UNDERSCORE, _HYPHEN, _PERIOD)
    ):
        at += 1
    if not _is_host(text, begin, at) and not _is_number(text, begin, at):
        return False
    if at < end and text[at] & CODE == _COLON:
        digits = _decimals(text, at + 1, end)
        if not 2 <= digits <= 5:
            return False
        at += 1 + digits
    return at == end or _is_any(int(text[at] & CODE), _SLASH, _QUESTION_MARK, _HASH)


@inlined
def _decimals(text: Characters, at: int, end: int) -> int:
    """How many decimal digits follow each other from a place."""
    count = 0
    while at + count < end and text[at + count] & DECIMAL:
        count += 1
    return count


@inlined
def _is_host(text: Characters, begin: int, end: int) -> bool:
    """Whether text[begin:end] is labels with periods between, the last of them 2 to 63 small letters."""
    label, small = begin, True
    for at in range(begin, end):
        if text[at] & CODE == _PERIOD:
            if at == label or not text[label] & text[at - 1] & HOST or not _is_label(text, label, at):
                return False
            label, small = at + 1, True
        else:
            small &= text[at] & LOWER != 0
    return small and label > begin and 2 <= end - label <= 63


@inlined
def _is_label(text: Characters, begin: int, end: int) -> bool:
    """Whether text[begin:end] holds nothing but characters of a label."""
    for at in range(begin, end):
        if not text[at] & HOST and text[at] & CODE != _UNDERSCORE and text[at] & CODE != _HYPHEN:
            return False
    return True


@inlined
def _is_number(text: Characters, begin: int, end: int) -> bool:
    """Whether text[begin:end] is an address of four numbers, the first from 1 to 223."""
    first, digits = text[begin] & CODE if begin < end else 0, _decimals(text, begin, end)
    if first < _ONE or first > _NINE or digits > 3:
        return False
    if digits == 3 and first > _ONE:
        second, third = text[begin + 1] & CODE, text[begin + 2] & CODE
        low = second == _ZERO or second == _ONE or (second == _TWO and _ZERO <= third <= _THREE)
        if first > _TWO or not low:
            return False
    at = begin + digits
    for _ in range(3):
        digits = _decimals(text, at + 1, end)
        if at >= end or text[at] & CODE != _PERIOD or not 1 <= digits <= 3:
            return False
        at += 1 + digits
    return at == end
