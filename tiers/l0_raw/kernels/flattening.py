"""A page as a flat sequence of tags and text.

The tree's serialisation is well-formed, and escapes every `>` that is no markup, and every `<` but in names of tags and
attributes, once elements that hold no markup are left out.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tiers.kernel import START, called, compiled, inlined, variable
from tiers.l0_raw.kernels.attributes import (
    CLASS_HASH,
    CLASS_WORDS,
    FACTS,
    FLAGS,
    HIDES,
    ID_HASH,
    ID_WORDS,
    IS_MAIN,
    MARKS,
    TELLS_LANGUAGE,
    Facts,
    read_attributes,
)
from tiers.l0_raw.kernels.attributes import (
    IS_BOILERPLATE as HAS_BOILERPLATE_ROLE,
)
from tiers.l0_raw.kernels.attributes import (
    LINKS_INTO_PAGE as LINKS_INTO_ONE,
)
from tiers.l0_raw.kernels.formulas import mark_of_tag
from tiers.l0_raw.kernels.names import (
    BEGUN,
    BLANK,
    GREATER,
    LESS,
    SLASH,
    Beginnings,
    Data,
    Table,
    constant,
    hash_byte,
    stands_at,
    value_of,
)
from tiers.l0_raw.kernels.roles import BOILERPLATE, HIDDEN, NO_ROLE, role_of_words, tells_picture
from tiers.l0_raw.kernels.tags import (
    BODY,
    BR,
    H1,
    H6,
    HR,
    IMG,
    IS_BLOCK,
    IS_BOILERPLATE,
    IS_CODE,
    IS_NEUTRAL,
    IS_OPAQUE,
    IS_SKIPPED,
    NUMBER,
    PRE,
    TAGS,
    A,
)

INLINE, LINK, LINK_END, IMAGE, BREAK, CLOSE, OPEN = range(7)
"""What a tag does to the text around it; OPEN and CLOSE are those of block elements."""
KIND, NAME, ELEMENT, PARTNER, SOURCE, TEXT = range(6)
"""Columns of tags: kind, name, block element if it opens one and the tag that ends it, offsets of the tag and of the
text behind it."""
PARENT, FIRST, LAST, OF_NAME, ROLE, LENGTH, LINKED, RUNS, ALIKE, TRAITS, PIECE = range(11)
"""Columns of block elements: the one around it (-1 for the body), the tags that it is between, name, role; characters
of text directly in it, how many of them are in links, how many pieces other blocks cut that text into; a hash of its
name and class, else id, without numbers; traits; and before which piece of text it begins."""
PICTURE, MAIN, LINKS_INTO_PAGE = 1, 2, 4
"""Traits: it is there for an image; it is the main part of its page; it is a heading with a link into a page."""

_NEAR = 8
"""Behind how many tags a link in a heading may be for it to be the heading's."""
_COMMENT, _COMMENT_END, _TAG_END = map(constant, (b"!--", b"-->", b">"))
_AND, _LESS, _GREATER = map(constant, (b"&amp;", b"&lt;", b"&gt;"))

_OPENS, _CLOSES, _AS_PRE = variable(OPEN), variable(CLOSE), variable(IS_BLOCK | IS_NEUTRAL | PRE)
# Where reading is: bytes of text, tags, elements and pieces of text so far; the element that is open; how many `pre`
# are, and how many elements that are left out; whether a link is open. Characters of the piece of text that is being
# read, of white space at its end, of the run that it belongs to, and of those in links.
_WRITTEN, _SEEN, _COUNT, _PIECES, _OPEN, _PRE, _HIDDEN, _IN_LINK, _SIZE, _WHITE, _RUN, _RUN_LINKED, _STATE = range(13)

Rows = npt.NDArray[np.int64]


class Flat(NamedTuple):
    """Attributes:
    text: All text, in UTF-8, with what serialising escapes.
    tags: The tags that matter to it, and a last row for the end [tags + 1, (KIND, NAME, …, TEXT)].
    elements: Block elements in the order in which they begin [elements, (PARENT, …, PIECE)].
    marks: Of formulas, in the markup of what is text; see `formulas`.
    """

    text: Data
    tags: Rows
    elements: Rows
    marks: int


def flatten(html: Data, names: Table, begun: Beginnings) -> Flat:
    """Reads the serialised body of a page, in time linear in its length.

    What holds no text of the page is left out: scripts, comments, forms' fields, drawings and the like. Obsolete
    elements for code become `pre`; scripts of the types `math/…` are text.

    Args:
        html: The body.
        names: Tags, classes and attributes that formulas go by, with the mark of each.
        begun: How these begin.
    """
    return Flat(*_flatten(html, names, begun))


