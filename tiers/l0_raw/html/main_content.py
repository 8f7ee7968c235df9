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

from tiers.l0_raw.html.flat import HEADINGS, FlatPage, Tag, attribute
from tiers.l0_raw.html.roles import Role

_SMALL_PRINT, _BOILERPLATE, _HIDDEN = Role.SMALL_PRINT, Role.BOILERPLATE, Role.HIDDEN

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
_ITEM_RUNS = {"p": 1000, "tr": 4, **dict.fromkeys(("dd", "dt", "li", "td", "th"), 1)}
"""A link may be all of an element of few runs: whether it belongs to the page is up to its list or table."""
_TITLES = HEADINGS - {"h1"}
_TEASER = 500
"""A shorter element with a heading that is a link is an entry of a list of articles."""
_SHORT = 200
_SURE = 250
"""Shorter main content is doubtful: Readability tries again below it with fewer rules."""
_HELD, _REST = 0.5, 0.3
"""Boilerplate by name is content if it holds this share of the page and leaves less than that."""
_WIDER, _WIDER_WITHIN = 1.5, 1.2
"""An element around the best one is content too if it is worth this much more; less will do in `main` or `article`."""
_POST_DEPTH = 8
"""How many elements from the best one up may be the post that it stands in."""
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
    left_out = [tag.role >= _HIDDEN for tag in page.opened]
    return MainContent([0], left_out, sum(page.text), sum(page.linked), sum(page.text))


def main_content(page: FlatPage) -> MainContent | None:
    """The main content of a page; `None` where no element is worth anything."""
    if not page.first:
        return None
    own = [_own_worth(page, element) if text else 0.0 for element, text in enumerate(page.text)]
    worth = _weigh(page, own, [tag.role is _BOILERPLATE for tag in page.opened])
    if worth.text[0] < _REST * sum([each for each in own if each > 0]):
        worth = _weigh(page, own, _minor_boilerplate(page, own))
    alive = _alive(page, worth.left_out)
    best = max(alive, key=worth.dense.__getitem__)
    if worth.dense[best] <= 0:
        best = 0  # there is so little that none of it is better than the rest
    roots = _posts(page, worth, alive, best) or [_widened(page, worth, best)]
    text = sum(worth.text[root] for root in roots)
    if not text:
        return None
    return MainContent(roots, worth.left_out, text, sum(worth.linked[root] for root in roots), sum(page.text))


def _own_worth(page: FlatPage, element: int) -> float:
    name, text, linked = page.opened[element].name, page.text[element], page.linked[element]
    if name in HEADINGS:
        return 0.0 if linked < 0.5 * text else -text
    return text - _LINK_COST * linked - (0 if name in ("td", "th") else _RUN_COST * page.runs[element])


def _minor_boilerplate(page: FlatPage, own: list[float]) -> list[bool]:
    """Which elements are boilerplate by their role and, with those of their kind, don't hold most of the page."""
    positive = [worth if worth > 0 else 0.0 for worth in own]
    for element in range(len(own) - 1, 0, -1):
        if page.opened[element].role is not _HIDDEN:
            positive[page.parents[element]] += positive[element]
    kinds = [_kind(page, element) if tag.role is _BOILERPLATE else None for element, tag in enumerate(page.opened)]
    held: dict[tuple[str, str] | None, float] = defaultdict(float)
    for element, kind in enumerate(kinds):
        held[kind] += positive[element]
    return [kind is not None and held[kind] < _HELD * positive[0] for kind in kinds]


def _kind(page: FlatPage, element: int) -> tuple[str, str]:
    """An element's name and class, else id, without numbers: posts of a thread are of one kind."""
    tag = page.pieces[page.first[element]].partition(">")[0]
    names = attribute(tag, "class") or attribute(tag, "id")
    return page.opened[element].name, re.sub(r"\d+", "", names)


