"""A page as a flat sequence of tags and text, which is read many times faster than a tree of objects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from resiliparse.parse.html import HTMLTree

from tiers.l0_raw.kernels.flattening import FIRST, IMAGE, KIND, OF_NAME, SOURCE, Rows, flatten
from tiers.l0_raw.kernels.tags import NAMES
from tiers.l0_raw.math.marks import formula_names, marks_of


@dataclass(frozen=True, slots=True)
class FlatPage:
    """The body of a page.

    Attributes:
        html: The body as it is serialised, in UTF-8.
        text: All its text, in UTF-8; what serialising escapes is escaped.
        tags: The tags that matter to the text, in order, and a last row for the end: kind, name, block element that it
            opens, the tag that ends it, and where in `html` and `text` the tag and the text behind it begin.
        elements: Its block elements in the order in which they begin; the body is the first. See
            `tiers.l0_raw.kernels.flattening` for the columns.
        marks: Of formulas; see `tiers.l0_raw.math.marks`.
    """

    html: bytes
    text: bytes
    tags: Rows
    elements: Rows
    marks: int

    def has_images(self) -> bool:
        """Whether there is any image."""
        return bool((self.tags[:, KIND] == IMAGE).any())

    def source(self, at: int) -> str:
        """The tag that begins at this offset, without its angle brackets."""
        return self.html[at + 1 : self.html.find(b">", at)].decode()

    def source_of(self, element: int) -> str:
        """The start tag of a block element, without its angle brackets."""
        return self.source(int(self.tags[self.elements[element, FIRST], SOURCE]))

    def name_of(self, element: int) -> str:
        """The name of a block element."""
        return NAMES[int(self.elements[element, OF_NAME])]

    def words(self, begin: int, end: int) -> str:
        """Text from one offset to another."""
        return self.text[begin:end].decode()


def flat_page(tree: HTMLTree) -> FlatPage:
    """Reads a page's body, in time linear in its length."""
    html = tree.body.html.encode() if tree.body is not None else b""
    flat = flatten(np.frombuffer(html, np.uint8), *formula_names())
    text = flat.text.tobytes()
    return FlatPage(html, text, flat.tags, flat.elements, flat.marks | marks_of(text))