@compiled
def _flatten(html: Data, names: Table, begun: Beginnings) -> tuple[Data, Rows, Rows, int]:
    markup, tags_most = 0, 0
    for at in range(len(html)):
        tags_most += html[at] == LESS
        markup += (html[at] == LESS) | (html[at] == GREATER) | (html[at] == _AND[0])
    text, tags = np.empty(len(html) + 4 * markup, np.uint8), np.empty((tags_most + 2, 6), np.int64)
    elements, facts = np.empty((tags_most + 1, 11), np.int64), np.zeros(FACTS, np.int64)
    state, marks, at = np.zeros(_STATE, np.int64), START, START
    state[_OPEN] = -1
    while at < len(html):
        if html[at] != LESS:
            begin = at
            while at < len(html) and html[at] != LESS:
                at += 1
            if not state[_HIDDEN]:
                _copy_text(html, begin, at, text, state)
        elif stands_at(html, at + 1, len(html), _COMMENT):
            at = _behind(html, at + 4, _COMMENT_END)
        else:
            at = _read_tag(html, at, names, begun, text, tags, elements, facts, state)
            marks |= facts[MARKS]
    _end_piece(state)
    _end_run(elements, state)
    written, seen = state[_WRITTEN], state[_SEEN]
    tags[seen] = 0
    tags[seen, SOURCE], tags[seen, TEXT] = len(html), written
    while state[_OPEN] >= 0:
        _close(tags, elements, seen, state)
    return text[:written], tags[: seen + 1], elements[: state[_COUNT]], marks


@called
def _copy_text(source: Data, begin: int, end: int, text: Data, state: Rows) -> None:
    """Copies source[begin:end] to the text and counts its characters, without white space around."""
    written, size, white = state[_WRITTEN], state[_SIZE], state[_WHITE]
    for at in range(begin, end):
        byte = source[at]
        text[written] = byte
        written += 1
        if byte & 0xC0 != 0x80:
            if (byte <= BLANK or byte >= 0xC2) and _is_white(source, at):
                white += size > 0
            else:
                size += white + 1
                white = 0
    state[_WRITTEN], state[_SIZE], state[_WHITE] = written, size, white


@inlined
def _is_white(text: Data, at: int) -> bool:
    """Whether the character at `at` is white space to `str.strip`."""
    byte = int(text[at])
    if byte < 0x80:
        return byte == BLANK or 9 <= byte <= 13 or 28 <= byte <= 31
    second, third = text[at + 1] if at + 1 < len(text) else 0, text[at + 2] if at + 2 < len(text) else 0
    if byte == 0xC2:
        return second == 0x85 or second == 0xA0
    if byte == 0xE2:
        spaces = 0x80 <= third <= 0x8A or third == 0xA8 or third == 0xA9 or third == 0xAF
        return (second == 0x80 and spaces) or (second == 0x81 and third == 0x9F)
    return (byte == 0xE1 and second == 0x9A and third == 0x80) or (byte == 0xE3 and second == 0x80 and third == 0x80)


@called
def _behind(html: Data, at: int, text: Data) -> int:
    """The place behind the next `text`, or the end."""
    while at < len(html):
        if html[at] == text[0] and stands_at(html, at, len(html), text):
            return at + len(text)
        at += 1
    return at


@inlined
def _read_tag(
    html: Data,
    start: int,
    names: Table,
    begun: Beginnings,
    text: Data,
    tags: Rows,
    elements: Rows,
    facts: Facts,
    state: Rows,
) -> int:
    """Reads the tag that begins at `start`, or all of an element without markup; gives the place behind."""
    closing = start + 1 < len(html) and html[start + 1] == SLASH
    named, hashed = start + 1 + closing, BEGUN
    while named < len(html) and html[named] != BLANK and html[named] != GREATER:
        hashed = hash_byte(hashed, html[named])
        named += 1
    meaning = value_of(TAGS, hashed)
    facts[:] = 0
    if state[_HIDDEN] or closing:
        at = _behind(html, named, _TAG_END)
    else:
        at = read_attributes(html, named, len(html), names, begun, meaning, facts)
    if meaning & IS_OPAQUE and not closing:
        begin, at = at, _end_of_element(html, at, html[start + 1 : named])
        if not state[_HIDDEN] and (meaning & IS_CODE or facts[MARKS]):
            _write_raw(html, start, begin, at, meaning, text, tags, elements, facts, state)
        return _behind(html, at, _TAG_END)
    if meaning & IS_SKIPPED:
        state[_HIDDEN] = max(state[_HIDDEN] - 1, 0) if closing else state[_HIDDEN] + 1
    elif not state[_HIDDEN]:
        facts[MARKS] |= START if closing else mark_of_tag(html, start + 1, names, begun)
        _enter_tag(tags, elements, start, _kind_of(meaning, closing), meaning, facts, state)
    return at


@inlined
def _kind_of(meaning: int, closing: bool) -> int:
    """What a tag of this meaning does to the text around it."""
    number = meaning & NUMBER
    if meaning & IS_BLOCK:
        return CLOSE if closing else OPEN
    if number == A:
        return LINK_END if closing else LINK
    if number == BR or number == HR:
        return BREAK
    return IMAGE if number == IMG and not closing else INLINE


