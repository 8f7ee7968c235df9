"""Parts of a formula, and how they become LaTeX beside, above and below each other."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate


@dataclass(slots=True)
class Part:
    """A piece of a formula.

    Attributes:
        tag: The element that it comes from, without prefix.
        attributes: That element's attributes, as they stand in the markup.
        text: A token's characters.
        parts: The pieces that it was made of.
        latex: Its LaTeX.
        kind: What it is to its neighbours: ord, bin, rel, punct, open, close, bar, op, apply or none.
        style: The command that sets a token, such as `mathrm`; equal ones in turn are joined.
        atom: Whether a script can be set to it without braces.
        tall: Whether it is higher than a line, so that fences around it have to grow.
        rows: The cells of a table.
        binding: How closely its operator binds; lower than its surroundings' means parentheses.
    """

    tag: str
    attributes: str = ""
    text: str = ""
    parts: list[Part] = field(default_factory=list)
    latex: str = ""
    kind: str = "ord"
    style: str = ""
    atom: bool = True
    tall: bool = False
    rows: list[list[str]] = field(default_factory=list)
    binding: int = 100


_MATRICES = {"()": "pmatrix", "[]": "bmatrix", "{}": "Bmatrix", "||": "vmatrix", "‖‖": "Vmatrix", "∥∥": "Vmatrix",
             "∣∣": "vmatrix"}  # fmt: skip
_ENDS_IN_COMMAND = re.compile(r"\\[a-zA-Z]+$")
_BEFORE_SIGNS = frozenset(("none", "bin", "rel", "open", "punct", "op"))


def table(rows: Sequence[Sequence[str]], environment: str, columns: str = "") -> str:
    """Rows of cells as a LaTeX environment; `columns` are the letters that an array needs."""
    body = r" \\ ".join(" & ".join(row) for row in rows)
    return rf"\begin{{{environment}}}{columns} {body} \end{{{environment}}}"


def row(parts: Iterable[Part]) -> str:
    """Sets parts beside each other: fences in pairs, spaces around operators, signs close to what they belong to."""
    parts = [part for part in parts if part.latex or part.kind == "apply"]
    return parts[0].latex if len(parts) == 1 else _join(_fenced(parts, pairs(parts)))


def pairs(parts: Sequence[Part]) -> dict[int, int]:
    """Which opening fence, by its place, is closed by which."""
    found: dict[int, int] = {}
    waiting: list[int] = []
    for place, part in enumerate(parts):
        if part.kind == "open":
            waiting.append(place)
        elif part.kind == "close" and waiting:
            found[waiting.pop()] = place
    bars = [place for place, part in enumerate(parts) if part.kind == "bar"]
    if len(parts) > 2 and bars == [0, len(parts) - 1] and parts[0].text == parts[-1].text:
        found[0] = len(parts) - 1
    return found


def is_fenced(parts: Sequence[Part]) -> bool:
    """Whether one pair of fences stands around all of `parts`."""
    return len(parts) > 1 and pairs(parts).get(0) == len(parts) - 1


def _fenced(parts: list[Part], closed_by: dict[int, int]) -> list[Part]:
    """Lets fences grow with what is tall between them, and makes matrices, binomials and cases of them."""
    tall = list(accumulate((part.tall for part in parts), initial=0))
    made: list[Part] = []
    replaced: dict[int, Part] = {}
    place = 0
    while place < len(parts):
        part, end = replaced.get(place, parts[place]), closed_by.get(place)
        inner = parts[place + 1] if place + 1 < len(parts) else part
        if end == place + 2 and (whole := _matrix_or_binomial(part, inner, parts[end])):
            part, place = whole, end
        elif end is not None and tall[end] > tall[place + 1] and _grows(part) and _grows(parts[end]):
            part = Part("mo", latex=rf"\left{part.latex}", kind="open")
            replaced[end] = Part("mo", latex=rf"\right{parts[end].latex}", kind="close")
        elif end is None and part.text == "{" and inner.rows and _grows(part):
            part, place = Part("mtable", latex=table(inner.rows, "cases")), place + 1
        made.append(part)
        place += 1
    return made


def _grows(fence: Part) -> bool:
    return 'stretchy="false"' not in fence.attributes


def _matrix_or_binomial(opening: Part, inner: Part, closing: Part) -> Part | None:
    fences = opening.text + closing.text
    if inner.tag == "atop" and fences == "()":
        upper, lower = inner.parts
        return Part("mfrac", latex=rf"\binom{{{upper.latex}}}{{{lower.latex}}}", tall=True)
    if inner.rows and fences in _MATRICES and inner.latex.startswith((r"\begin{matrix}", r"\begin{array}")):
        return Part("mtable", latex=table(inner.rows, _MATRICES[fences]), tall=True)
    return None


def _join(parts: list[Part]) -> str:
    pieces: list[str] = []
    before = Part("", kind="none")
    for place, part in enumerate(parts):
        if part.kind == "apply":
            continue
        latex, kind = part.latex, part.kind
        if (
            part.style == "mathrm"
            and len(part.text) > 1
            and place + 1 < len(parts)
            and parts[place + 1].kind == "apply"
        ):
            latex, kind = rf"\operatorname{{{part.latex[8:-1]}}}", "op"
        elif kind == "bin" and before.kind in _BEFORE_SIGNS:
            kind = "ord"
        if part.style and part.style == before.style and kind == before.kind:
            inside = latex[len(part.style) + 2 : -1]
            last = pieces.pop()[:-1]
            pieces.append(f"{last}{' ' if _glues(last, inside) else ''}{inside}}}")
        else:
            if pieces and (_parted(before, kind, latex) or _glues(pieces[-1], latex)):
                pieces.append(" ")
            pieces.append(latex)
        before = Part(part.tag, text=part.text, latex=latex, kind=kind, style=part.style if kind != "op" else "")
    return "".join(pieces)


def _parted(before: Part, kind: str, latex: str) -> bool:
    """Whether a space stands between what was `before` and a part of `kind`."""
    if kind in ("close", "punct") or before.kind == "open":
        return False
    if kind in ("bin", "rel") or before.kind in ("bin", "rel", "punct"):
        return True
    if before.kind == "op":
        return not latex.startswith(("(", "[", "\\left", "{", "^", "_"))
    return kind == "op"


def _glues(before: str, latex: str) -> bool:
    """Whether a command at the end of `before` would run into the letters that follow."""
    return latex[:1].isalpha() and bool(_ENDS_IN_COMMAND.search(before[-40:]))


def group(latex: str) -> str:
    """An argument of a script: in braces, unless it is one character."""
    return latex if len(latex) == 1 and latex not in "\\{}^_%#&~ '" else f"{{{latex}}}"


def script(base: Part, lower: str = "", upper: str = "") -> str:
    """`base` with a subscript and a superscript, either of which may be empty; primes stand without a caret."""
    latex = base.latex if base.atom and base.latex else f"{{{base.latex}}}"
    if lower:
        latex += f"_{group(lower)}"
    if upper and not upper.strip("'"):
        return latex + upper
    return f"{latex}^{group(upper.replace('{}^', ''))}" if upper else latex
