"""MathML to LaTeX.

A formula's TeX source is taken where the markup carries it: an `annotation`, or `alttext`. Else presentation markup is
converted element by element, as MathML 3 (W3C, 2014) sections 3.2 to 3.7 describe it, and content markup likewise.

Elements are converted when they end, so that nothing recurs; markup nested deeper than `MAX_DEPTH` lends its text only.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable

from tiers.l0_raw.math import content_mathml, symbols
from tiers.l0_raw.math.latex import is_balanced, looks_like_latex, normal_form
from tiers.l0_raw.math.row import Part, is_fenced, row, script, table

MAX_DEPTH = 200
"""Elements that may be open at once."""

_TOKEN = re.compile(r'<(/?)([a-zA-Z][^\s/>]*)((?:\s[^\s>]*?="[^"]*")*+)\s*>|<!--.*?-->|([^<]+)|<', re.DOTALL)
_TOKEN_ELEMENTS = frozenset("mi mn mo mtext ms annotation ci cn csymbol cs cbytes".split())
_XML_SPACE = re.compile(r"[ \t\r\n]+")  # what MathML trims and collapses; no-break spaces stay
_EMPTY_ELEMENTS = content_mathml.OPERATORS | frozenset(
    "sep mspace none mprescripts maligngroup malignmark br img input wbr hr".split()
)
_TEX_ENCODINGS = frozenset(
    "application/x-tex application/x-latex application/tex application/latex tex latex text/latex text/tex "
    "text/x-latex text/x-tex".split()
)
_ANNOTATION = re.compile(r"<(?:[\w-]+:)?annotation\b([^>]*)>([^<]*)</")
_BEFORE_SOURCE = re.compile(r"(?:\s*<(?:[\w-]+:)?(?:math|mrow|mstyle|mpadded)\b[^>]*>)*\s*<(?:[\w-]+:)?semantics\b")
_AFTER_SOURCE = re.compile(r"</(?:[\w-]+:)?semantics>(?:\s*</[^>]*>)*\s*\Z")


def latex_of_mathml(markup: str) -> str:
    """Converts one formula.

    Args:
        markup: A `math` element as a parser writes it: well-formed, attributes in double quotes. Prefixes are ignored.

    Returns:
        LaTeX without delimiters; empty for an empty formula. Source is as it was found, not yet in normal form.
    """
    return tex_source(markup) or _converted(markup)


def tex_source(markup: str) -> str:
    """The TeX that a `math` element carries for all of itself: an annotation, or `alttext` that can be LaTeX."""
    if _BEFORE_SOURCE.match(markup) and _AFTER_SOURCE.search(markup, markup.rfind("</", 0, markup.rfind("semantics>"))):
        for match in _ANNOTATION.finditer(markup):
            if attribute(match[1], "encoding").strip().lower() in _TEX_ENCODINGS and match[2].strip():
                return html.unescape(match[2])
    alttext = attribute(markup[: markup.find(">")], "alttext")
    return alttext if looks_like_latex(alttext) else ""


def attribute(attributes: str, name: str) -> str:
    """The value of an attribute in markup; empty if it is not there."""
    start = attributes.find(f' {name}="')
    if start < 0:
        return ""
    start += len(name) + 3
    return html.unescape(attributes[start : attributes.find('"', start)])


def _converted(markup: str) -> str:
    """Reads the markup with a stack of open elements; each is converted where it ends."""
    open_parts = [Part("math")]
    too_deep = 0
    for closing, name, attributes, text in _TOKEN.findall(markup):
        tag = name.rpartition(":")[2].lower()
        if not tag:
            _add_text(open_parts[-1], html.unescape(text))
        elif tag in _EMPTY_ELEMENTS:
            _add_empty(open_parts[-1], "" if closing else tag, attributes)
        elif closing and too_deep:
            too_deep -= 1
        elif closing:
            _close(open_parts)
        elif len(open_parts) < MAX_DEPTH:
            open_parts.append(Part(tag, attributes))
        else:
            too_deep += 1
    while len(open_parts) > 1:
        _close(open_parts)
    return row(open_parts[0].parts)


def _add_empty(part: Part, tag: str, attributes: str) -> None:
    """Adds an element that holds nothing; its end tag, if there is one, has no `tag` here."""
    if tag == "sep":
        part.text += content_mathml.SEPARATOR
    elif tag:
        part.parts.append(_reduced(Part(tag, attributes)))


def _add_text(part: Part, text: str) -> None:
    if part.tag in _TOKEN_ELEMENTS:
        part.text += text
    elif text.strip():
        part.parts.append(_reduced(Part("mtext", text=text)))


def _close(open_parts: list[Part]) -> None:
    if len(open_parts) == 1:
        return
    part, parent = open_parts.pop(), open_parts[-1]
    if parent.tag in _TOKEN_ELEMENTS and part.tag not in ("math", "mglyph"):
        parent.text += part.text or "".join(inner.text for inner in part.parts)
    elif part.tag in ("annotation", "annotation-xml") or part.tag not in _HANDLERS:
        parent.parts.append(part if part.tag.startswith("annotation") else _row(part))
    else:
        parent.parts.append(_reduced(part))


def _reduced(part: Part) -> Part:
    return _HANDLERS.get(part.tag, _row)(part)


# ── Tokens ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _characters(part: Part) -> str:
    text = unicodedata.normalize("NFC", _XML_SPACE.sub(" ", part.text)).strip()
    return "".join(char for char in text if char not in symbols.INVISIBLE)


def _styled(part: Part, latex: str, command: str) -> Part:
    if latex in symbols.GREEK.values() and command in ("mathbf", "mathrm", "mathit"):
        command = "boldsymbol" if command == "mathbf" else ""
    part.latex, part.style = (f"\\{command}{{{latex}}}" if command else latex), command
    return part


def _identifier(part: Part) -> Part:
    text = part.text = _characters(part)
    variant = symbols.VARIANTS.get(attribute(part.attributes, "mathvariant"), "")
    if text.replace(" ", "") in symbols.FUNCTIONS:
        part.latex, part.kind = "\\" + text.replace(" ", ""), "op"
    elif len(text) > 1 and any(char.isalpha() for char in text):
        inside = symbols.spelled(text)
        return _styled(part, inside, variant if variant not in ("", "mathrm") else "mathrm")
    elif text in symbols.BARS or not text:
        part.latex = symbols.BARS.get(text, "")
    elif len(text) > 1:
        return _styled(part, symbols.spelled(text), "")
    elif (styled := symbols.styled_letter(text)) is not None:
        return _styled(part, symbols.GREEK.get(styled[1], styled[1]), styled[0])
    else:
        upright = variant == "mathrm" and not (text.isascii() and text.isalpha())
        return _styled(part, symbols.symbol(text), "" if upright or variant == "mathit" else variant)
    return part


def _number(part: Part) -> Part:
    text = part.text = _characters(part)
    variant = symbols.VARIANTS.get(attribute(part.attributes, "mathvariant"), "")
    return _styled(part, symbols.spelled(text), "" if variant == "mathrm" else variant)


def _operator(part: Part) -> Part:
    if part.text.strip() == "\u2061":
        part.kind = "apply"
        return part
    text = part.text = _characters(part)
    form = attribute(part.attributes, "form") or attribute(part.attributes, "data-mjx-texclass").lower()
    is_fence = 'fence="true"' in part.attributes or 'stretchy="true"' in part.attributes
    if text in symbols.BARS and (form or is_fence or text not in symbols.RELATIONS):
        part.latex = symbols.BARS[text]
        part.kind = {"prefix": "open", "open": "open", "postfix": "close", "close": "close"}.get(form, "bar")
    elif text.replace(" ", "") in symbols.FUNCTIONS:
        part.latex, part.kind = "\\" + text.replace(" ", ""), "op"
    else:
        for kind, known in _OPERATOR_KINDS:
            if text in known:
                part.latex, part.kind = known[text], kind
                part.tall = kind == "op"
                return part
        return _other_operator(part, text)
    return part


_OPERATOR_KINDS = (
    ("open", symbols.OPENING), ("close", symbols.CLOSING), ("rel", symbols.RELATIONS), ("bin", symbols.BINARY),
    ("punct", symbols.PUNCTUATION), ("op", symbols.LARGE),
)  # fmt: skip


def _other_operator(part: Part, text: str) -> Part:
    if len(text) > 1 and text.replace(" ", "").isalpha():
        part.latex, part.kind = rf"\operatorname{{{text}}}", "op"
    else:
        part.latex = symbols.spelled(text)
    return part


def _text(part: Part) -> Part:
    inner = "".join(inner.latex for inner in part.parts)
    text = _XML_SPACE.sub(" ", "".join(char for char in part.text if char not in symbols.INVISIBLE))
    text = part.text = re.sub(r"\s+", " ", text.strip(" "))
    if part.tag == "ms" and not text.strip().startswith(('"', "“")):
        text = f'"{text.strip()}"'
    if text.strip():
        part.latex, part.style = rf"\text{{{symbols.escape_text(text)}}}", "" if inner else "text"
    else:
        part.latex = r"\ " if text else ""
    part.latex += inner
    return part


def _space(part: Part) -> Part:
    width = attribute(part.attributes, "width")
    if attribute(part.attributes, "linebreak") == "newline":
        part.latex = r" \\ "
        return part
    ems = {"thinmathspace": 1 / 6, "mediummathspace": 2 / 9, "thickmathspace": 5 / 18}.get(width)
    if ems is None:
        size = re.match(r"(-?\d{0,6}\.?\d{0,6})(em|ex|px|pt)?", width)
        ems = _float(size[1]) / {"ex": 2, "px": 16, "pt": 10}.get(size[2], 1) if size else 0.0
    for least, command in ((1.5, r"\qquad"), (0.8, r"\quad"), (0.26, r"\;"), (0.2, r"\:"), (0.05, r"\,")):
        if ems >= least:
            part.latex = command
            return part
    part.latex = r"\!" if ems < -0.05 else ""
    return part


def _float(digits: str) -> float:
    try:
        return float(digits)
    except ValueError:
        return 0.0


# ── Layout ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _row(part: Part) -> Part:
    """An element that only groups: one that holds a single part is that part."""
    inner = [inner for inner in part.parts if inner.latex or inner.kind == "apply"]
    variant = symbols.VARIANTS.get(attribute(part.attributes, "mathvariant"), "") if part.tag == "mstyle" else ""
    if len(inner) == 1 and not variant:
        return inner[0]
    latex = row(inner)
    if variant and latex:
        return Part("mstyle", latex=f"\\{variant}{{{latex}}}", tall=any(one.tall for one in inner))
    return Part(
        "mrow", latex=latex, parts=inner, kind="ord" if latex else "none", atom=is_fenced(inner),
        tall=any(one.tall for one in inner), text="".join(one.text for one in inner) if len(inner) < 4 else "",
    )  # fmt: skip


def _arguments(part: Part, count: int) -> list[Part]:
    """Exactly `count` parts; missing ones are empty, and one too many makes the last a row.

    An HTML parser takes `<m:mrow/>` for a start tag, so that what follows lies in it: then the first part is empty.
    """
    parts = part.parts
    if len(parts) == 1 < count and parts[0].tag == "mrow" and len(parts[0].parts) == count - 1:
        parts = [Part("none"), *parts[0].parts]
    elif len(parts) == 1 and count == 2 and part.tag in ("msub", "msup"):
        parts = [Part("none"), *parts]
    if len(parts) > count:
        parts = [*parts[: count - 1], Part("mrow", latex=row(parts[count - 1 :]))]
    return [*parts, *(Part("none") for _ in range(count - len(parts)))]


def _fraction(part: Part) -> Part:
    upper, lower = _arguments(part, 2)
    thickness = attribute(part.attributes, "linethickness").strip()
    if re.fullmatch(r"0+(\.0+)?\s*(%|[a-z]*)", thickness):
        return Part("atop", parts=[upper, lower], latex=rf"{{{upper.latex} \atop {lower.latex}}}", tall=True)
    if attribute(part.attributes, "bevelled") == "true":
        numerator, denominator = (one.latex if one.atom else f"{{{one.latex}}}" for one in (upper, lower))
        return Part("mfrac", latex=f"{numerator}/{denominator}", atom=False)
    return Part("mfrac", latex=rf"\frac{{{upper.latex}}}{{{lower.latex}}}", tall=True)


def _square_root(part: Part) -> Part:
    return Part("msqrt", latex=rf"\sqrt{{{row(part.parts)}}}", tall=any(inner.tall for inner in part.parts))


def _root(part: Part) -> Part:
    base, index = _arguments(part, 2)
    return Part("mroot", latex=rf"\sqrt[{index.latex}]{{{base.latex}}}", tall=base.tall)


def _scripted(part: Part) -> Part:
    """msub, msup, msubsup."""
    base, *others = _arguments(part, 3 if part.tag == "msubsup" else 2)
    lower = others[0].latex if part.tag != "msup" else ""
    upper = others[-1].latex if part.tag != "msub" else ""
    kind = base.kind if base.kind in ("op", "rel", "bin", "close", "open") else "ord"
    return Part(
        part.tag, latex=script(base, lower, upper), kind=kind, atom=False, tall=base.tall, text=base.text,
        attributes=base.attributes,
    )  # fmt: skip


def _under_over(part: Part) -> Part:
    base, *others = _arguments(part, 3 if part.tag == "munderover" else 2)
    under = others[0] if part.tag != "mover" else None
    over = others[-1] if part.tag != "munder" else None
    if _takes_limits(base):
        word = base.style == "mathrm" or base.latex.startswith(r"\operatorname")
        inside = base.latex[base.latex.find("{") + 1 : -1]
        operator = Part("mo", latex=rf"\operatorname*{{{inside}}}") if word else Part("mo", latex=base.latex)
        latex = script(operator, under.latex if under else "", over.latex if over else "")
        return Part(part.tag, latex=latex, kind="op", atom=False, tall=True)
    if base.text in symbols.STRETCHED_ARROWS and base.kind == "rel":
        lower = f"[{under.latex}]" if under and under.latex else ""
        arrow = symbols.STRETCHED_ARROWS[base.text]
        return Part(part.tag, latex=rf"\{arrow}{lower}{{{over.latex if over else ''}}}", kind="rel")
    if under is not None:
        base = _accented(base, under, "underset", symbols.UNDER_ACCENTS, "_")
    if over is not None:
        base = _accented(base, over, "overset", symbols.ACCENTS, "^")
    return base


def _takes_limits(base: Part) -> bool:
    if base.kind == "op" and base.tag not in ("msub", "msup", "msubsup"):
        return True
    return base.style == "mathrm" and len(base.text) > 1 and base.tag == "mi"


def _accented(base: Part, mark: Part, otherwise: str, accents: dict[str, str], caret: str) -> Part:
    """`base` with an accent, with a brace's label, or else with something set above or below it."""
    command = accents.get(mark.text.strip()) if mark.tag == "mo" or mark.text in ("¯", "‾", "_") else None
    if command is not None:
        if otherwise == "overset" and (len(base.text) != 1 or base.tag not in _TOKEN_ELEMENTS):
            command = symbols.WIDE_ACCENTS.get(command, command)
        return Part("accent", latex=rf"\{command}{{{base.latex}}}", tall=base.tall, kind="ord", style="")
    if base.tag == "accent" and base.latex.startswith((r"\underb", r"\overb", r"\underp", r"\overp")):
        return Part("label", latex=f"{base.latex}{caret}{{{mark.latex}}}", atom=False, tall=base.tall)
    kind = base.kind if base.kind in ("rel", "bin") else "ord"
    return Part(otherwise, latex=rf"\{otherwise}{{{mark.latex}}}{{{base.latex}}}", kind=kind, tall=True)


