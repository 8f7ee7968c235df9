"""What the attributes of a tag tell, as a tree is serialised: `name="value"`, a blank before each."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tiers.kernel import called, inlined
from tiers.l0_raw.kernels.formulas import (
    ALTERNATIVE,
    ARIA_HIDDEN,
    CLASS,
    DATA_ROLE,
    HIDDEN,
    HREF,
    ID,
    ROLE,
    SOURCE,
    STYLE,
    TYPE,
    kind_of_attribute,
    mark_of_value,
)
from tiers.l0_raw.kernels.names import (
    BEGUN,
    BLANK,
    EQUALS,
    GREATER,
    NINE,
    QUOTE,
    ZERO,
    Beginnings,
    Data,
    Table,
    constant,
    hash_byte,
    holds,
    stands_at,
    value_of,
)
from tiers.l0_raw.kernels.roles import BOILERPLATE_ROLES, read_words
from tiers.l0_raw.kernels.tags import IMG, IS_BLOCK, IS_SKIPPED, NUMBER, SCRIPT

Facts = npt.NDArray[np.int64]

MARKS, FLAGS, CLASS_WORDS, ID_WORDS, CLASS_HASH, ID_HASH, FACTS = range(7)
"""Where facts of a tag stand: marks of formulas, flags, what the words of its class and id say, their hashes without
digits; and how many facts there are."""
HIDES, IS_BOILERPLATE, IS_MAIN, LINKS_INTO_PAGE, TELLS_LANGUAGE = (1 << bit for bit in range(5))
"""Flags of a tag: it is hidden, its role is that of boilerplate, or that of the main part; its address has a fragment;
it may tell the language of code."""

_TRUE, _MAIN, _DISPLAY_NONE, _HASH = (constant(text) for text in (b"true", b"main", b"display:none", b"#"))
_LANGUAGES = tuple(constant(text) for text in (b"lang", b"source-", b"brush"))


@inlined
def read_attributes(html: Data, at: int, end: int, names: Table, begun: Beginnings, meaning: int, facts: Facts) -> int:
    """Notes what a tag's attributes, which begin at `at`, say; gives the place behind the tag."""
    while at + 1 < end and html[at] == BLANK:
        hashed = hash_byte(BEGUN, html[at + 1])  # which may even be an equals sign
        at += 2
        while at + 1 < end and (html[at] != EQUALS or html[at + 1] != QUOTE):
            hashed = hash_byte(hashed, html[at])
            at += 1
        begin = at = at + 2
        while at < end and html[at] != QUOTE:
            at += 1
        kind = kind_of_attribute(hashed, names)
        if kind:
            if _may_tell_formula(kind, meaning):
                facts[MARKS] |= mark_of_value(html, begin, at, kind, names, begun)
            if not meaning & IS_SKIPPED:
                _read_attribute(html, begin, at, kind, meaning, facts)
        at += 1
    while at < end and html[at] != GREATER:
        at += 1
    return min(at + 1, end)


@called
def _may_tell_formula(kind: int, meaning: int) -> bool:
    """Whether an attribute of this kind tells anything of formulas at a tag of this meaning."""
    if meaning & IS_SKIPPED or kind == TYPE:
        return kind == TYPE and meaning & NUMBER == SCRIPT
    return meaning & NUMBER == IMG if kind == SOURCE or kind == ALTERNATIVE else True


@called
def _read_attribute(html: Data, begin: int, end: int, kind: int, meaning: int, facts: Facts) -> None:
    """Notes what an attribute of this kind with the value html[begin:end] says."""
    if kind == CLASS:
        for part in _LANGUAGES:
            facts[FLAGS] |= TELLS_LANGUAGE if holds(html, begin, end, part) else 0
    if meaning & IS_BLOCK and kind == CLASS:
        facts[CLASS_WORDS], facts[CLASS_HASH] = read_words(html, begin, end), _hash_without_digits(html, begin, end)
    elif meaning & IS_BLOCK and kind == ID:
        facts[ID_WORDS], facts[ID_HASH] = read_words(html, begin, end), _hash_without_digits(html, begin, end)
    elif kind == HREF:
        facts[FLAGS] |= LINKS_INTO_PAGE if holds(html, begin, end, _HASH) else 0
    elif meaning & IS_BLOCK:
        facts[FLAGS] |= _flags_of_block(html, begin, end, kind)


@called
def _flags_of_block(html: Data, begin: int, end: int, kind: int) -> int:
    """What any other attribute says of a block element."""
    if kind == ROLE and _is_boilerplate_role(html, begin, end):
        return IS_BOILERPLATE
    if kind == ROLE or kind == DATA_ROLE:
        return IS_MAIN if end - begin == len(_MAIN) and stands_at(html, begin, end, _MAIN) else 0
    if kind == HIDDEN:
        return HIDES if begin == end else 0
    if kind == ARIA_HIDDEN:
        return HIDES if begin == end or (end - begin == len(_TRUE) and stands_at(html, begin, end, _TRUE)) else 0
    return HIDES if kind == STYLE and _displays_nothing(html, begin, end) else 0


@called
def _is_boilerplate_role(html: Data, begin: int, end: int) -> bool:
    hashed = BEGUN
    for at in range(begin, end):
        hashed = hash_byte(hashed, html[at])
    return value_of(BOILERPLATE_ROLES, hashed) != 0


@called
def _displays_nothing(html: Data, begin: int, end: int) -> bool:
    """Whether a style holds `display:none`, blanks left aside."""
    matched = 0
    for at in range(begin, end):
        byte = html[at]
        if byte == _DISPLAY_NONE[matched]:
            matched += 1
            if matched == len(_DISPLAY_NONE):
                return True
        elif byte != BLANK:
            matched = 1 if byte == _DISPLAY_NONE[0] else 0
    return False


@called
def _hash_without_digits(html: Data, begin: int, end: int) -> np.int64:
    hashed = BEGUN
    for at in range(begin, end):
        if not ZERO <= html[at] <= NINE:
            hashed = hash_byte(hashed, html[at])
    return np.int64(hashed) if end > begin else np.int64(0)
