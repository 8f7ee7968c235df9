"""Which part of a page is its main content.

Every block element is worth its text outside links, less what links and mere length of the list of blocks cost. Worth
adds up along the tree, as in the segmentation of Pasternack and Roth (WWW 2009, section 4), and decays from child to
parent, as in Readability (Arc90, 2010), so that the best element is where text lies densely. On the way up, elements
that their role or their links betray as boilerplate are left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from tiers.l0_raw.html.flat import FlatPage
from tiers.l0_raw.html.serialised import attribute
from tiers.l0_raw.kernels.flattening import ALIKE, FIRST, LAST, LENGTH, LINKED, MAIN, PARENT, ROLE, TRAITS
from tiers.l0_raw.kernels.roles import HIDDEN
from tiers.l0_raw.kernels.weighing import Weighed, weigh

_SURE = 250
"""Shorter main content is doubtful: Readability tries again below it with fewer rules."""
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
    """

    roots: list[int]
    left_out: list[bool]
    text: int
    linked: int

    def confidence(self) -> float:
        """How much there is to be said for it, from 0 to 1: little where it is short, or mostly links."""
        return min(1.0, self.text / _SURE) * (1 - self.linked / self.text) if self.text else 0.0


def whole_page(page: FlatPage) -> MainContent | None:
    """All of a page but what is hidden, and numbers of lines; `None` where it has no body."""
    if not len(page.elements):
        return None
    left_out: list[bool] = (page.elements[:, ROLE] >= HIDDEN).tolist()
    return MainContent([0], left_out, int(page.elements[:, LENGTH].sum()), int(page.elements[:, LINKED].sum()))


def main_content(page: FlatPage) -> MainContent | None:
    """The main content of a page; `None` where no element is worth anything."""
    if not len(page.elements):
        return None
    weighed = weigh(page.elements)
    best = weighed.best if weighed.dense[weighed.best] > 0 else 0  # of so little none is better than the rest
    roots = _posts(page, weighed, best) or [_widened(page, weighed, best)]
    text, linked, _ = map(int, weighed.sums[roots].sum(axis=0))
    return MainContent(roots, weighed.left_out.tolist(), text, linked) if text else None


def _posts(page: FlatPage, weighed: Weighed, best: int) -> list[int]:
    """All elements of one kind with the best one, or one around it, if they are the posts of a thread; else none."""
    around, elements = best, page.elements
    for _ in range(_POST_DEPTH):
        if _POST.search(_names(page, around)):
            posts: list[int] = []
            alike = weighed.alive & (weighed.sums[:, 0] > 0) & (elements[:, ALIKE] == elements[around, ALIKE])
            for element in np.flatnonzero(alike).tolist():
                if not posts or elements[element, FIRST] > elements[posts[-1], LAST]:
                    posts.append(element)
            if len(posts) > 1:
                return posts
        around = int(elements[around, PARENT])
        if around < 0:
            break
    return []


def _names(page: FlatPage, element: int) -> str:
    """An element's class, else its id, without numbers."""
    tag = page.source_of(element)
    return re.sub(r"\d+", "", attribute(tag, "class") or attribute(tag, "id")).lower()


def _widened(page: FlatPage, weighed: Weighed, best: int) -> int:
    """The best element, or one around it that is worth much more, such as one that holds several sections."""
    around = []
    element = best
    while element >= 0:
        around.append(element)
        element = int(page.elements[element, PARENT])
    landmarks = [element for element in around if _is_landmark(page, element)]
    for element in around:
        factor = _WIDER_WITHIN if landmarks and element >= landmarks[0] else _WIDER
        if page.name_of(best) == "section" and factor == _WIDER_WITHIN:
            factor = 1.0
        if weighed.plain[element] > factor * weighed.plain[best]:
            best = element
    return best


def _is_landmark(page: FlatPage, element: int) -> bool:
    return page.name_of(element) in ("article", "main") or bool(page.elements[element, TRAITS] & MAIN)