def _multiscripts(part: Part) -> Part:
    base, *others = part.parts or [Part("none")]
    split = next((place for place, one in enumerate(others) if one.tag == "mprescripts"), len(others))
    latex = "".join(_script_pairs([one for one in others[split + 1 :] if one.tag != "mprescripts"]))
    first, *more = _script_pairs(others[:split], base) or [base.latex]
    return Part("mmultiscripts", latex=latex + first + "".join(more), atom=False, tall=base.tall)


def _script_pairs(scripts: list[Part], base: Part | None = None) -> list[str]:
    latex = []
    for place in range(0, len(scripts), 2):
        lower, upper = scripts[place].latex, scripts[place + 1].latex if place + 1 < len(scripts) else ""
        latex.append(script(base or Part("none"), lower, upper))
        base = None
    return latex


# ── Tables, enclosures and the rest ─────────────────────────────────────────────────────────────────────────────────


def _table_row(part: Part) -> Part:
    cells = [cell if cell.tag == "mtd" else Part("mtd", parts=[cell], latex=cell.latex) for cell in part.parts]
    return Part(part.tag, part.attributes, parts=cells)


def _table_cell(part: Part) -> Part:
    return Part("mtd", part.attributes, parts=part.parts, latex=row(part.parts))


def _table(part: Part) -> Part:
    rows, labels = [], []
    for line in part.parts:
        cells = line.parts if line.tag in ("mtr", "mlabeledtr") else [line]
        labels.append(cells[0].latex if line.tag == "mlabeledtr" and cells else "")
        rows.append([cell.latex for cell in (cells[1:] if line.tag == "mlabeledtr" else cells)])
    numbers = [re.sub(r"\\text\{(.*)\}", r"\1", label) for label in labels]
    several = sum(map(bool, numbers)) > 1
    if several:
        rows = [
            [*cells[:-1], rf"{cells[-1]} \quad \text{{{number}}}"] if number and cells else cells
            for cells, number in zip(rows, numbers, strict=True)
        ]
    tag = "" if several else next((rf" \tag{{{number.strip('()')}}}" for number in numbers if number), "")
    if len(rows) == 1 and len(rows[0]) == 1:
        return Part("mrow", latex=rows[0][0] + tag, atom=False, tall=True)
    environment, columns = _environment(part, max(map(len, rows), default=0))
    return Part("mtable", latex=table(rows, environment, columns) + tag, rows=rows, tall=True)


