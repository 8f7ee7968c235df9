"""Puts LaTeX in the place of every formula of a page."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import groupby

from resiliparse.parse.html import HTMLTree

from tiers.l0_raw.math.asciimath import latex_of_asciimath
from tiers.l0_raw.math.elements import SELECTOR, Element, formulas_of
from tiers.l0_raw.math.latex import Formula, normal_form
from tiers.l0_raw.math.tex_in_text import find_tex


def write_formulas(tree: HTMLTree, selector: str = SELECTOR) -> int:
    """Replaces every formula of a page by its LaTeX in the one form that `tiers.l0_raw.math.latex` describes.

    An inline formula becomes a text node `$…$`; a display a `div` that holds `$$…$$`, so that text extraction gives it
    a line of its own. Text around formulas, other images, and elements that turn out to be no formula stay as they are.
    All of it takes time linear in the size of the page.

    Args:
        tree: The page.
        selector: Selects elements that may be formulas, or hold some; see `tiers.l0_raw.math.marks`.

    Returns:
        How many formulas were written.
    """
    writer = _Writer(tree)
    writer.write_elements(selector)
    text = _root(tree).document_element.text_content
    writer.write_text(
        [mark for mark in _TEX_MARKS if mark in text], lambda: partial(find_tex, trusted=_loads(tree, _TEX_RENDERERS))
    )
    if "`" in text:
        writer.write_text(("`",), lambda: _find_asciimath if _loads(tree, _ASCIIMATH_RENDERERS) else None)
    return writer.finish()


MAX_AROUND = 32
"""In how many elements that look like formulas and are none one is still searched, so that the time stays linear."""

_SMALL = frozenset(("math", "mml:math", "m:math", "script", "img"))
_Find = Callable[[str], Iterable[tuple[int, int, Formula]]]
_TEX_MARKS = ("\\(", "\\[", "\\begin{", "$$")
_TEX_RENDERERS = ("MathJax", "mathjax", "katex", "KaTeX")
_ASCIIMATH_RENDERERS = ("ASCIIMath", "AsciiMath", "asciimath", "AM_")
_ASCIIMATH = re.compile(r"(?<!\\)`([^`]{1,2000})`")
# What MathJax doesn't look into either.
_SKIPPED = "script, style, noscript, textarea, pre, code, title, annotation, option, .tex2jax_ignore, .mathjax_ignore"
_IN_TEXT = frozenset(("#text", "#comment", "br"))
_INLINE = frozenset("a abbr b cite em font i mark q s small span strong sub sup u var".split())


def _root(tree: HTMLTree) -> Element:
    return tree.document


def _loads(tree: HTMLTree, renderers: Iterable[str]) -> bool:
    """Whether a script of the page names one of `renderers`, in its address or its text."""
    return any(
        renderer in text
        for script in _root(tree).query_selector_all("script").values()
        for text in (script.get_attribute("src") or "", script.text_content)
        for renderer in renderers
    )


def _find_asciimath(text: str) -> Iterator[tuple[int, int, Formula]]:
    for match in _ASCIIMATH.finditer(text):
        formula = normal_form(latex_of_asciimath(match[1]))
        if formula is not None:
            yield match.start(), match.end(), formula


class _Writer:
    """Replaces formulas by empty text nodes, and fills those when all are found, so that none is taken for another."""

    def __init__(self, tree: HTMLTree) -> None:
        self._tree = tree
        self._written: list[tuple[Element, Formula]] = []

    def write_elements(self, selector: str) -> None:
        """Elements in their order: one inside of an element that was replaced is passed over."""
        replaced: Element | None = None
        around: list[Element] = []  # candidates that turned out to be no formulas, each inside of the one before
        for element in _root(self._tree).query_selector_all(selector).values() if selector else ():
            if replaced is not None and replaced.contains(element):
                continue
            while around and not around[-1].contains(element):
                around.pop()
            if len(around) > MAX_AROUND and element.tag not in _SMALL:
                continue
            formulas = formulas_of(element)
            if formulas is None:
                around.append(element)
            else:
                element.replace_with(*(self._node(formula) for formula in formulas))
                replaced = element

    def write_text(self, marks: Iterable[str], choose: Callable[[], _Find | None]) -> None:
        """Formulas in running text that holds one of `marks`; line breaks and comments do not end a text."""
        escaped = [mark.replace("\\", "\\\\") for mark in marks]
        selector = ", ".join(f':lexbor-contains("{mark}")' for mark in escaped)
        parents = _root(self._tree).query_selector_all(selector).values() if selector else []
        parents = [parent for parent in parents if parent.closest(_SKIPPED) is None]
        find = choose() if parents else None
        if find is None:
            return
        for parent in parents:
            for in_text, nodes in groupby(parent.child_nodes.values(), lambda node: node.tag in _IN_TEXT):
                if in_text:
                    self._write_run(list(nodes), find)

    def _write_run(self, nodes: list[Element], find: _Find) -> None:
        texts = [_text_of(node) for node in nodes]
        found = list(find("".join(texts)))
        if not found:
            return
        start, coming = 0, 0
        for node, text in zip(nodes, texts, strict=True):
            end = start + len(text)
            pieces, at = [], start
            while coming < len(found) and found[coming][0] < end:
                first, last, formula = found[coming]
                if first >= start:
                    pieces += [*self._plain(text[at - start : first - start]), self._node(formula)]
                at = min(last, end)
                if last > end:
                    break
                coming += 1
            if at > start or pieces:
                node.replace_with(*pieces, *self._plain(text[at - start :]))
            start = end

    def _plain(self, text: str) -> list[Element]:
        return [self._tree.create_text_node(text)] if text else []

    def _node(self, formula: Formula) -> Element:
        text: Element = self._tree.create_text_node("")
        self._written.append((text, formula))
        if not formula.display:
            return text
        block: Element = self._tree.create_element("div")
        block.append_child(text)
        return block

    def finish(self) -> int:
        """Fills in the LaTeX, with a space where a dollar would meet another; returns how many formulas there are."""
        for text, formula in self._written:
            before = after = ""
            if not formula.display:
                before = " " if _neighbour(text, forwards=False).endswith("$") else ""
                after = " " if _neighbour(text, forwards=True).startswith("$") else ""
            text.data = f"{before}{formula}{after}"
        return len(self._written)


def _text_of(node: Element) -> str:
    if node.tag == "br":
        return "\n"
    return (node.data or "") if node.tag == "#text" else ""


def _neighbour(node: Element, forwards: bool) -> str:
    """The text that stands right before or after `node` on its line; empty if there is none nearby."""
    step, into = ("next_sibling", "first_child") if forwards else ("previous_sibling", "last_child")
    found = None
    for _ in range(6):
        found = getattr(node, step)
        if found is not None:
            break
        node = node.parent_node
        if node is None or node.tag not in _INLINE:
            return ""
    for _ in range(6):
        if found is None or found.tag == "#text":
            return (found.data or "") if found is not None else ""
        if found.tag not in _INLINE:
            return ""
        found = getattr(found, into)
    return ""
