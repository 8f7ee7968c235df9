"""Which part of a page is its main content.

Every block element is worth its text outside links, less what links and mere length of the list of blocks cost. Worth
adds up along the tree, as in the segmentation of Pasternack and Roth (WWW 2009, section 4), and decays from child to
parent, as in Readability (Arc90, 2010), so that the best element is where text lies densely. On the way up, elements
that their role or their links betray as boilerplate are left out.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass

from tiers.l0_raw.html.flat import HEADINGS, FlatPage, Tag
from tiers.l0_raw.html.roles import Role

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
_SHORT = 200
_SURE = 250
"""Shorter main content is doubtful: Readability tries again below it with fewer rules."""
_TEASER = 500
_TEASER_LINKS = 0.2
_HELD, _REST = 0.5, 0.3
"""Boilerplate by name is content if it holds this share of the page and leaves less than that."""
_SEVERAL = 1.2
"""Elements like the best one are content too if together they are worth this much more."""
_POST = re.compile(r"post|message|answer|reply|comment|bbwrapper|topic|thread")


@dataclass(frozen=True, slots=True)
class MainContent:
    """What to keep of a page.

    Attributes:
        roots: The block elements that hold it, in order, none within another.
        left_out: Elements within them that don't belong to it.
        text: Its characters, spaces within a block included.
        linked: How many of them are in links.
        page_text: The characters of the page.
    """

    roots: list[int]
    left_out: list[bool]
    text: int
    linked: int
    page_text: int

    def confidence(self) -> float:
        """How much there is to be said for it, from 0 to 1: little where it is short, or mostly links."""
        return min(1.0, self.text / _SURE) * (1 - self.linked / self.text) if self.text else 0.0


class _Worth:
    """Sums over the subtree of each block element, once what is left out has been taken from them."""

    def __init__(self, page: FlatPage, own: list[float]) -> None:
        self.text = list(page.text)
        self.linked = list(page.linked)
        self.runs = list(page.runs)
        self.plain = list(own)
        self.dense = list(own)
        self.left_out = [False] * len(own)


def whole_page(page: FlatPage) -> MainContent | None:
    """All of a page but what is hidden, and numbers of lines; `None` where it has no body."""
    if not page.first:
        return None
    left_out = [tag.role >= Role.HIDDEN for tag in page.opened]
    return MainContent([0], left_out, sum(page.text), sum(page.linked), sum(page.text))


def main_content(page: FlatPage) -> MainContent | None:
    """The main content of a page; `None` where no element is worth anything."""
    if not page.first:
        return None
    own = [_own_worth(page, element) for element in range(len(page.first))]
    worth = _weigh(page, own, _boilerplate(page, own))
    alive = _alive(page, worth.left_out)
    best = max(alive, key=worth.dense.__getitem__)
    roots = _all_like(page, worth, alive, best)
    text = sum(worth.text[root] for root in roots)
    if not text:
        return None
    return MainContent(roots, worth.left_out, text, sum(worth.linked[root] for root in roots), sum(page.text))


def _own_worth(page: FlatPage, element: int) -> float:
    text = page.text[element]
    if not text:
        return 0.0
    name, linked = page.opened[element].name, page.linked[element]
    if name in HEADINGS:
        return 0.0 if linked < 0.5 * text else -text
    return text - _LINK_COST * linked - (0 if name in ("td", "th") else _RUN_COST * page.runs[element])


def _boilerplate(page: FlatPage, own: list[float]) -> list[bool]:
    """Which elements are boilerplate by their role, unless they hold most of the page."""
    parents = page.parents
    roles = [tag.role for tag in page.opened]
    positive = [worth if worth > 0 else 0.0 for worth in own]
    for element in range(len(own) - 1, 0, -1):
        if roles[element] is Role.HIDDEN:
            positive[element] = 0.0
        positive[parents[element]] += positive[element]
    marked = [role is Role.BOILERPLATE for role in roles]
    within = [False] * len(marked)
    rest = positive[0]
    for element in range(1, len(marked)):
        parent = parents[element]
        within[element] = marked[parent] or within[parent]
        if marked[element] and not within[element]:
            rest -= positive[element]
    if rest >= _REST * positive[0]:
        return marked
    kinds = [_kind(page, element) if mark else None for element, mark in enumerate(marked)]
    held: dict[tuple[str, str] | None, float] = defaultdict(float)
    for element, kind in enumerate(kinds):
        held[kind] += positive[element]
    return [kind is not None and held[kind] < _HELD * positive[0] for kind in kinds]


def _kind(page: FlatPage, element: int) -> tuple[str, str]:
    """An element's name and class, without numbers: posts of a thread are of one kind."""
    tag = page.pieces[page.first[element]].partition(">")[0]
    found = re.search(r' class="([^"]*)"', tag)
    return page.opened[element].name, re.sub(r"\d+", "", found[1]) if found else ""


