"""Which elements of a page are formulas, and what their LaTeX is: one function for each family of markup."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, unquote_plus

from resiliparse.parse.html import HTMLTree

from tiers.l0_raw.math.asciimath import latex_of_asciimath
from tiers.l0_raw.math.latex import Formula, looks_like_latex, normal_form
from tiers.l0_raw.math.mathml import latex_of_mathml, tex_source

Element = Any
"""A node of Resiliparse's tree."""

_RENDERED = (
    "MathJax", "MathJax_Display", "MathJax_SVG", "MathJax_SVG_Display", "MathJax_CHTML", "MathJax_MathML",
    "MathJax_Preview", "MathJax_Processing", "MathJax_Processed", "MathJax_Error", "mjx-chtml", "MJXc-display",
    "MathJax_PlainSource_Display", "MathJax_PHTML", "MathJax_PHTML_Display",
)  # fmt: skip
"""What MathJax 2 leaves in front of a formula's script."""

# Classes whose elements hold nothing but TeX, and what such an element's name says about how it stands.
_TEX_CLASSES = (
    "math-container", "math", "tex", "latex", "ztext-math", "wp-katex-eq", "katex-eq", "arithmatex", "mathjax-tex",
    "math-inline", "math-display", "math-block", "js-inline-math", "js-display-math", "notion-text-equation-token",
    "mwe-math-fallback-source-inline", "mwe-math-fallback-source-display", "filter_mathjaxloader_equation",
    "katex-error", "inline-formula", "display-formula",
)  # fmt: skip
_TEX_TAGS = ("tex", "latex", "tex-math", "d-math", "math-field", "math-renderer", "asciimath", "mathjax")
_TEX_ATTRIBUTES = (
    "data-latex", "data-tex", "data-formula", "data-math", "data-expr", "data-mathml",
)  # fmt: skip
_IMAGE_CLASSES = frozenset(
    "latex latexcenter latexdisplay tex math mathimg math-img ltx_Math texrender mwe-math-fallback-image-inline "
    "mwe-math-fallback-image-display mwe-math-fallback-png-inline mwe-math-fallback-png-display ee_img wp-latex "
    "math-inline math-display asciimath mathml formula inline-formula".split()
)
_PREFIXES = ("mml", "m")

SELECTORS = {
    "tag": (
        "math",
        *(rf"{prefix}\:math" for prefix in _PREFIXES),
        "alternatives",
        "mjx-container",
        "amp-mathml",
        *_TEX_TAGS,
    ),
    "type": ('script[type^="math/"]',),
    "image": ("img",),
    "class": (*(f'[class*="{part}"]' for part in "ath atex mjx MJX equation formula".split()), ".tex"),
    "attribute": tuple(f"[{name}]" for name in _TEX_ATTRIBUTES),
}
"""By what tells them, every element that may be a formula, and many that aren't: a search by few parts of names is
quicker than by many names. Some lie inside of others."""
SELECTOR = ", ".join(part for parts in SELECTORS.values() for part in parts)

_REMOVED = Formula("")
"""Stands for an element that only shows what another one is the source of."""


def _classes(element: Element) -> list[str]:
    return (element.class_name or "").split()


def formulas_of(element: Element) -> list[Formula] | None:
    """What is to stand in an element's place: formulas; nothing, where it shows another one's; `None` to leave it."""
    classes = _classes(element)
    if not _EQUATION_CLASSES.isdisjoint(classes):
        return _equations(element)
    formula = _formula_of(element, classes)
    return formula if formula is None else [] if formula is _REMOVED else [formula]


def _formula_of(element: Element, classes: list[str]) -> Formula | None:
    prefix, _, name = element.tag.rpartition(":")
    if name == "math" and (not prefix or prefix in _PREFIXES):
        return _math(element)
    if element.tag in _BY_TAG:
        return _BY_TAG[element.tag](element)
    for known, build in _BY_CLASS:
        if not known.isdisjoint(classes):
            return build(element)
    return _by_attribute(element)


# ── MathML ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _math(element: Element) -> Formula | None:
    display = element.get_attribute("display") == "block" or element.get_attribute("mode") == "display"
    return _of_markup(element.html, display or _is_shown(element), element.text_content)


def _of_markup(markup: str, display: bool = False, text: str = "") -> Formula | None:
    """Of MathML; where a `math` element holds no markup at all, what it holds is TeX."""
    start = markup.find(">") + 1
    if text and "<" not in markup[start : markup.rfind("<")] and not tex_source(markup):
        return normal_form(text, display)
    latex = latex_of_mathml(markup)
    formula = normal_form(latex, display)
    return formula and Formula(formula.latex, display or formula.display)