@inlined
def _enter_tag(tags: Rows, elements: Rows, start: int, kind: int, meaning: int, facts: Facts, state: Rows) -> None:
    """Ends the piece of text before a tag, and enters the tag if it matters."""
    _end_piece(state)
    if kind == LINK or kind == LINK_END:
        state[_IN_LINK] = kind == LINK
        if facts[FLAGS] & LINKS_INTO_ONE:
            _mark_headings(elements, state)
    if kind >= BREAK:
        _end_run(elements, state)
    if kind >= IMAGE or (state[_PRE] and facts[FLAGS] & TELLS_LANGUAGE):
        element, seen, number = state[_OPEN], state[_SEEN], meaning & NUMBER
        tags[seen, KIND], tags[seen, NAME], tags[seen, ELEMENT], tags[seen, PARTNER] = kind, number, -1, -1
        tags[seen, SOURCE], tags[seen, TEXT] = start, state[_WRITTEN]
        if kind == OPEN:
            tags[seen, ELEMENT] = state[_COUNT]
            _open(elements, seen, number, meaning, facts, state)
        elif kind == CLOSE and element >= 0 and (element or number == BODY):
            _close(tags, elements, seen, state)
        state[_SEEN] += 1


@inlined
def _end_piece(state: Rows) -> None:
    """Adds the characters of a piece of text to those of its run."""
    state[_RUN] += state[_SIZE]
    state[_RUN_LINKED] += state[_SIZE] if state[_IN_LINK] else 0
    state[_SIZE] = state[_WHITE] = 0
    state[_PIECES] += 1


@inlined
def _end_run(elements: Rows, state: Rows) -> None:
    """Adds the characters of a run of text to those of its block element."""
    if state[_RUN] and state[_OPEN] >= 0:
        row = elements[state[_OPEN]]
        row[LENGTH] += state[_RUN]
        row[LINKED] += state[_RUN_LINKED]
        row[RUNS] += 1
    state[_RUN] = state[_RUN_LINKED] = 0


@called
def _open(elements: Rows, tag: int, number: int, meaning: int, facts: Facts, state: Rows) -> None:
    """Enters a block element."""
    row, flags = elements[state[_COUNT]], facts[FLAGS]
    if flags & HIDES:
        role = HIDDEN
    elif flags & HAS_BOILERPLATE_ROLE or meaning & IS_BOILERPLATE:
        role = BOILERPLATE
    elif meaning & IS_NEUTRAL:
        role = NO_ROLE
    else:
        role = max(role_of_words(facts[CLASS_WORDS]), role_of_words(facts[ID_WORDS]))
    row[:] = 0
    row[PARENT] = max(state[_OPEN], 0) if state[_COUNT] else -1
    row[FIRST], row[OF_NAME], row[ROLE], row[PIECE] = tag, number, role, state[_PIECES]
    row[ALIKE] = (facts[CLASS_HASH] or facts[ID_HASH]) * 251 + number
    row[TRAITS] = MAIN * (flags & IS_MAIN != 0) | PICTURE * tells_picture(facts[CLASS_WORDS] | facts[ID_WORDS])
    state[_OPEN] = state[_COUNT]
    state[_COUNT] += 1
    state[_PRE] += number == PRE


@called
def _close(tags: Rows, elements: Rows, tag: int, state: Rows) -> None:
    """Ends the block element that is open."""
    row = elements[state[_OPEN]]
    row[LAST] = tags[row[FIRST], PARTNER] = tag
    state[_OPEN] = row[PARENT]
    state[_PRE] -= row[OF_NAME] == PRE


@called
def _mark_headings(elements: Rows, state: Rows) -> None:
    """Notes that the headings which were opened just before have a link into a page."""
    element = state[_OPEN]
    while element >= 0 and state[_PIECES] - elements[element, PIECE] <= _NEAR:
        if H1 <= elements[element, OF_NAME] <= H6:
            elements[element, TRAITS] |= LINKS_INTO_PAGE
        element = elements[element, PARENT]


@called
def _end_of_element(html: Data, at: int, name: Data) -> int:
    """Where the first end tag of this name is; or the end."""
    while at < len(html):
        if html[at] == LESS and at + 1 < len(html) and html[at + 1] == SLASH:
            behind = at + 2 + len(name)
            if behind < len(html) and html[behind] == GREATER and stands_at(html, at + 2, behind, name):
                return at
        at += 1
    return at


@called
def _write_raw(
    html: Data,
    start: int,
    begin: int,
    end: int,
    meaning: int,
    text: Data,
    tags: Rows,
    elements: Rows,
    facts: Facts,
    state: Rows,
) -> None:
    """Writes html[begin:end], escaped, as `pre` if it is code, else as text between two tags."""
    as_meaning, kind = (_AS_PRE, _OPENS) if meaning & IS_CODE else (START, START)
    _enter_tag(tags, elements, start, kind, as_meaning, facts, state)
    for at in range(begin, end):
        if html[at] == LESS:
            _copy_text(_LESS, START, len(_LESS), text, state)
        elif html[at] == GREATER:
            _copy_text(_GREATER, START, len(_GREATER), text, state)
        elif html[at] == _AND[0]:
            _copy_text(_AND, START, len(_AND), text, state)
        else:
            _copy_text(html, at, at + 1, text, state)
    _enter_tag(tags, elements, start, min(kind, _CLOSES), as_meaning, facts, state)
