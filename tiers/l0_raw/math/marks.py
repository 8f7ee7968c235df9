"""Whether a page could hold formulas, told from its bytes: many times faster than searching its tree."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from tiers.l0_raw.kernels.formulas import (
    BY_ATTRIBUTE,
    BY_CLASS,
    BY_IMAGE,
    BY_TAG,
    BY_TYPE,
    CLOSED_BY,
    DOLLARS,
    ENVIRONMENT,
    GRAVES,
    ROUND,
    SQUARE,
    formula_marks,
)
from tiers.l0_raw.kernels.names import Beginnings, Table, beginnings, name_bits
from tiers.l0_raw.math.elements import ATTRIBUTES, CLASSES, IMAGE_ATTRIBUTES, IMAGE_CLASSES, SELECTORS, TAGS

_KINDS = {BY_TAG: "tag", BY_TYPE: "type", BY_IMAGE: "image", BY_CLASS: "class", BY_ATTRIBUTE: "attribute"}
_TEX = ROUND | SQUARE | ENVIRONMENT | DOLLARS
_ASCIIMATH_RENDERERS = (b"ASCIIMath", b"AsciiMath", b"asciimath", b"AM_")


@lru_cache
def formula_names() -> tuple[Table, Beginnings]:
    """The names of tags, classes and attributes that formulas go by, each with its mark; and how they begin."""
    groups = (
        (BY_TAG, TAGS),
        (BY_CLASS, CLASSES),
        (BY_IMAGE, IMAGE_CLASSES),
        (BY_ATTRIBUTE, ATTRIBUTES),
        (BY_ATTRIBUTE | BY_IMAGE, IMAGE_ATTRIBUTES),
    )
    return name_bits(*groups), beginnings(name for _, names in groups for name in names)


def marks_of(page: bytes) -> int:
    """The marks of formulas in a page, in an encoding that extends ASCII; see `tiers.l0_raw.kernels.formulas`."""
    marks: int = formula_marks(np.frombuffer(page, np.uint8), *formula_names())
    return marks


def formula_selector(marks: int, page: bytes) -> str | None:
    """What selects the elements that may be formulas, or hold some; `None` if a page has none, also in its text.

    It is never `None`, nor too narrow, for one that has some.

    Args:
        marks: Those that were found in the page, or in the part of it that matters.
        page: The page.
    """
    selected = [part for mark, kind in _KINDS.items() if marks & mark for part in SELECTORS[kind]]
    pairs = marks & marks >> CLOSED_BY
    in_text = pairs & _TEX or (pairs & GRAVES and any(renderer in page for renderer in _ASCIIMATH_RENDERERS))
    return ", ".join(selected) if selected or in_text else None