def _weigh(page: FlatPage, own: list[float], boilerplate: list[bool]) -> _Worth:
    worth = _Worth(page, own)
    text, linked, runs, plain, dense = worth.text, worth.linked, worth.runs, worth.plain, worth.dense
    teasers = _teasers(page)
    upwards = zip(range(len(own) - 1, 0, -1), reversed(page.opened), reversed(page.parents), strict=False)
    for element, tag, parent in upwards:
        leak = None
        if tag.role or plain[element] < 0:
            leak = _leak(tag, worth, element, boilerplate[element])
        if leak is None and element in teasers and text[element] < _TEASER:
            leak = _BOILERPLATE_WORTH
        if leak is None:
            plain[parent] += plain[element]
            dense[parent] += _DECAY * dense[element]
            if text[element]:
                text[parent] += text[element]
                linked[parent] += linked[element]
                runs[parent] += runs[element]
        else:
            worth.left_out[element] = True
            plain[parent] += leak
            dense[parent] += leak
    return worth


def _teasers(page: FlatPage) -> set[int]:
    """Elements with a heading that is a link to a page, where several of their kind have one."""
    found: dict[tuple[str, str], set[int]] = defaultdict(set)
    for element, tag in enumerate(page.opened):
        if tag.name in _TITLES and page.linked[element] > 0.8 * page.text[element]:
            pieces = page.pieces[page.first[element] : min(page.last[element], page.first[element] + 9)]
            # Posts and sections have links into a page to themselves.
            if not any(piece.startswith("a ") and "#" in attribute(piece, "href") for piece in pieces):
                found[_kind(page, page.parents[element])].add(page.parents[element])
    return {element for elements in found.values() if len(elements) > 1 for element in elements}


def _leak(tag: Tag, worth: _Worth, element: int, boilerplate: bool) -> float | None:
    """What leaving an element out costs its parent; `None` if it stays."""
    text, linked = worth.text[element], worth.linked[element]
    if tag.role >= _HIDDEN:
        return 0.0
    if boilerplate:
        return _BOILERPLATE_WORTH if text else 0.0
    if tag.role is _SMALL_PRINT and text < _SHORT:
        return 0.0
    is_item = worth.runs[element] <= _ITEM_RUNS.get(tag.name, 0)
    if worth.plain[element] < 0 and linked > _MOSTLY_LINKS * text and not is_item:
        return worth.plain[element] * _LEAK
    return None


def _alive(page: FlatPage, left_out: list[bool]) -> list[int]:
    """The elements that are neither left out nor within one that is."""
    dead = list(left_out)
    for element in range(1, len(dead)):
        dead[element] = dead[element] or dead[page.parents[element]]
    return [element for element, is_dead in enumerate(dead) if not is_dead]


def _posts(page: FlatPage, worth: _Worth, alive: list[int], best: int) -> list[int]:
    """All elements of one kind with the best one, or one around it, if they are the posts of a thread; else none."""
    around = best
    for _ in range(_POST_DEPTH):
        kind = _kind(page, around)
        if _POST.search(kind[1].lower()):
            posts: list[int] = []
            for element in alive:
                outside = not posts or page.first[element] > page.last[posts[-1]]
                if outside and worth.text[element] and _kind(page, element) == kind:
                    posts.append(element)
            if len(posts) > 1:
                return posts
        around = page.parents[around]
        if around < 0:
            break
    return []


def _widened(page: FlatPage, worth: _Worth, best: int) -> int:
    """The best element, or one around it that is worth much more, such as one that holds several sections."""
    around = []
    element = best
    while element >= 0:
        around.append(element)
        element = page.parents[element]
    landmarks = [element for element in around if _is_landmark(page, element)]
    for element in around:
        factor = _WIDER_WITHIN if landmarks and element >= landmarks[0] else _WIDER
        if page.opened[best].name == "section" and factor == _WIDER_WITHIN:
            factor = 1.0
        if worth.plain[element] > factor * worth.plain[best]:
            best = element
    return best


def _is_landmark(page: FlatPage, element: int) -> bool:
    tag = page.pieces[page.first[element]].partition(">")[0]
    return page.opened[element].name in ("article", "main") or 'role="main"' in tag
