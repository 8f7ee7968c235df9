"""What in a page may be a formula, told from names, from values of attributes and from delimiters alone.

`tiers.l0_raw.math` looks at elements and text themselves; what it would write is never passed over here.
"""

from __future__ import annotations

import numpy as np

from tiers.kernel import START, called, compiled, inlined
from tiers.l0_raw.kernels.names import (
    APOSTROPHE,
    BACKSLASH,
    BEGUN,
    CLOSING,
    CLOSING_BRACKET,
    COLON,
    DASH,
    DOLLAR,
    EQUALS,
    GRAVE,
    GREATER,
    LESS,
    LOWER_A,
    LOWER_Z,
    OPENING,
    OPENING_BRACKET,
    QUESTION_MARK,
    QUOTE,
    ZERO,
    Beginnings,
    Data,
    Table,
    beginnings,
    constant,
    hash_byte,
    holds,
    is_blank,
    lower,
    name_table,
    stands_at,
    value_of,
)

BY_TAG, BY_CLASS, BY_ATTRIBUTE, BY_IMAGE, BY_TYPE = (1 << bit for bit in range(5))
"""Marks of elements of which formulas are made, and what names tell them: the tag's, that of a class or an attribute,
the class, address or alternative text of an image, the type of a script."""
ROUND, SQUARE, ENVIRONMENT, DOLLARS, GRAVES = (1 << bit for bit in range(5, 10))
"""Marks of delimiters in text: what opens a formula and, `CLOSED_BY` bits above, what closes it."""
CLOSED_BY = 5

CLASS, ID, ROLE, HREF, SOURCE, ALTERNATIVE, TYPE, HIDDEN, ARIA_HIDDEN, STYLE, DATA_ROLE = range(1, 12)
ATTRIBUTES = name_table({
    "class": CLASS, "id": ID, "role": ROLE, "href": HREF, "src": SOURCE, "data-src": SOURCE, "data-lazy-src": SOURCE,
    "alt": ALTERNATIVE, "type": TYPE, "hidden": HIDDEN, "aria-hidden": ARIA_HIDDEN, "style": STYLE,
    "data-role": DATA_ROLE,
})  # fmt: skip
"""Attributes that tell something, here or in `flattening`."""
FORMULA = 99
"""Any attribute that holds a formula."""

_PIVOTS = np.zeros(256, np.bool_)
for _byte in b"<=\\$`":
    _PIVOTS[_byte] = True
_TELLING = beginnings(("class", "src", "data-src", "alt", "type"))
_LONGEST_NAME = 14
_BEGIN, _END, _MATH, _RENDER, _DISTANT = (
    constant(text) for text in (b"begin{", b"end{", b"math/", b"/math/render/", b"x-ck12")
)
_ADDRESSES = tuple(
    constant(text) for text in (b"latex", b"equation?", b"cht=tx", b"math", b"mimetex", b"codecogs.com/", b"eq.png?")
)


@compiled
def formula_marks(page: Data, names: Table, begun: Beginnings) -> int:
    """What a page has of the marks of formulas, in markup of any case, scripts and comments included.

    Args:
        page: The page.
        names: Tags, classes and attributes that formulas go by, with the mark of each.
        begun: How these begin.
    """
    marks, at, end = START, START, len(page)
    while at < end:
        byte = page[at]
        if _PIVOTS[byte]:
            if byte == LESS:
                marks |= mark_of_tag(page, at + 1, names, begun)
            elif byte == EQUALS:
                marks |= _mark_behind(page, at, names, begun)
            else:
                mark, size = _delimiter(page, at, marks)
                marks |= mark
                at += size - 1
        at += 1
    return marks


@called
def _delimiter(data: Data, at: int, marks: int) -> tuple[int, int]:
    """The mark of the delimiter at a backslash, dollar or accent, given those found before, and its length or 1."""
    byte, end = data[at], len(data)
    behind = data[at + 1] if at + 1 < end else byte
    if byte == GRAVE:
        return GRAVES << CLOSED_BY if marks & GRAVES else GRAVES, 1
    if byte == DOLLAR:
        if at + 1 == end or behind != DOLLAR:
            return 0, 1
        return DOLLARS << CLOSED_BY if marks & DOLLARS else DOLLARS, 2
    if behind == OPENING:
        return ROUND, 2
    if behind == CLOSING:
        return ROUND << CLOSED_BY, 2
    if behind == OPENING_BRACKET:
        return SQUARE, 2
    if behind == CLOSING_BRACKET:
        return SQUARE << CLOSED_BY, 2
    if stands_at(data, at + 1, end, _BEGIN):
        return ENVIRONMENT, 2
    return ENVIRONMENT << CLOSED_BY if stands_at(data, at + 1, end, _END) else 0, 1


