"""The text of a page as Markdown: headings, lists, quotations, tables, code and lines.

Nothing else is marked up, and no character is escaped but the `|` of table cells: what reads this is a model.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise

from tiers.l0_raw.html.flat import FlatPage
from tiers.l0_raw.html.images import Image, read_image
from tiers.l0_raw.html.main_content import MainContent
from tiers.l0_raw.html.serialised import attribute, plain, unescape
from tiers.l0_raw.html.tables import read_table
from tiers.l0_raw.kernels.flattening import (
    BREAK,
    CLOSE,
    FIRST,
    IMAGE,
    KIND,
    LAST,
    OPEN,
    PARTNER,
    PICTURE,
    ROLE,
    SOURCE,
    TEXT,
    TRAITS,
)
from tiers.l0_raw.kernels.roles import HIDDEN
from tiers.l0_raw.kernels.tags import HEADINGS, NAMES

_SPACED = frozenset((*HEADINGS, *"article blockquote dl figure hgroup ol p pre section table ul".split()))
"""Blocks that an empty line parts from what is around them."""
_LANGUAGE = re.compile(r"\b(?:lang(?:uage)?|highlight-source)-([\w+#-]+)|\bbrush:\s*(\w+)")
_PERMALINK = " \u00b6\uf0c1\U0001f517"
_MAX_CAPTION = 500


def write_markdown(
    page: FlatPage, content: MainContent, base: str = "", max_images: int = 0
) -> tuple[str, list[Image]]:
    """Writes what `content` names of a page.

    Args:
        page: The page.
        content: Which of its elements to write, and which of those within them not.
        base: The URL that addresses of images are relative to.
        max_images: How many images to look for.

    Returns:
        The text, and the images in it in order, none twice.
    """
    writer = _Writer(page, content, base, max_images)
    for root in content.roots:
        writer.write(root)
    return writer.text(), list(writer.images.values())


@dataclass(slots=True)
class _Container:
    """A list item or quotation: how its first line and its others begin, and whether it has a line yet."""

    first: str
    others: str
    begun: bool = False


@dataclass(slots=True)
class _Writer:
    page: FlatPage
    content: MainContent
    base: str
    max_images: int
    images: dict[str, Image] = field(default_factory=dict)
    _lines: list[str] = field(default_factory=list)
    _inline: list[str] = field(default_factory=list)
    _containers: list[_Container] = field(default_factory=list)
    _lists: list[int | None] = field(default_factory=list)
    _margin: int = 0
    _heading: int = 0
    _caption: str | None = None
    _last_heading: int = -1
    _tags: list[list[int]] = field(default_factory=list)
    _first: int = 0

    def text(self) -> str:
        """All that was written; headings that nothing follows are left out unless there is nothing else."""
        lines = self._lines
        if self._last_heading == len(lines) - 1 > 0:
            end = len(lines) - 1
            while end > 0 and (not lines[end - 1] or lines[end - 1].startswith("#")):
                end -= 1
            lines = lines[:end] or lines
        return "\n".join(lines)

    def write(self, root: int) -> None:
        """Writes a block element."""
        self._first, last = (int(at) for at in self.page.elements[root, (FIRST, LAST)])
        tags = self._tags = self.page.tags[self._first : last + 1].tolist()
        left_out, text = self.content.left_out, self.page.text
        at = 0
        while at < len(tags) - 1:
            kind, name, element, partner, source, _ = tags[at]
            if kind == OPEN:
                if at and left_out[element]:
                    self._pictures(at, element)
                    self._flush()
                    at = partner - self._first
                elif self._open(NAMES[name], at):
                    at = partner - self._first
            elif kind == CLOSE:
                self._close(NAMES[name])
            elif kind == BREAK:
                self._break()
            elif kind == IMAGE:
                self._image(source, self._caption or "")
            at += 1
            if at < len(tags) and tags[at - 1][TEXT] < tags[at][TEXT]:
                self._inline.append(text[tags[at - 1][TEXT] : tags[at][TEXT]].decode())
        self._flush()
        self._margin = 2
        self._containers.clear()
        self._lists.clear()

    def _element(self, at: int) -> list[list[int]]:
        """The tags of the block element that opens there, with its end tag."""
        return self._tags[at : self._tags[at][PARTNER] - self._first + 1]

    def _open(self, name: str, at: int) -> bool:
        """Begins a block; gives whether all of it is written already."""
        if self._heading:
            self._inline.append(" ")
            return False
        self._flush()
        self._margin = max(self._margin, 2 if name in _SPACED and not self._begins_item() else 1)
        if name in HEADINGS:
            self._heading = int(name[1])
        elif name == "pre":
            self._code(self._element(at))
            return True
        elif name == "table":
            rows = read_table(self.page, self._element(at), self.content.left_out)
            if rows is not None:
                self._block(rows)
                return True
        elif name == "figure":
            self._caption = self._caption_of_figure(at)
        elif name == "figcaption" and self._caption is not None:
            return True
        elif at:
            self._open_container(name, at)
        return False

    def _open_container(self, name: str, at: int) -> None:
        if name in ("ul", "ol", "menu", "dir"):
            start = attribute(self.page.source(self._tags[at][SOURCE]), "start") if name == "ol" else ""
            self._lists.append((int(start) if re.fullmatch(r"\d{1,9}", start) else 1) if name == "ol" else None)
            if len(self._lists) > 1:
                self._margin = 1
        elif name == "li":
            number = self._lists[-1] if self._lists else None
            if number is not None:
                self._lists[-1] = number + 1
            marker = "- " if number is None else f"{number}. "
            self._containers.append(_Container(marker, " " * len(marker)))
        elif name == "blockquote":
            self._containers.append(_Container("> ", "> "))

    def _close(self, name: str) -> None:
        if self._heading and name not in HEADINGS:
            self._inline.append(" ")
            return
        self._flush()
        if name in HEADINGS:
            self._heading = 0
        elif name == "figure":
            self._caption = None
        elif name in ("ul", "ol", "menu", "dir") and self._lists:
            self._lists.pop()
        elif name in ("li", "blockquote") and self._containers:
            self._containers.pop()
        self._margin = max(self._margin, 2 if name in _SPACED and len(self._lists) < 1 else 1)

    def _begins_item(self) -> bool:
        """Whether the marker of the item that is open is still to be written."""
        return bool(self._lists and self._containers) and not self._containers[-1].begun

    def _break(self) -> None:
        if self._heading:
            self._inline.append(" ")
        elif self._flush():
            self._margin = max(self._margin, 1)
        elif self._lines:
            self._margin = 2

    def _flush(self) -> bool:
        """Writes the line that was gathered; gives whether there was one."""
        if not self._inline:
            return False
        line = plain(self._inline)
        self._inline.clear()
        if self._heading:
            line = line.rstrip(_PERMALINK)
        if not line:
            return False
        self._block([f"{'#' * self._heading} {line}" if self._heading else line])
        if self._heading:
            self._last_heading = len(self._lines) - 1
        return True

    def _block(self, lines: list[str]) -> None:
        """Writes lines as they are, each behind what the open items and quotations put before it."""
        if self._margin == 2 and self._lines:
            self._lines.append("".join(each.others for each in self._containers if each.begun).rstrip())
        for line in lines:
            prefix = "".join(each.first for each in self._containers)
            self._lines.append(prefix + line if line else prefix.rstrip())
            for each in self._containers:
                each.first, each.begun = each.others, True
        self._margin = 0

    def _code(self, tags: list[list[int]]) -> None:
        """Writes preformatted text as it is, between fences."""
        parts: list[str] = []
        language = ""
        at, first = 0, tags[0][PARTNER] - len(tags) + 1
        while at < len(tags) - 1:
            kind, _, element, partner, source, _ = tags[at]
            if not language and (found := _LANGUAGE.search(attribute(self.page.source(source), "class"))):
                language = found[1] or found[2]
            if kind == OPEN and self.page.elements[element, ROLE] >= HIDDEN:
                at = partner - first
            elif kind in (BREAK, CLOSE):
                parts.append("\n")
            parts.append(self.page.words(tags[at][TEXT], tags[at + 1][TEXT]))
            at += 1
        code = unescape("".join(parts)).rstrip()
        code = code[re.match(r"(?:[^\S\n]*\n)*", code).end() :]  # type: ignore[union-attr]
        if code:
            fence = "`" * max(3, 1 + max(map(len, re.findall("`+", code)), default=0))
            self._block([fence + language, *code.split("\n"), fence])
        self._margin = 2

    def _caption_of_figure(self, at: int) -> str | None:
        """The caption of a figure that holds an image; `None` if it holds none, so that its caption is text."""
        caption, has_image = "", False
        for inner, (kind, name, *_) in enumerate(self._element(at)[1:], at + 1):
            if kind == OPEN and NAMES[name] == "figure":  # which has its own
                break
            if kind == OPEN and NAMES[name] == "figcaption" and not caption:
                caption = self._text_of(self._element(inner))
            has_image = has_image or kind == IMAGE
        return caption if has_image else None

    def _text_of(self, tags: list[list[int]]) -> str:
        parts: list[str] = []
        for tag, behind in pairwise(tags):
            parts += (" " if tag[KIND] >= BREAK else "", self.page.words(tag[TEXT], behind[TEXT]))
        return plain(parts)

    def _pictures(self, at: int, element: int) -> None:
        """Takes the images of an element that is left out, if it is there for an image and its caption."""
        if self.max_images and self.page.elements[element, TRAITS] & PICTURE:
            tags = self._element(at)
            sources = [source for kind, *_, source, _ in tags if kind == IMAGE and self._read_image(source)]
            caption = self._text_of(tags) if len(sources) == 1 else ""
            for source in sources:
                self._image(source, caption if len(caption) <= _MAX_CAPTION else "")

    def _image(self, source: int, caption: str) -> None:
        if len(self.images) < self.max_images:
            image = self._read_image(source, caption)
            if image is not None:
                self.images.setdefault(image.uri, image)

    def _read_image(self, source: int, caption: str = "") -> Image | None:
        return read_image(self.page.source(source), self.base, caption)
