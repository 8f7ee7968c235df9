"""Pages whose shape would keep a parser or an extractor busy for minutes."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from tiers.l0_raw.html.reasons import HtmlReason, Refused

_TAG = re.compile(r"<(/?)([a-zA-Z][^\s/>]*)")
_HIDDEN = re.compile(r"(?is)<!--.*?-->|<(script|style)\b.*?</\1\s*>")
_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")
# Elements that cannot hold another of their kind without an element between them that is counted.
_UNCOUNTED = frozenset(
    "area base br col embed hr img input link meta param source track wbr html head body "
    "p li dt dd option optgroup tr td th thead tbody tfoot colgroup caption rt rp".split()
)


# Elements that the parser opens anew in each paragraph until they are closed (HTML standard, section 13.2.4.3); of
# equal ones, no more than three.
_FORMATTING = re.compile(r"<(/?)((?:b|big|code|em|font|i|s|small|strike|strong|tt|u)(?=[\s/>])[^>]*)", re.IGNORECASE)


@dataclass(frozen=True)
class ShapeLimits:
    """Bounds on a page's shape.

    Attributes:
        depth: How many elements may be open at once.
        attributes: How many attributes one tag may have.
        work: The depth times the page's characters.
        reopened: Formatting elements that are not closed, times the page's tags.
    """

    depth: int
    attributes: int
    work: int
    reopened: int


def check_shape(page: str, limits: ShapeLimits) -> None:
    """Refuses a page that would keep the parser or the extractor busy for minutes, in time linear in its length.

    Raises:
        Refused: naming the limit that the page is above.
    """
    tags = page.count("<")
    if tags > limits.depth or tags * len(page) > limits.work or tags * tags > limits.reopened:
        balance = _balance(page)
        if balance > limits.depth or balance * len(page) > limits.work:
            _check_depth(page, limits)
        if balance * tags > limits.reopened:
            _check_formatting(page, tags, limits.reopened)
    # A tag with that many attributes spans a whole block that holds no ">".
    if any(page.find(">", at, at + limits.attributes) < 0 for at in range(0, len(page), limits.attributes)):
        for piece in page.split(">"):
            if len(piece) > limits.attributes:
                _check_attributes(piece, limits.attributes)


def _check_depth(page: str, limits: ShapeLimits) -> None:
    depth = _depth(page, limits.depth)
    if depth > limits.depth or depth * len(page) > limits.work:
        # Scripts hold markup whose end tags are escaped; only now is it worth the time to look past them.
        depth = _depth(_HIDDEN.sub("", page), limits.depth)
    if depth > limits.depth:
        raise Refused(HtmlReason.TOO_DEEP, f"more than {limits.depth} elements open at once")
    if depth * len(page) > limits.work:
        detail = f"{depth} elements open at once × {len(page)} characters, at most {limits.work}"
        raise Refused(HtmlReason.TOO_COMPLEX, detail)


def _check_formatting(page: str, tags: int, most: int) -> None:
    kinds: set[str] = set()
    unclosed = highest = 0
    for closing, source in _FORMATTING.findall(page):
        if closing:
            unclosed -= unclosed > 0
        else:
            kinds.add(source)
            unclosed += 1
            highest = max(highest, unclosed)
    highest = min(highest, 3 * len(kinds))
    if highest * tags > most:
        detail = f"{highest} formatting elements not closed × {tags} tags, at most {most}"
        raise Refused(HtmlReason.TOO_COMPLEX, detail)


def _check_attributes(piece: str, max_attributes: int) -> None:
    tag = re.search(r"<[a-zA-Z].*", piece, re.DOTALL)
    if tag is None:
        return
    count = len(re.findall(r"[^\s/]+", _QUOTED.sub("", tag[0]))) - 1
    if count > max_attributes:
        raise Refused(HtmlReason.TOO_MANY_ATTRIBUTES, f"{count} in one tag, at most {max_attributes}")


def _balance(page: str) -> int:
    """The most start tags without an end tag so far: quicker than `_depth`, but it counts what needs no end tag."""
    code = np.frombuffer(page.encode("utf-8") + b" ", np.uint8)
    following = code[np.flatnonzero(code[:-1] == ord("<")) + 1]
    letter = (following | 0x20) - ord("a") < 26
    unclosed = np.cumsum(letter.astype(np.int32) - (following == ord("/")))
    return int((unclosed - np.minimum.accumulate(np.minimum(unclosed, 0))).max(initial=0))


def _depth(page: str, enough: int) -> int:
    """The most elements that are open at once, counted no further than just above `enough`."""
    open_by_name: dict[str, int] = {}
    depth = most = 0
    for closing, name in _TAG.findall(page):
        name = name.lower()
        if name in _UNCOUNTED:
            continue
        if not closing:
            open_by_name[name] = open_by_name.get(name, 0) + 1
            depth += 1
            most = max(most, depth)
            if most > enough:
                break
        elif open_by_name.get(name):
            open_by_name[name] -= 1
            depth -= 1
    return most
