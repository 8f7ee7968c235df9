"""Pages whose shape would keep a parser or an extractor busy for minutes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tiers.l0_raw.html.reasons import HtmlReason, Refused

_TAG = re.compile(rb"<(/?)([a-zA-Z][^\s/>]*)")
_HIDING = re.compile(rb"<(!--|script\b|style\b)", re.IGNORECASE)
_HIDDEN_UP_TO = {
    b"!--": re.compile(rb"-->"),
    b"script": re.compile(rb"</script\s*>", re.IGNORECASE),
    b"style": re.compile(rb"</style\s*>", re.IGNORECASE),
}
_QUOTED = re.compile(rb"\"[^\"]*\"|'[^']*'")
# Elements that cannot hold another of their kind without an element between them that is counted.
_UNCOUNTED = frozenset(
    b"area base br col embed hr img input link meta param source track wbr html head body "
    b"p li dt dd option optgroup tr td th thead tbody tfoot colgroup caption rt rp".split()
)


# Elements that the parser opens anew in each paragraph until they are closed (HTML standard, section 13.2.4.3); of
# equal ones, no more than three.
_FORMATTING = re.compile(rb"<(/?)((?:b|big|code|em|font|i|s|small|strike|strong|tt|u)(?=[\s/>])[^>]*)", re.IGNORECASE)


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


def check_shape(page: bytes, limits: ShapeLimits) -> None:
    """Refuses a page that would keep the parser or the extractor busy for minutes, in time linear in its length.

    Args:
        page: The page in an encoding that extends ASCII.
        limits: What it may have.

    Raises:
        Refused: naming the limit that the page is above.
    """
    from tiers.l0_raw.kernels.shape import count_tags, most_open, most_parts

    data = np.frombuffer(page, np.uint8)
    tags = count_tags(data)
    if tags > limits.depth or tags * len(page) > limits.work or tags * tags > limits.reopened:
        depth, formatting = most_open(data)
        if depth > limits.depth or depth * len(page) > limits.work:
            _check_depth(page, limits)
        if formatting * tags > limits.reopened:
            _check_formatting(page, tags, limits.reopened)
    for piece in (
        _long_pieces(page, limits.attributes) if most_parts(data, limits.attributes) > limits.attributes else ()
    ):
        _check_attributes(piece, limits.attributes)


def _long_pieces(page: bytes, least: int) -> Iterator[bytes]:
    """What lies between one `>` and the next where that is a whole block of `least` bytes, and more."""
    at = 0
    while at < len(page):
        if page.find(b">", at, at + least) >= 0:
            at += least
        else:
            end = page.find(b">", at)
            end = len(page) if end < 0 else end
            yield page[page.rfind(b">", 0, at) + 1 : end]
            at = end + 1


def _check_depth(page: bytes, limits: ShapeLimits) -> None:
    depth = _depth(page, limits.depth)
    if depth > limits.depth or depth * len(page) > limits.work:
        # Scripts hold markup whose end tags are escaped; only now is it worth the time to look past them.
        depth = _depth(_visible(page), limits.depth)
    if depth > limits.depth:
        raise Refused(HtmlReason.TOO_DEEP, f"more than {limits.depth} elements open at once")
    if depth * len(page) > limits.work:
        detail = f"{depth} elements open at once × {len(page)} bytes, at most {limits.work}"
        raise Refused(HtmlReason.TOO_COMPLEX, detail)


def _visible(page: bytes) -> bytes:
    """A page without comments, scripts and styles, as far as they are closed."""
    parts, kept, at = [], 0, 0
    unclosed: set[bytes] = set()  # searched for once: what has no end here has none further on
    while opening := _HIDING.search(page, at):
        at, kind = opening.end(), opening[1].lower()
        end = None if kind in unclosed else _HIDDEN_UP_TO[kind].search(page, at)
        if end is None:
            unclosed.add(kind)
        else:
            parts.append(page[kept : opening.start()])
            kept = at = end.end()
    return b"".join([*parts, page[kept:]])


def _check_formatting(page: bytes, tags: int, most: int) -> None:
    kinds: set[bytes] = set()
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


def _check_attributes(piece: bytes, max_attributes: int) -> None:
    tag = re.search(rb"<[a-zA-Z].*", piece, re.DOTALL)
    if tag is None:
        return
    count = len(re.findall(rb"[^\s/]+", _QUOTED.sub(b"", tag[0]))) - 1
    if count > max_attributes:
        raise Refused(HtmlReason.TOO_MANY_ATTRIBUTES, f"{count} in one tag, at most {max_attributes}")


def _depth(page: bytes, enough: int) -> int:
    """The most elements that are open at once, counted no further than just above `enough`."""
    open_by_name: dict[bytes, int] = {}
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
