"""How much the block elements of a page are worth; `tiers.l0_raw.html.main_content` tells why."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tiers.kernel import START, called, compiled, inlined
from tiers.l0_raw.kernels.flattening import (
    ALIKE,
    LENGTH,
    LINKED,
    LINKS_INTO_PAGE,
    OF_NAME,
    PARENT,
    ROLE,
    RUNS,
    TRAITS,
    Rows,
)
from tiers.l0_raw.kernels.roles import BOILERPLATE, HIDDEN, SMALL_PRINT
from tiers.l0_raw.kernels.tags import H1, H6, NAMES

# Chosen on 45 pages, the even ones, of the corpus that `benchmarks/extraction.py` reports on.
_LINK_COST = 2.0
"""What a character in a link takes from the worth, in characters of text."""
_RUN_COST = 20.0
"""What a block takes: shorter ones are captions and buttons rather than sentences."""
_DECAY = 0.8
_LEAK = 0.3
"""How much of the negative worth of what is left out its parent bears."""
_BOILERPLATE_WORTH = -20.0
_MOSTLY_LINKS = 0.5
_TEASER = 500
"""A shorter element with a heading that is a link is an entry of a list of articles."""
_SHORT = 200
_HELD, _REST = 0.5, 0.3
"""Boilerplate by name is content if it holds this share of the page and leaves less than that."""
_ITEM_RUNS = np.zeros(len(NAMES), np.int64)
"""A link may be all of an element of few runs: whether it belongs to the page is up to its list or table."""
for _name, _runs in {"p": 1000, "tr": 4, **dict.fromkeys(("dd", "dt", "li", "td", "th"), 1)}.items():
    _ITEM_RUNS[NAMES.index(_name)] = _runs
_TD, _TH = NAMES.index("td"), NAMES.index("th")
_STAYS = np.nan

Flags = npt.NDArray[np.bool_]
Worths = npt.NDArray[np.float64]


class Weighed(NamedTuple):
    """What is left of each block element and of those in it, once what is left out has been taken from them.

    Attributes:
        sums: Characters, those in links, and runs [elements, 3].
        plain: Worth [elements].
        dense: Worth that decays from child to parent [elements].
        left_out: Whether it doesn't belong to what is around it [elements].
        alive: Whether neither it nor any around it is left out [elements].
        best: The densest of those that are alive.
    """

    sums: Rows
    plain: Worths
    dense: Worths
    left_out: Flags
    alive: Flags
    best: int


def weigh(elements: Rows) -> Weighed:
    """Weighs the block elements of a page, of which there is at least one, in time linear in their number."""
    return Weighed(*_weigh(elements))


@compiled
def _weigh(elements: Rows) -> tuple[Rows, Worths, Worths, Flags, Flags, int]:
    size = len(elements)
    boilerplate, left_out, alive = np.zeros(size, np.bool_), np.zeros(size, np.bool_), np.ones(size, np.bool_)
    sums, own, plain, dense, total = np.zeros((size, 3), np.int64), np.zeros(size), np.zeros(size), np.zeros(size), 0.0
    for element in range(size):
        boilerplate[element] = elements[element, ROLE] == BOILERPLATE
        if elements[element, LENGTH]:
            own[element] = _own_worth(elements[element])
            total += max(own[element], 0.0)
    teasers = _teasers(elements)
    _add_up(elements, own, boilerplate, teasers, sums, plain, dense, left_out)
    if sums[0, 0] < _REST * total:
        _exempt_content(elements, own, boilerplate)
        _add_up(elements, own, boilerplate, teasers, sums, plain, dense, left_out)
    best = START
    for element in range(1, size):
        alive[element] = alive[elements[element, PARENT]] and not left_out[element]
        if alive[element] and dense[element] > dense[best]:
            best = element
    return sums, plain, dense, left_out, alive, best


@called
def _own_worth(row: Rows) -> float:
    name, text, linked = row[OF_NAME], row[LENGTH], row[LINKED]
    if H1 <= name <= H6:
        return 0.0 if linked < 0.5 * text else -float(text)
    runs = 0 if name == _TD or name == _TH else row[RUNS]
    return float(text - _LINK_COST * linked - _RUN_COST * runs)


@called
def _add_up(
    elements: Rows,
    own: Worths,
    boilerplate: Flags,
    teasers: Flags,
    sums: Rows,
    plain: Worths,
    dense: Worths,
    left_out: Flags,
) -> None:
    """Adds up what the elements are worth, from the last to the first, starting with their own worth."""
    for element in range(len(elements)):
        plain[element] = dense[element] = own[element]
        sums[element, 0], sums[element, 1] = elements[element, LENGTH], elements[element, LINKED]
        sums[element, 2] = elements[element, RUNS]
    for element in range(len(elements) - 1, 0, -1):
        parent, leak = elements[element, PARENT], _STAYS
        if elements[element, ROLE] or plain[element] < 0:
            leak = _leak(elements[element], sums[element], plain[element], boilerplate[element])
        if np.isnan(leak) and teasers[element] and sums[element, 0] < _TEASER:
            leak = _BOILERPLATE_WORTH
        left_out[element] = not np.isnan(leak)
        if left_out[element]:
            plain[parent] += leak
            dense[parent] += leak
        else:
            plain[parent] += plain[element]
            dense[parent] += _DECAY * dense[element]
            for column in range(3 if sums[element, 0] else 0):
                sums[parent, column] += sums[element, column]


@called
def _leak(row: Rows, sums: Rows, plain: float, boilerplate: bool) -> float:
    """What leaving an element out costs its parent; NaN if it stays."""
    text, linked, runs = sums[0], sums[1], sums[2]
    if row[ROLE] >= HIDDEN:
        return 0.0
    if boilerplate:
        return _BOILERPLATE_WORTH if text else 0.0
    if row[ROLE] == SMALL_PRINT and text < _SHORT:
        return 0.0
    if plain < 0 and linked > _MOSTLY_LINKS * text and runs > _ITEM_RUNS[row[OF_NAME]]:
        return plain * _LEAK
    return _STAYS


@called
def _teasers(elements: Rows) -> Flags:
    """Elements with a heading that is a link to a page, where several of their kind have one."""
    found, count = np.zeros(len(elements), np.bool_), START
    for element in range(len(elements)):
        row = elements[element]
        # Posts and sections have links into a page to themselves.
        if H1 < row[OF_NAME] <= H6 and row[LINKED] > 0.8 * row[LENGTH] and not row[TRAITS] & LINKS_INTO_PAGE:
            count += not found[row[PARENT]]
            found[row[PARENT]] = True
    kinds, held = _kinds(count)
    for element in range(len(elements) if count else 0):
        if found[element]:
            held[_slot(kinds, elements[element, ALIKE])] += 1
    for element in range(len(elements) if count else 0):
        found[element] = found[element] and held[_slot(kinds, elements[element, ALIKE])] > 1
    return found


@called
def _exempt_content(elements: Rows, own: Worths, boilerplate: Flags) -> None:
    """Takes from boilerplate what, with the others of its kind, holds most of the page."""
    positive, count = np.zeros(len(own)), START + 1
    for element in range(len(own)):
        positive[element] = max(own[element], 0.0)
    for element in range(len(own) - 1, 0, -1):
        count += boilerplate[element]
        if elements[element, ROLE] != HIDDEN:
            positive[elements[element, PARENT]] += positive[element]
    kinds, held = _kinds(count)
    for element in range(len(own)):
        if boilerplate[element]:
            held[_slot(kinds, elements[element, ALIKE])] += positive[element]
    for element in range(len(own)):
        if boilerplate[element]:
            boilerplate[element] = held[_slot(kinds, elements[element, ALIKE])] < _HELD * positive[0]


@called
def _kinds(count: int) -> tuple[Rows, Worths]:
    """An empty table for so many kinds, and a sum for each."""
    size = 8
    while size < 2 * count:
        size *= 2
    return np.zeros(size, np.int64), np.zeros(size)


@inlined
def _slot(kinds: Rows, kind: int) -> int:
    """Where a kind is in a table, having entered it."""
    kind = kind if kind else 1
    slot = (kind ^ kind >> 32) & (len(kinds) - 1)
    while kinds[slot] != kind and kinds[slot] != 0:
        slot = (slot + 1) & (len(kinds) - 1)
    kinds[slot] = kind
    return slot