def _weigh(page: FlatPage, own: list[float], boilerplate: list[bool]) -> _Worth:
    worth = _Worth(page, own)
    text, linked, runs, plain, dense = worth.text, worth.linked, worth.runs, worth.plain, worth.dense
    # Whether an element holds a heading that is a link, as entries of lists of articles do.
    link_heading = [False] * len(own)
    for element in range(len(own) - 1, 0, -1):
        tag, parent = page.opened[element], page.parents[element]
        if tag.name in HEADINGS and tag.name != "h1" and linked[element] > 0.8 * text[element]:
            link_heading[element] = True
        leak = None
        if tag.role or text[element] < _TEASER or plain[element] < 0:
            leak = _leak(tag, worth, element, boilerplate[element], link_heading[element])
        if link_heading[element] and (tag.name in HEADINGS or (leak is None and text[element] < _TEASER)):
            link_heading[parent] = True
        if leak is None:
            plain[parent] += plain[element]
            dense[parent] += _DECAY * dense[element]
            text[parent] += text[element]
            linked[parent] += linked[element]
            runs[parent] += runs[element]
        else:
            worth.left_out[element] = True
            plain[parent] += leak
            dense[parent] += leak
    return worth


def _leak(tag: Tag, worth: _Worth, element: int, boilerplate: bool, link_heading: bool) -> float | None:
    """What leaving an element out costs its parent; `None` if it stays."""
    text, linked = worth.text[element], worth.linked[element]
    if tag.role >= Role.HIDDEN:
        return 0.0
    if boilerplate:
        return _BOILERPLATE_WORTH if text else 0.0
    if tag.role is Role.SMALL_PRINT and text < _SHORT:
        return 0.0
    if worth.plain[element] < 0 and linked > _MOSTLY_LINKS * text and tag.name != "p":
        return worth.plain[element] * _LEAK
    if text < _TEASER and tag.name not in HEADINGS and tag.name != "header":
        entry = tag.name in ("article", "li", "section") and linked > _TEASER_LINKS * text and worth.runs[element] > 1
        if link_heading or entry:
            return _BOILERPLATE_WORTH
    return None


def _alive(page: FlatPage, left_out: list[bool]) -> list[int]:
    """The elements that are neither left out nor within one that is."""
    dead = list(left_out)
    for element in range(1, len(dead)):
        dead[element] = dead[element] or dead[page.parents[element]]
    return [element for element, is_dead in enumerate(dead) if not is_dead]


def _all_like(page: FlatPage, worth: _Worth, alive: list[int], best: int) -> list[int]:
    """The best element, or all of its kind where they are the posts of a thread or the parts of an article."""
    name, names = kind = _kind(page, best)
    if not names or name == "p":
        return [best]
    same: list[int] = []
    end = -1
    for element in alive:
        if page.opened[element].name == name and page.first[element] > end and _kind(page, element) == kind:
            if element != best and page.first[element] < page.first[best] < page.last[element]:
                continue  # it holds the best one
            same.append(element)
            end = page.last[element]
    if _POST.search(names.lower()) or sum(worth.plain[element] for element in same) > _SEVERAL * worth.plain[best]:
        return [element for element in same if worth.text[element]]
    return [best]