@called
def mark_of_tag(data: Data, at: int, names: Table, begun: Beginnings) -> int:
    """The mark of the tag whose name is at `at`; 0 if it is none of a formula."""
    stop = min(at + _LONGEST_NAME, len(data))
    if at + 1 >= stop or not begun[lower(data[at]) << 8 | lower(data[at + 1])]:
        return 0
    hashed = BEGUN
    while at < stop and _in_name(lower(data[at])):
        hashed = hash_byte(hashed, lower(data[at]))
        at += 1
    return value_of(names, hashed) & BY_TAG


@inlined
def _in_name(byte: int) -> bool:
    return LOWER_A <= byte <= LOWER_Z or byte == DASH or ZERO <= byte <= COLON


@inlined
def _mark_behind(data: Data, equals: int, names: Table, begun: Beginnings) -> int:
    """The mark of the attribute whose name is before `equals`; 0 if it is none, or none of a formula."""
    last = equals
    while last and is_blank(data[last - 1]):
        last -= 1
    first = last
    while first and last - first < _LONGEST_NAME and _in_name(lower(data[first - 1])):
        first -= 1
    beginning = lower(data[first]) << 8 | lower(data[first + 1]) if last - first > 1 else 0
    if not _TELLING[beginning] and not begun[beginning]:
        return 0
    hashed = BEGUN
    for at in range(first, last):
        hashed = hash_byte(hashed, lower(data[at]))
    kind = kind_of_attribute(hashed, names)
    if not kind:
        return 0
    begin, end = equals + 1, len(data)
    while begin < end and is_blank(data[begin]):
        begin += 1
    quote = data[begin] if begin < end else 0
    quoted = quote == QUOTE or quote == APOSTROPHE
    stop = begin = begin + quoted
    while stop < end and (data[stop] != quote if quoted else not (is_blank(data[stop]) or data[stop] == GREATER)):
        stop += 1
    return mark_of_value(data, begin, stop, kind, names, begun)


@inlined
def kind_of_attribute(hashed: np.uint64, names: Table) -> int:
    """Which of `ATTRIBUTES` has this hash of its name, or `FORMULA`; else 0."""
    kind = value_of(ATTRIBUTES, hashed)
    return FORMULA if not kind and value_of(names, hashed) & BY_ATTRIBUTE else kind


@called
def mark_of_value(data: Data, begin: int, end: int, kind: int, names: Table, begun: Beginnings) -> int:
    """The mark of an attribute of this kind with the value data[begin:end]; 0 if it is none of a formula."""
    if kind == CLASS:
        return _mark_of_classes(data, begin, end, names, begun)
    if kind == SOURCE:
        return BY_IMAGE if _is_formula_address(data, begin, end) else 0
    first = data[begin] if begin < end else 0
    if kind == ALTERNATIVE:
        return BY_IMAGE if first == DOLLAR or first == BACKSLASH else 0
    if kind == TYPE:
        return BY_TYPE if stands_at(data, begin, end, _MATH) else 0
    return BY_ATTRIBUTE if kind == FORMULA else 0


@called
def _mark_of_classes(data: Data, begin: int, end: int, names: Table, begun: Beginnings) -> int:
    marks, at = START, begin
    while at < end:
        start, hashed = at, BEGUN
        telling = at + 1 < end and begun[data[at] << 8 | data[at + 1]]
        while at < end and not is_blank(data[at]):
            hashed = hash_byte(hashed, data[at]) if telling else hashed
            at += 1
        if telling:
            marks |= value_of(names, hashed) & (BY_CLASS | BY_IMAGE)
            marks |= BY_IMAGE if stands_at(data, start, at, _DISTANT) else 0
        at += 1
    return marks


@called
def _is_formula_address(data: Data, begin: int, end: int) -> bool:
    """Whether an image's address may hold TeX, or be that of a picture of it."""
    for at in range(begin, end):
        if data[at] == QUESTION_MARK:
            for part in _ADDRESSES:
                if holds(data, begin, end, part):
                    return True
            return False
    return holds(data, begin, end, _RENDER)
