"""A page as a flat sequence of tags and text, which Python reads many times faster than a tree of objects.

The tree's serialisation is well-formed and escapes every `<` and `>` that is no markup, once elements with raw text are
out, so that splitting it at `<` gives exactly one piece a tag: `tag>text`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from html import escape

from resiliparse.parse.html import HTMLTree

from tiers.l0_raw.html.roles import NEUTRAL_TAGS, Role, role_of_class, role_of_element

INLINE, LINK, LINK_END, BREAK, CLOSE, OPEN = range(6)
"""What a tag does to the text around it; OPEN and CLOSE are those of block elements."""

HEADINGS = frozenset("h1 h2 h3 h4 h5 h6".split())
_BLOCKS = HEADINGS | frozenset(
    "address article aside blockquote body caption center dd details dialog dir div dl dt fieldset figcaption figure "
    "footer form header hgroup legend li main menu nav ol p pre search section summary table tbody td tfoot th thead "
    "tr ul".split()
)
_WITHOUT_TEXT = re.compile(
    r"<(!--|(?:audio|button|canvas|datalist|iframe|map|noembed|noframes|noscript|object|plaintext|script|select|style|"
    r"svg|template|textarea|video|xmp)(?=[ >]))"
)


_RAW = frozenset(("plaintext", "script", "xmp"))


@dataclass(frozen=True, slots=True)
class Tag:
    """What is known of a tag from its text alone."""

    kind: int
    name: str
    role: Role = Role.NONE


_KNOWN = {
    "a": Tag(LINK, "a"),
    "/a": Tag(LINK_END, "a"),
    "br": Tag(BREAK, "br"),
    "hr": Tag(BREAK, "hr"),
    **{f"/{name}": Tag(CLOSE, name) for name in _BLOCKS},
}
_INLINE = Tag(INLINE, "")
_OPENING = {name: {role: Tag(OPEN, name, role) for role in Role} for name in _BLOCKS}


class Tags(dict[str, Tag]):
    """What each tag is, by its text without angle brackets; each different one is looked at once."""

    def __missing__(self, tag: str) -> Tag:
        self[tag] = known = _read_tag(tag)
        return known


@dataclass(slots=True)
class FlatPage:
    """A page's pieces, and its block elements in the order in which they begin; the body is the first.

    Attributes:
        pieces: `tag>text` for each tag.
        tags: What each different tag is.
        opened: The start tag of each block element.
        parents: The block element around it; -1 for the body.
        first: The piece of its start tag.
        last: The piece of its end tag.
        text: Characters of text directly in it.
        linked: How many of them are in links.
        runs: How many pieces other block elements cut that text into.
    """

    pieces: list[str]
    tags: Tags
    opened: list[Tag]
    parents: list[int]
    first: list[int]
    last: list[int]
    text: list[int]
    linked: list[int]
    runs: list[int]


def body_of(tree: HTMLTree) -> str:
    """The body without what holds no text of the page: scripts, comments, forms' fields, drawings and the like.

    Scripts of the types `math/…`, which are formulas, stay.
    """
    html = tree.body.html if tree.body is not None else ""
    parts, at = [], 0
    while match := _WITHOUT_TEXT.search(html, at):
        parts.append(html[at : match.start()])
        name = match[1]
        end = "-->" if name == "!--" else f"</{name}>"
        stop = html.find(end, match.end())
        stop = len(html) if stop < 0 else stop
        if name in _RAW:
            opened = html.find(">", match.end())
            if name != "script":  # obsolete elements for code
                parts.append(f"<pre>{escape(html[opened + 1 : stop], quote=False)}</pre>")
            elif "math/" in html[match.end() : opened]:
                parts.append(f"<script type=math>{escape(html[opened + 1 : stop], quote=False)}</script>")
        at = stop + len(end)
    parts.append(html[at:])
    return "".join(parts)


def flatten(body: str) -> FlatPage:
    """Reads a page's body, as `body_of` gives it; the work is linear in its length."""
    pieces = body.split("<")[1:]
    page = FlatPage(pieces, Tags(), [], [], [], *([0] * len(pieces) for _ in range(4)))
    tags, parents, opened, text = page.tags, page.parents, page.opened, page.text
    element, characters, linked, in_link = -1, 0, 0, False
    for at, piece in enumerate(pieces):
        tag, _, behind = piece.partition(">")
        known = tags[tag]
        kind = known.kind
        if kind >= BREAK:
            if characters:
                text[element] += characters
                page.linked[element] += linked
                page.runs[element] += 1
                characters = linked = 0
            if kind == OPEN:
                parents.append(element)
                element = len(opened)
                opened.append(known)
                page.first.append(at)
            elif kind == CLOSE:
                page.last[element] = at
                element = parents[element]
        elif kind:
            in_link = kind == LINK
        if behind:
            length = len(behind.strip())
            characters += length
            if in_link:
                linked += length
    for column in (page.last, page.text, page.linked, page.runs):
        del column[len(opened) :]
    return page


def _read_tag(tag: str) -> Tag:
    name, _, attributes = tag.partition(" ")
    known = _KNOWN.get(name)
    if known is not None:
        return known
    if name not in _OPENING:
        return _INLINE
    role = role_of_element(name, attributes)
    if role is Role.NONE and attributes and name not in NEUTRAL_TAGS:
        for key in ("class", "id"):
            if names := attribute(attributes, key):
                role = max(role, _role_of_class(names))
    return _OPENING[name][role]


_role_of_class = lru_cache(maxsize=1 << 14)(role_of_class)


def attribute(attributes: str, name: str) -> str:
    """The value of an attribute as it is serialised, still escaped; empty where there is none."""
    mark = f'{name}="'
    start = attributes.find(mark)
    while start > 0 and attributes[start - 1] != " ":
        start = attributes.find(mark, start + 1)
    if start < 0:
        return ""
    start += len(mark)
    return attributes[start : attributes.find('"', start)]


def plain(parts: list[str]) -> str:
    """Text as it reads: white space is one blank, and what serialising escapes is unescaped."""
    return " ".join(unescape("".join(parts)).split())


def unescape(text: str) -> str:
    """Undoes what serialising does to text; a blank that does not break becomes one that does."""
    if "&" not in text:
        return text
    return text.replace("&nbsp;", " ").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