def _is_shown(element: Element) -> bool:
    """Whether a publisher's element around this one says that it is a display."""
    parent = element.parent_element
    return parent is not None and parent.tag in ("disp-formula", "display-formula")


def _parsed(markup: str) -> Element | None:
    """The `math` element in MathML that was kept as text."""
    root: Element = HTMLTree.parse(markup).document
    return root.query_selector(", ".join(("math", *(rf"{prefix}\:math" for prefix in _PREFIXES))))


def _of_mathml_text(markup: str, display: bool = False) -> Formula | None:
    # MathType writes MathML in attributes with quotation marks in place of what HTML would have to escape.
    if "«math" in markup:
        markup = markup.translate(str.maketrans("«»¨`", "<>\"'")).replace("§", "&")
    math = _parsed(markup)
    return _of_markup(math.html, display or math.get_attribute("display") == "block") if math is not None else None


def _alternatives(element: Element) -> Formula | None:
    """JATS: the same formula in several forms."""
    tex = element.query_selector("tex-math")
    if tex is not None:
        formula = normal_form(tex.text_content)
        return formula and Formula(formula.latex, _is_shown(element))
    math = element.query_selector(r"math, mml\:math, m\:math")
    return _of_markup(math.html, _is_shown(element)) if math is not None else None


# ── KaTeX and MathJax ───────────────────────────────────────────────────────────────────────────────────────────────


def _katex(element: Element) -> Formula | None:
    source = element.query_selector('annotation[encoding="application/x-tex"]')
    if source is not None:
        return normal_form(source.text_content, "katex-display" in _classes(element))
    math = element.query_selector("math")
    return _of_markup(math.html, "katex-display" in _classes(element)) if math is not None else None


def _script(element: Element) -> Formula | None:
    kind, _, mode = (element.get_attribute("type") or "").lower().partition(";")
    display = "mode=display" in mode.replace(" ", "")
    text = element.text_content
    if kind.startswith(("math/tex", "math/latex")):
        return normal_form(text, display)
    if kind.startswith("math/asciimath"):
        return normal_form(latex_of_asciimath(text), display)
    return _of_mathml_text(text, display) if kind.startswith("math/mml") else None


def _rendered(element: Element) -> Formula | None:
    """What MathJax 2 shows: removed if its script follows, else read from the MathML that it carries."""
    sibling = element.next_sibling
    for _ in range(8):
        if sibling is None:
            break
        if sibling.tag == "script":
            if (sibling.get_attribute("type") or "").startswith("math/"):
                return _REMOVED
            break
        if sibling.tag == "#text":
            if sibling.text_content.strip():
                break
        elif set(_RENDERED).isdisjoint(_classes(sibling)):
            break
        sibling = sibling.next_sibling
    display = any("isplay" in name for name in _classes(element))
    holder = element if element.has_attribute("data-mathml") else element.query_selector("[data-mathml]")
    if holder is not None:
        return _of_mathml_text(holder.get_attribute("data-mathml"), display)
    math = element.query_selector("math")
    return _of_markup(math.html, display or math.get_attribute("display") == "block") if math is not None else None


def _mathjax_container(element: Element) -> Formula | None:
    """MathJax 3 and 4: TeX where version 4 keeps it, else the MathML for assistive technology."""
    display = element.get_attribute("display") in ("true", "block")
    root = element.query_selector('mjx-math[data-latex], g[data-mml-node="math"][data-latex], math[data-latex]')
    if root is not None:
        return normal_form(root.get_attribute("data-latex"), display)
    math = element.query_selector("math")
    return _of_markup(math.html, display or math.get_attribute("display") == "block") if math is not None else None


# ── Images ──────────────────────────────────────────────────────────────────────────────────────────────────────────

# Addresses whose query is TeX, and how it is decoded. In the first a plus sign is a space, in the others a plus sign.
_PARAMETER = re.compile(r"(?:latex\.php\?|equation\?|cht=tx|/math\?)")
_TEX_PARAMETER = re.compile(r"[?&](?:latex|tex|chl|formula)=([^&#]*)")
_TEX_QUERY = re.compile(
    r"(?:codecogs\.com/(?:[\w.]+/)*(?:\w+\.latex|\w+\.download)|(?:mime|math)tex(?:\.cgi|\.exe)?|eq\.png)\?(.*)",
    re.DOTALL,
)