def _environment(part: Part, width: int) -> tuple[str, str]:
    """What a table's alignment says that it is: lines of an alignment, an array, or a matrix."""
    named = attribute(part.attributes, "columnalign").split()
    spacing = attribute(part.attributes, "columnspacing").split()
    letters = "".join(name[0] for name in named if name in ("left", "center", "right"))
    if not letters or set(letters) == {"c"}:
        return "matrix", ""
    closely = not spacing or spacing[0].startswith("0")
    if closely and width > 1 and letters[:width].startswith("rl") and "rlrlrlrlrlrl".startswith(letters[:12]):
        return "aligned", ""
    return "array", f"{{{(letters + letters[-1] * min(width, 100))[: min(width, 100)]}}}"


_ENCLOSURES = {
    "box": "boxed", "roundedbox": "boxed", "circle": "boxed", "updiagonalstrike": "cancel", "radical": "sqrt",
    "downdiagonalstrike": "bcancel", "horizontalstrike": "cancel", "top": "overline", "bottom": "underline",
    "actuarial": "overline", "longdiv": "overline",
}  # fmt: skip


def _enclosed(part: Part) -> Part:
    notations = attribute(part.attributes, "notation").split() or ["longdiv"]
    latex = row(part.parts)
    if {"updiagonalstrike", "downdiagonalstrike"} <= set(notations):
        command = "xcancel"
    elif {"left", "right", "top", "bottom"} <= set(notations):
        command = "boxed"
    else:
        command = next((_ENCLOSURES[name] for name in notations if name in _ENCLOSURES), "")
    latex = f"\\{command}{{{latex}}}" if command else latex
    return Part("menclose", latex=latex, tall=any(inner.tall for inner in part.parts), atom=bool(command))


