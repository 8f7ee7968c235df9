r"""TeX between delimiters in running text, as MathJax and KaTeX find it: `\(…\)`, `\[…\]`, `$$…$$`, environments.

A single dollar stays as it is: it is the form that formulas have here anyway, or money.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tiers.l0_raw.math.latex import Formula, looks_like_latex, normal_form

_ENVIRONMENTS = (
    "equation align alignat xalignat flalign gather multline eqnarray displaymath math split aligned alignedat "
    "gathered array matrix pmatrix bmatrix Bmatrix vmatrix Vmatrix smallmatrix cases dcases subequations CD dmath"
).split()
_DELIMITER = re.compile(
    r"\\(?:[\\$()\[\]]|(begin|end)\{(" + "|".join(_ENVIRONMENTS) + r")(\*?)\})|\${6}|\$\$\$(?!\$)|\$\$"
)
# Three and six dollars are Codeforces' delimiters.
_CLOSED_BY = {r"\(": r"\)", r"\[": r"\]", "$$": "$$", "$" * 3: "$" * 3, "$" * 6: "$" * 6}
_SHOWN = {r"\[", "$$", "$" * 6}


def find_tex(text: str, trusted: bool) -> Iterator[tuple[int, int, Formula]]:
    """Finds formulas between delimiters.

    Args:
        text: Running text, in which a line break of the page is white space.
        trusted: Whether the page sets TeX for sure. Else only what looks like a formula is taken for one.

    Yields:
        Where each starts and ends, delimiters included, and the formula, in their order.
    """
    marks = [match for match in _DELIMITER.finditer(text) if match[0] not in (r"\\", r"\$")]
    partners = _partners(marks)
    place = 0
    while place < len(marks):
        partner = partners.get(place)
        place += 1
        if partner is None:
            continue
        start, end = marks[place - 1], marks[partner]
        formula = _formula(text, start, end, trusted)
        if formula is not None:
            yield start.start(), end.end(), formula
            place = partner + 1


def _formula(text: str, start: re.Match[str], end: re.Match[str], trusted: bool) -> Formula | None:
    inside = text[start.end() : end.start()]
    if start[1]:
        return normal_form(text[start.start() : end.end()], display=True)
    if not inside.strip() or not (trusted or looks_like_latex(inside)):
        return None
    return normal_form(inside, display=start[0] in _SHOWN)


def _partners(marks: list[re.Match[str]]) -> dict[int, int]:
    """Which mark closes which: for environments with the same name inside each other, else the next that can."""
    closed_by: dict[int, int] = {}
    open_environments: dict[str, list[int]] = {}
    for place, mark in enumerate(marks):
        if mark[1] == "begin":
            open_environments.setdefault(mark[2] + mark[3], []).append(place)
        elif mark[1] == "end" and (waiting := open_environments.get(mark[2] + mark[3])):
            closed_by[waiting.pop()] = place
    following: dict[str, int] = {}
    for place in range(len(marks) - 1, -1, -1):
        text = marks[place][0]
        closing = _CLOSED_BY.get(text)
        if closing in following:
            closed_by[place] = following[closing]
        following[text] = place
    return closed_by