def _image(element: Element) -> Formula | None:
    alt, src = element.get_attribute("alt") or "", element.get_attribute("src") or ""
    if not src or src.startswith("data:"):
        src = element.get_attribute("data-src") or element.get_attribute("data-lazy-src") or ""
    classes = set(_classes(element))
    display = any("display" in name or name == "latexcenter" for name in classes)
    markup = element.get_attribute("data-mathml")
    if markup:
        return _of_mathml_text(markup, display)
    tex = _tex_of_address(src)
    if tex is not None:
        return normal_form(tex, display) or normal_form(alt, display)
    known = bool(classes & _IMAGE_CLASSES or "/math/render/" in src) or element.has_attribute("eeimg")
    known = known or any(name.startswith("x-ck12") for name in classes)
    delimited = alt.startswith((r"\[", r"\(", r"\begin{", "$")) and len(alt) > 2 and alt.count("$") in (0, 2, 4)
    if not alt.strip() or not (delimited or (known and _is_tex_alt(alt, classes))):
        return None
    formula = normal_form(alt, display or element.closest("div.math, .displaymath") is not None)
    return formula if formula is None or looks_like_latex(formula.latex) or known else None


def _is_tex_alt(alt: str, classes: set[str]) -> bool:
    """Whether an alternative text is TeX. Those of class names that only programs give always are."""
    return looks_like_latex(alt) or bool(classes & {"tex", "latex", "ltx_Math"} and len(alt.split()) == 1)


def _tex_of_address(src: str) -> str | None:
    if _PARAMETER.search(src) and (match := _TEX_PARAMETER.search(src)):
        return unquote_plus(match[1])
    if match := _TEX_QUERY.search(src):
        return unquote(match[1].replace("&space;", " ").replace("&plus;", "+"))
    return None


# ── Elements that hold TeX ──────────────────────────────────────────────────────────────────────────────────────────


def _tex_element(element: Element) -> Formula | None:
    """An element made for TeX, such as `<tex>`, `<d-math block>` or `<asciimath>`."""
    if element.child_element_count:
        return None
    text, tag = element.text_content, element.tag
    if tag in ("asciimath", "mathjax"):
        delimited = text.strip().strip("#`")
        return normal_form(latex_of_asciimath(delimited)) if tag == "asciimath" or "#" in text else normal_form(text)
    return normal_form(text, _says_display(element) or _is_shown(element))


def _amp_math(element: Element) -> Formula | None:
    return normal_form(element.get_attribute("data-formula") or "", not element.has_attribute("inline"))


def _quill(element: Element) -> Formula | None:
    return normal_form(element.get_attribute("data-value") or "")


def _says_display(element: Element) -> bool:
    named = (element.class_name or "").lower()
    if "display" in named or "block" in named or element.has_attribute("block"):
        return True
    return any(
        element.get_attribute(name) in ("true", "block", "display", "")
        for name in ("display", "data-display", "mode", "data-math-style")
    )


def _tex_class(element: Element) -> Formula | None:
    """An element of a class for formulas that holds text alone: TeX, if it has delimiters or looks like it."""
    if element.tag == "img":
        return _image(element)
    if (data := _by_attribute(element)) is not None:
        return data
    if element.tag in ("pre", "code", "textarea") and "math" not in _classes(element):
        return None
    children = [child for child in element.children.values() if child.tag != "br"]
    number = children[0].text_content if len(children) == 1 and "eqno" in _classes(children[0]) else ""
    if children and not number:
        return None
    text = element.text_content.replace(number, " ", 1).strip()
    if not (_is_delimited(text) or looks_like_latex(text)):
        return None
    formula = normal_form(text, _says_display(element) or element.tag in ("div", "p"))
    return formula.tagged(number.rstrip("¶#\uf0c1 ")) if formula is not None and number else formula


