"""The text of a page as Markdown: headings, lists, quotations, tables, code and lines.

Nothing else is marked up, and no character is escaped but the `|` of table cells: what reads this is a model.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass, field

from tiers.l0_raw.html.flat import BREAK, CLOSE, HEADINGS, OPEN, FlatPage, Tag, attribute, plain, unescape
from tiers.l0_raw.html.images import Image, read_image
from tiers.l0_raw.html.main_content import MainContent
from tiers.l0_raw.html.roles import Role, is_picture
from tiers.l0_raw.html.tables import read_table

_SPACED = HEADINGS | frozenset("article blockquote dl figure hgroup ol p pre section table ul".split())
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
    _root: int = 0
    _ends: dict[int, int] = field(default_factory=dict)
    _skipped: dict[int, int] = field(default_factory=dict)

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
        first, last = self._enter(root)
        pieces, tags, skipped = self.page.pieces, self.page.tags, self._skipped
        at = first
        while at < last:
            tag, _, text = pieces[at].partition(">")
            known = tags[tag]
            if at in skipped:
                self._pictures(at, skipped[at], tag)
                self._flush()
                at = skipped[at]
                text = pieces[at].partition(">")[2]
            elif known.kind == OPEN:
                done = self._open(known, at, tag)
                if done > at:
                    at = done
                    text = pieces[at].partition(">")[2]
            elif known.kind == CLOSE:
                self._close(known)
            elif known.kind == BREAK:
                self._break()
            elif tag.startswith("img "):
                self._image(tag, self._caption or "")
            if text:
                self._inline.append(text)
            at += 1
        self._flush()
        self._margin = 2
        self._containers.clear()
        self._lists.clear()

    def _enter(self, root: int) -> tuple[int, int]:
        """Looks up where the elements in `root` end, and which are left out; gives its first and last piece."""
        page = self.page
        self._root, last = page.first[root], page.last[root]
        end = bisect_left(page.first, last)
        self._ends = dict(zip(page.first[root:end], page.last[root:end], strict=True))
        left_out = self.content.left_out
        self._skipped = {page.first[each]: page.last[each] for each in range(root + 1, end) if left_out[each]}
        return self._root, last

    def _open(self, tag: Tag, at: int, source: str) -> int:
        """Begins a block; gives the piece of its end tag if all of it is written already, else 0."""
        name = tag.name
        if self._heading:
            self._inline.append(" ")
            return 0
        self._flush()
        self._margin = max(self._margin, 2 if name in _SPACED and not self._begins_item() else 1)
        if name in HEADINGS:
            self._heading = int(name[1])
        elif name == "pre":
            self._code(at, self._ends[at])
            return self._ends[at]
        elif name == "table":
            rows = read_table(self.page, at, self._ends[at], self._skipped)
            if rows is not None:
                self._block(rows)
                return self._ends[at]
        elif name == "figure":
            self._caption = self._caption_of_figure(at)
        elif name == "figcaption" and self._caption is not None:
            return self._ends[at]
        elif at > self._root:
            self._open_container(name, source)
        return 0

    def _open_container(self, name: str, source: str) -> None:
        if name in ("ul", "ol", "menu", "dir"):
            start = attribute(source, "start")
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

    def _close(self, tag: Tag) -> None:
        name = tag.name
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

    def _code(self, first: int, last: int) -> None:
        """Writes preformatted text as it is, between fences."""
        page = self.page
        parts: list[str] = []
        language = ""
        at = first
        while at < last:
            tag, _, text = page.pieces[at].partition(">")
            known = page.tags[tag]
            if not language and (found := _LANGUAGE.search(attribute(tag, "class"))):
                language = found[1] or found[2]
            if known.role >= Role.HIDDEN and known.kind == OPEN:
                at = self._ends[at]
                text = page.pieces[at].partition(">")[2]
            elif known.kind in (BREAK, CLOSE) and at > first:
                parts.append("\n")
            parts.append(text)
            at += 1
        code = unescape("".join(parts)).rstrip()
        code = code[re.match(r"(?:[^\S\n]*\n)*", code).end() :]  # type: ignore[union-attr]
        if code:
            fence = "`" * max(3, 1 + max(map(len, re.findall("`+", code)), default=0))
            self._block([fence + language, *code.split("\n"), fence])
        self._margin = 2

    def _caption_of_figure(self, first: int) -> str | None:
        """The caption of a figure that holds an image; `None` if it holds none, so that its caption is text."""
        pieces = self.page.pieces
        caption, has_image = "", False
        for at in range(first + 1, self._ends[first]):
            name = pieces[at].partition(">")[0].partition(" ")[0]
            if name == "figure":  # which has its own
                break
            if name == "figcaption" and not caption:
                caption = self._text_of(at, self._ends[at])
            has_image = has_image or name == "img"
        return caption if has_image else None

    def _text_of(self, first: int, last: int) -> str:
        parts: list[str] = []
        for piece in self.page.pieces[first:last]:
            tag, _, text = piece.partition(">")
            known = self.page.tags[tag]
            parts += (" ", text) if known.kind >= BREAK else (text,)
        return plain(parts)

    def _pictures(self, first: int, last: int, tag: str) -> None:
        """Takes the images of an element that is left out, if it is there for an image and its caption."""
        if self.max_images and is_picture(f"{attribute(tag, 'class')} {attribute(tag, 'id')}"):
            sources = [piece.partition(">")[0] for piece in self.page.pieces[first:last] if piece.startswith("img ")]
            sources = [source for source in sources if read_image(source, self.base)]
            caption = self._text_of(first, last) if len(sources) == 1 else ""
            for source in sources:
                self._image(source, caption if len(caption) <= _MAX_CAPTION else "")

    def _image(self, tag: str, caption: str) -> None:
        if len(self.images) < self.max_images:
            image = read_image(tag, self.base, caption)
            if image is not None:
                self.images.setdefault(image.uri, image)
