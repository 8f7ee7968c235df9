r"""The one form of LaTeX that every formula gets, whatever it was written in.

- An inline formula is `$…$`, a display `$$…$$`. White space inside is single spaces, so that each is one line.
- What only says where or how large a formula is set goes: outer delimiters, `equation` and `displaymath`, Wikipedia's
  `{\displaystyle …}`, sizes and colours of image servers, spacing at the ends, comments, `\label`, `\nonumber`.
- Environments that stand outside of delimiters become those that stand inside: `align`, `split` and `flalign` become
  `aligned`, `alignat` becomes `alignedat`, `gather` and `multline` become `gathered`, `eqnarray` an array `rcl`.
- Equation numbers stay, as one `\tag{…}` at the end; a second one in the same formula becomes text in its row.
- No unescaped dollar is left inside: `\text{if $x$}` becomes `\text{if \(x\)}`.
- Nothing is decoded twice, no command is renamed, and macros of a page's own stay as they are.

All of it takes time linear in the length of a formula.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Formula:
    """A formula in normal form: its LaTeX without delimiters, and whether it stands on a line of its own."""

    latex: str
    display: bool = False

    def __str__(self) -> str:
        return f"$${self.latex}$$" if self.display else f"${self.latex}$"

    def tagged(self, number: str) -> Formula:
        """The display with an equation number such as `(2.1)`, unless it has one or `number` is none."""
        number = number.strip(" \t\n()[]")
        if not re.fullmatch(r"[\w.'*†-]{1,12}", number) or r"\tag" in self.latex:
            return self
        return Formula(rf"{self.latex} \tag{{{number}}}", display=True)


_ZERO_WIDTH = re.compile("[\0\u200b\u200e\u200f\u2060\ufeff\xad]")
_CDATA = re.compile(r"%?[ \t]*(?:<!\[CDATA\[|\]\]>)")
_ESCAPE_OR_PERCENT = re.compile(r"\\.|%", re.DOTALL)
_DROPPED = re.compile(r"\\label\s*\{[^{}]*\}|\\(?:nonumber|notag)(?![a-zA-Z])")
_SETTINGS = re.compile(
    r"(?:\\(?:inline|displaystyle|textstyle|large|Large|LARGE|huge|Huge|normalsize|small|bg_\w+|fn_\w+)(?![a-zA-Z])"
    r"|\\dpi\s*\{\w*\})\s*"
)
_STYLED_GROUP = re.compile(r"\{\s*\\(?:displaystyle|textstyle|scriptstyle)(?![a-zA-Z])")
_BLANK_START = re.compile(r"(?:\s|~|\\[,;:!> ]|\\quad(?![a-zA-Z])|\\qquad(?![a-zA-Z]))+")
_BLANK_END = re.compile(r"(?:\s|~|\\[,;:!> ]|\\q?quad)$")

_UNWRAPPED = ("equation", "displaymath", "math", "subequations", "dmath")
_RENAMED = {
    "align": "aligned", "flalign": "aligned", "split": "aligned", "alignat": "alignedat", "xalignat": "alignedat",
    "gather": "gathered", "multline": "gathered", "eqnarray": "array",
}  # fmt: skip
_ENVIRONMENT = re.compile(rf"\\(begin|end)\s*\{{\s*({'|'.join((*_UNWRAPPED, *_RENAMED))})\*?\s*\}}")
_TAG = re.compile(r"\\tag(\*?)\s*\{([^{}]*)\}")
_DELIMITERS = tuple(
    (opening, closing, shown, re.compile(r"(?<!\\)" + re.escape(opening)))
    for opening, closing, shown in (("$$", "$$", True), ("$", "$", False), (r"\(", r"\)", False), (r"\[", r"\]", True))
)
"""What stands around a formula, whether it makes it a display, and what of it may not stand within."""
_TEXT_OR_DOLLAR = re.compile(r"\\.|\$", re.DOTALL)


def normal_form(source: str, display: bool = False) -> Formula | None:
    """Brings LaTeX into the one form; see the module.

    Args:
        source: LaTeX, with or without delimiters, entities decoded.
        display: Whether it is a display where its own delimiters and environments don't say so.

    Returns:
        The formula, or `None` if nothing is left of it.
    """
    latex = _body(_ZERO_WIDTH.sub("", source).replace("\xa0", " "))
    latex = " ".join(_without_comments(_CDATA.sub("", latex)).split())
    latex, display = _unwrap(latex, display)
    display = display or _is_display(latex)
    latex = _inner_environments(_DROPPED.sub("", latex))
    latex, display = _unwrap(" ".join(latex.split()), display)
    latex = _without_dollars(_trim(latex))
    return Formula(latex, display) if latex else None


def _body(latex: str) -> str:
    """What a whole LaTeX document holds, as publishers give for one formula."""
    preamble, begin, body = latex.partition(r"\begin{document}")
    return body.partition(r"\end{document}")[0] if begin and r"\documentclass" in preamble else latex


def _without_comments(latex: str) -> str:
    """Takes comments away up to the ends of their lines. A percent sign with no line end after it hides nothing."""
    last_line_end = latex.rfind("\n")
    pieces, done, at = [], 0, 0
    while match := _ESCAPE_OR_PERCENT.search(latex, at):
        at = match.end()
        if match[0] != "%":
            continue
        pieces.append(latex[done : match.start()])
        if match.start() < last_line_end:
            at = latex.index("\n", at)  # which parts a command before it from letters after it
        elif latex[max(0, match.start() - 2) : match.start()].rstrip(" ")[-1:].isdigit():
            pieces.append(r"\%")
        done = at
    return "".join([*pieces, latex[done:]])


def _unwrap(latex: str, display: bool) -> tuple[str, bool]:
    """Takes off delimiters, style groups and settings, as often as they are wrapped around all of `latex`."""
    for _ in range(8):
        latex = _trim(latex)
        inner = _undelimited(latex)
        if inner is not None:
            latex, shown = inner
            display = display or shown
            continue
        if (group := _STYLED_GROUP.match(latex)) and _closes_at_end(latex):
            latex = latex[group.end() : -1]
        elif setting := _SETTINGS.match(latex):
            latex = latex[setting.end() :]
        else:
            break
    return latex, display


def _undelimited(latex: str) -> tuple[str, bool] | None:
    for opening, closing, shown, again in _DELIMITERS:
        if len(latex) >= len(opening) + len(closing) and latex.startswith(opening) and latex.endswith(closing):
            inner = latex[len(opening) : -len(closing)]
            if inner.endswith("\\") and not inner.endswith("\\\\"):
                return None
            if not again.search(inner):
                return inner, shown
    return None


def _closes_at_end(latex: str) -> bool:
    """Whether the brace that opens `latex` is closed by its last character."""
    depth = 0
    for match in re.finditer(r"\\.|[{}]", latex, re.DOTALL):
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        if depth == 0 and match[0] == "}":
            return match.end() == len(latex)
    return False


def is_balanced(latex: str) -> bool:
    """Whether each brace of `latex` has its partner."""
    depth = 0
    for match in re.finditer(r"\\.|[{}]", latex, re.DOTALL):
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        if depth < 0:
            return False
    return depth == 0


def _is_display(latex: str) -> bool:
    return any(match[2] not in ("math", "split") for match in _ENVIRONMENT.finditer(latex))


def _inner_environments(latex: str) -> str:
    """Gives environments the names that they have inside of delimiters; their equation numbers go to the end."""
    renamed = False

    def rename(match: re.Match[str]) -> str:
        nonlocal renamed
        verb, name = match[1], match[2]
        if name in _UNWRAPPED:
            return " "
        renamed = True
        return rf"\{verb}{{{_RENAMED[name]}}}" + ("{rcl}" if name == "eqnarray" and verb == "begin" else "")

    latex = _ENVIRONMENT.sub(rename, latex)
    tags = _TAG.findall(latex)
    if not tags or (len(tags) == 1 and not renamed):
        return latex
    if len(tags) == 1:
        return f"{_TAG.sub('', latex)} \\tag{tags[0][0]}{{{tags[0][1]}}}"
    return _TAG.sub(lambda tag: rf"\quad \text{{{tag[2]}}}" if tag[1] else rf"\quad \text{{({tag[2]})}}", latex)


def _trim(latex: str) -> str:
    """Takes spacing off both ends, and backslashes off the end, where they would escape a dollar."""
    start = match.end() if (match := _BLANK_START.match(latex)) else 0
    end = len(latex)
    while end > start:
        blank = _BLANK_END.search(latex, max(start, end - 6), end)
        if latex[end - 1] == "\\" or latex[end - 1].isspace():
            end -= 1
        elif blank and not _is_escaped(latex, blank.start()):
            end = blank.start()
        else:
            break
    return latex[start:end]


def _is_escaped(latex: str, at: int) -> bool:
    before = latex[max(0, at - 8) : at]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1


def _without_dollars(latex: str) -> str:
    """Writes formulas inside of text as `\\(…\\)`; a dollar without a partner is escaped."""
    left = sum(match[0] == "$" for match in _TEXT_OR_DOLLAR.finditer(latex))
    if not left:
        return latex
    opened = False

    def delimiter(match: re.Match[str]) -> str:
        nonlocal left, opened
        if match[0] != "$":
            return match[0]
        left -= 1
        if not opened and not left:
            return r"\$"
        opened = not opened
        return r"\(" if opened else r"\)"

    return _TEXT_OR_DOLLAR.sub(delimiter, latex)


_COMMAND = re.compile(r"\\(?:[a-zA-Z]{2,}|[,;:!{}|%])")
_WORD = re.compile(r"[^\W\d_]{3,}")
_FUNCTION_WORDS = frozenset(
    "sin cos tan cot sec csc log exp lim max min sup inf det dim ker deg gcd mod arcsin arccos arctan sinh cosh "
    "tanh arg lcm rank sgn var cov argmax argmin".split()
)


def looks_like_latex(text: str) -> bool:
    """Whether `text` can be meant as a formula: it has a command, a script, a brace or an equals sign, or no words."""
    if len(text) > 100_000 or not any(char.isalnum() for char in text):
        return bool(_COMMAND.search(text))
    if _COMMAND.search(text) or ("{{" not in text and any(char in text for char in "^{=")):
        return True
    return len(text) <= 200 and all(word.lower() in _FUNCTION_WORDS for word in _WORD.findall(text))