def _is_delimited(text: str) -> bool:
    pairs = (("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), (r"\begin{", "}"))
    if not any(len(text) > len(start) and text.startswith(start) and text.endswith(end) for start, end in pairs):
        return False
    return text.count("$") in (0, 2, 4) and text.count(r"\(") + text.count(r"\[") < 2


def _wikipedia(element: Element) -> Formula | None:
    display = element.query_selector(".mwe-math-mathml-display, .mwe-math-fallback-image-display") is not None
    display = display or "mwe-math-element-block" in _classes(element)
    math = element.query_selector("math")
    formula = _of_markup(math.html, display) if math is not None else None
    image = element.query_selector("img")
    return formula or (normal_form(image.get_attribute("alt") or "", display) if image is not None else None)


def _by_attribute(element: Element) -> Formula | None:
    """TeX in an attribute, if the element shows nothing but that formula."""
    for name in _TEX_ATTRIBUTES:
        value = element.get_attribute(name)
        if not value or element.tag == "img":
            continue
        if name == "data-mathml" or "<math" in value or "«math" in value:
            formula = _of_mathml_text(value, _says_display(element))
        elif not (looks_like_latex(value) or _is_delimited(value)):
            continue
        else:
            formula = normal_form(value, _says_display(element))
        if formula is not None and _shows_only(element, formula.latex):
            return formula
    return _image(element) if element.tag == "img" else None


_WORDS = re.compile(r"[^\W\d_]{4,}")


def _shows_only(element: Element, latex: str) -> bool:
    """Whether an element's text has no words that its formula has not."""
    text = element.text_content
    return len(text) <= 400 + 60 * len(latex) and all(word in latex for word in _WORDS.findall(text))


# ── LaTeXML ─────────────────────────────────────────────────────────────────────────────────────────────────────────


_EQUATION_CLASSES = frozenset(("ltx_equation", "ltx_equationgroup"))
_MATH_CELLS = "math, img.ltx_Math"
_NUMBER = ".ltx_tag_equation, .ltx_tag_equationgroup"


def _equations(element: Element) -> list[Formula] | None:
    """An equation or a group of them that LaTeXML set in a table, with numbers; `None` if there is text besides.

    Rows of a group belong together up to the one that has a number.
    """
    maths = element.query_selector_all(_MATH_CELLS).values()
    if not maths or element.query_selector("table, script") is not None:
        return None
    numbers = element.query_selector_all(_NUMBER).values()
    shown = sum(len("".join(part.text_content.split())) for part in (*maths, *numbers))
    if len("".join(element.text_content.split())) != shown:
        return None
    whole_group = len(numbers) == 1
    lines: list[list[str]] = []
    formulas: list[Formula] = []
    for row in element.query_selector_all("tr").values() or [element]:
        cells = [_cell(math) for math in row.query_selector_all(_MATH_CELLS).values()]
        if any(cells):
            lines.append(cells)
        number = row.query_selector(_NUMBER) if not whole_group else None
        if number is not None and lines:
            formulas.append(_aligned(lines).tagged(number.text_content))
            lines = []
    if lines:
        formulas.append(_aligned(lines).tagged(numbers[0].text_content if whole_group else ""))
    return formulas or None


def _aligned(lines: list[list[str]]) -> Formula:
    if len(lines) == 1:
        return Formula(" ".join(lines[0]), display=True)
    body = r" \\ ".join(" & ".join(cells) if len(cells) > 1 else f"& {cells[0]}" for cells in lines)
    return Formula(rf"\begin{{aligned}} {body} \end{{aligned}}", display=True)


def _cell(math: Element) -> str:
    formula = _image(math) if math.tag == "img" else _of_markup(math.html)
    return formula.latex if formula is not None else ""


_BY_TAG: dict[str, Callable[[Element], Formula | None]] = {
    "img": _image, "script": _script, "mjx-container": _mathjax_container, "alternatives": _alternatives,
    "amp-mathml": _amp_math, **dict.fromkeys(_TEX_TAGS, _tex_element),
}  # fmt: skip
_BY_CLASS: tuple[tuple[frozenset[str], Callable[[Element], Formula | None]], ...] = (
    (frozenset(("katex", "katex-display")), _katex),
    (frozenset(("mwe-math-element",)), _wikipedia),
    (frozenset(_RENDERED), _rendered),
    (frozenset(("ql-formula",)), _quill),
    (frozenset(_TEX_CLASSES), _tex_class),
)

TAGS = frozenset(("math", *(f"{prefix}:math" for prefix in _PREFIXES), *_BY_TAG)) - {"img", "script"}
"""Names of elements that are formulas."""
CLASSES = _EQUATION_CLASSES.union(*(known for known, _ in _BY_CLASS))
"""Classes of elements that are formulas."""
IMAGE_CLASSES = _IMAGE_CLASSES | {"x-ck12"}
"""Classes of images that are formulas; of the last, the beginning."""
ATTRIBUTES = _TEX_ATTRIBUTES
"""Attributes that hold formulas."""
IMAGE_ATTRIBUTES = ("eeimg",)
"""Attributes of images that are formulas."""