def _fenced(part: Part) -> Part:
    """mfenced: its fences and separators as operators between its parts."""
    fences = [
        attribute(part.attributes, name) if f' {name}="' in part.attributes else default
        for name, default in (("open", "("), ("close", ")"), ("separators", ","))
    ]
    opening, closing = (_operator(Part("mo", text=fence)) for fence in fences[:2])
    opening.kind, closing.kind = "open", "close"
    separators = "".join(fences[2].split())
    inner: list[Part] = []
    for place, one in enumerate(part.parts):
        if place and separators:
            inner.append(_operator(Part("mo", text=separators[min(place, len(separators)) - 1])))
        inner.append(one)
    return _row(Part("mrow", parts=[opening, *inner, closing]))


def _phantom(part: Part) -> Part:
    latex = row(part.parts)
    return Part("mphantom", latex=rf"\phantom{{{latex}}}" if latex else "")


def _action(part: Part) -> Part:
    selection = attribute(part.attributes, "selection").strip()
    place = int(selection) - 1 if selection.isascii() and selection.isdigit() and len(selection) < 4 else 0
    chosen = part.parts[place : place + 1] or part.parts[:1]
    return chosen[0] if chosen else Part("none", kind="none")


def _semantics(part: Part) -> Part:
    for inner in part.parts:
        encoding = attribute(inner.attributes, "encoding").strip().lower()
        if inner.tag == "annotation" and encoding in _TEX_ENCODINGS and is_balanced(inner.text):
            formula = normal_form(inner.text)
            if formula is not None:
                return Part("semantics", latex=formula.latex, atom=False)
    shown = [inner for inner in part.parts if not inner.tag.startswith("annotation")]
    if shown:
        return shown[0]
    inside = [inner for inner in part.parts if inner.tag == "annotation-xml"]
    return _row(Part("mrow", parts=inside[0].parts)) if inside else Part("none", kind="none")


def _glyph(part: Part) -> Part:
    alt = attribute(part.attributes, "alt")
    return Part("mglyph", text=alt, latex=rf"\text{{{symbols.escape_text(alt)}}}" if alt else "")


_HANDLERS: dict[str, Callable[[Part], Part]] = {
    "mi": _identifier, "mn": _number, "mo": _operator, "mtext": _text, "ms": _text, "mspace": _space, "mglyph": _glyph,
    "mrow": _row, "mstyle": _row, "mpadded": _row, "merror": _row, "math": _row, "mfrac": _fraction,
    "msqrt": _square_root, "mroot": _root, "msub": _scripted, "msup": _scripted, "msubsup": _scripted,
    "munder": _under_over, "mover": _under_over, "munderover": _under_over, "mmultiscripts": _multiscripts,
    "mtable": _table, "mtr": _table_row, "mlabeledtr": _table_row, "mtd": _table_cell, "menclose": _enclosed,
    "mfenced": _fenced, "mphantom": _phantom, "maction": _action, "semantics": _semantics,
    "none": lambda part: part, "mprescripts": lambda part: part, **content_mathml.HANDLERS,
}  # fmt: skip
