"""AsciiMath to LaTeX, after the grammar and the symbols of asciimath.org.

expression   = intermediate ["/" intermediate] …
intermediate = simple ["_" simple] ["^" simple]
simple       = symbol | fence expression fence | unary simple | binary simple simple
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container

from tiers.l0_raw.math import symbols

MAX_DEPTH = 40
"""Fences and commands that may be open at once; deeper ones stand as plain symbols."""

MAX_MATRIX = 300
"""Tokens that a matrix may have."""

_NAMES = """
    alpha beta chi delta epsi varepsilon eta gamma iota kappa lambda mu nu omega phi varphi pi psi rho sigma tau theta
    vartheta upsilon xi zeta Delta Gamma Lambda Omega Phi Pi Psi Sigma Theta Xi epsilon sum prod int oint cdot ast
    star div times circ oplus otimes odot wedge vee cap cup bigwedge bigvee bigcap bigcup ne le leq ge geq prec succ
    preceq succeq in notin subset supset subseteq supseteq equiv cong sim approx propto neg implies iff forall exists
    bot top vdash models partial nabla emptyset infty aleph therefore because angle triangle frown ldots cdots vdots
    ddots quad diamond square langle rangle uparrow downarrow rightarrow leftarrow leftrightarrow to mapsto Rightarrow
    Leftarrow Leftrightarrow bowtie ltimes rtimes setminus oint grad prop hookrightarrow sin cos tan sec csc cot
    arcsin arccos arctan sinh cosh tanh coth exp log ln det dim lim gcd min max sup inf lcm mod pm mp hbar cdots dots
"""
_SYMBOLS = {
    **{name: "\\" + name for name in _NAMES.split()},
    **{
        "*": r"\cdot", "**": r"\ast", "***": r"\star", "//": "/", r"\\": r"\backslash", "xx": r"\times", "-:": r"\div",
        "|><": r"\ltimes", "><|": r"\rtimes", "|><|": r"\bowtie", "@": r"\circ", "o+": r"\oplus", "ox": r"\otimes",
        "o.": r"\odot", "^^": r"\wedge", "^^^": r"\bigwedge", "vv": r"\vee", "vvv": r"\bigvee", "nn": r"\cap",
        "nnn": r"\bigcap", "uu": r"\cup", "uuu": r"\bigcup", "!=": r"\neq", "<=": r"\leq", ">=": r"\geq", "lt": "<",
        "gt": ">", "lt=": r"\leq", "gt=": r"\geq", "-<": r"\prec", "-<=": r"\preceq", ">-": r"\succ", ">-=": r"\succeq",
        "!in": r"\notin", "sub": r"\subset", "sup": r"\supset", "sube": r"\subseteq", "supe": r"\supseteq",
        "-=": r"\equiv", "~=": r"\cong", "~~": r"\approx", "~": r"\sim", "prop": r"\propto", "not": r"\neg",
        "=>": r"\implies", "<=>": r"\iff", "AA": r"\forall", "EE": r"\exists", "_|_": r"\bot", "TT": r"\top",
        "|--": r"\vdash", "|==": r"\models", "del": r"\partial", "grad": r"\nabla", "+-": r"\pm", "-+": r"\mp",
        "O/": r"\emptyset", "oo": r"\infty", "...": r"\ldots", ":.": r"\therefore", ":'": r"\because",
        "/_": r"\angle", "/_\\": r"\triangle", "\\ ": r"\ ", "CC": r"\mathbb{C}", "NN": r"\mathbb{N}",
        "QQ": r"\mathbb{Q}", "RR": r"\mathbb{R}", "ZZ": r"\mathbb{Z}", "uarr": r"\uparrow", "darr": r"\downarrow",
        "rarr": r"\to", "->": r"\to", ">->": r"\rightarrowtail", "->>": r"\twoheadrightarrow", "|->": r"\mapsto",
        "larr": r"\leftarrow", "harr": r"\leftrightarrow", "rArr": r"\Rightarrow", "lArr": r"\Leftarrow",
        "hArr": r"\Leftrightarrow", "epsi": r"\epsilon", "lcm": r"\operatorname{lcm}", "mod": r"\bmod",
        "qquad": r"\qquad",
        "if": r"\text{if }", "and": r"\text{ and }", "or": r"\text{ or }", "dx": "dx", "dy": "dy", "dz": "dz",
        "dt": "dt",
        "prime": "'", "'": "'", ":=": ":=", "%": r"\%", "#": r"\#", "&": r"\&", "$": r"\$", "|": "|", "||": r"\|",
        "Lim": r"\operatorname{Lim}", "glb": r"\operatorname{glb}", "lub": r"\operatorname{lub}", "frown": r"\frown",
        "sech": r"\operatorname{sech}", "csch": r"\operatorname{csch}", "`": "",
    },
}  # fmt: skip
_UNARY = {
    "sqrt": "sqrt", "hat": "hat", "bar": "overline", "overline": "overline", "vec": "vec", "dot": "dot", "ddot": "ddot",
    "tilde": "tilde", "ul": "underline", "underline": "underline", "ubrace": "underbrace", "underbrace": "underbrace",
    "obrace": "overbrace", "overbrace": "overbrace", "overarc": "overparen", "cancel": "cancel", "bb": "mathbf",
    "mathbf": "mathbf", "bbb": "mathbb", "mathbb": "mathbb", "cc": "mathcal", "mathcal": "mathcal", "tt": "mathtt",
    "mathtt": "mathtt", "fr": "mathfrak", "mathfrak": "mathfrak", "sf": "mathsf", "mathsf": "mathsf", "rm": "mathrm",
    "text": "text", "mbox": "text", "abs": "|", "norm": r"\|", "floor": r"\lfloor", "ceil": r"\lceil",
}  # fmt: skip
_BINARY = {"frac": r"\frac{%s}{%s}", "root": r"\sqrt[%s]{%s}", "stackrel": r"\overset{%s}{%s}",
           "overset": r"\overset{%s}{%s}", "underset": r"\underset{%s}{%s}", "color": "{1}"}  # fmt: skip
_OPENING = {"(": "(", "[": "[", "{": r"\{", "(:": r"\langle", "<<": r"\langle", "{:": ".", "|:": "|",
            "langle": r"\langle"}  # fmt: skip
_CLOSING = {")": ")", "]": "]", "}": r"\}", ":)": r"\rangle", ">>": r"\rangle", ":}": ".", ":|": "|",
            "rangle": r"\rangle"}  # fmt: skip
_AROUND = {"abs": ("|", "|"), "norm": (r"\|", r"\|"), "floor": (r"\lfloor", r"\rfloor"),
           "ceil": (r"\lceil", r"\rceil")}  # fmt: skip
_MATRIX = {"[]": "bmatrix", "()": "pmatrix", "||": "vmatrix", "{:}": "cases"}
_SPACED = frozenset(
    r"= < > \leq \geq \neq \le \ge \ne \to \in \notin \equiv \approx \sim \cong \implies \iff \subset \subseteq "
    r"\supset \supseteq + - \pm \mp \cdot \times \div \cup \cap \wedge \vee \Rightarrow \rightarrow \mapsto := \bmod "
    r"\propto \oplus \otimes \circ \setminus".split()
)
_FUNCTIONS = frozenset(
    "sin cos tan sec csc cot arcsin arccos arctan sinh cosh tanh coth sech csch exp log ln det dim gcd lcm f g".split()
)
_LARGE = (r"\sum", r"\prod", r"\int", r"\oint", r"\lim", r"\big")
_ENDS_IN_COMMAND = re.compile(r"\\[a-zA-Z]+$")
_TALL = re.compile(r"\\(?:frac|sum|prod|int|oint|begin|sqrt\[|overset|underset)")
_TOKEN = re.compile(
    r"\s+|\"[^\"]*\"|(?:text|mbox)\([^()]*\)|\d+(?:\.\d+)?|"
    + "|".join(re.escape(name) for name in sorted({*_SYMBOLS, *_UNARY, *_BINARY, *_OPENING, *_CLOSING, "/", "_", "^"},
                                                  key=len, reverse=True))
    + r"|.", re.DOTALL,
)  # fmt: skip


def latex_of_asciimath(source: str) -> str:
    """Converts one formula, which comes without its backticks. Nothing that is written wrongly raises."""
    tokens = [token for token in _TOKEN.findall(source) if not token.isspace()]
    return _Reader(tokens).all()


class _Reader:
    """Reads tokens from the left; each method gives the LaTeX of what it has read."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens
        self.at = 0
        self.depth = 0

    def all(self) -> str:
        pieces = [self.expression()]
        while self.at < len(self.tokens):  # a closing fence without its opening one
            pieces.append(_CLOSING[self.tokens[self.at]].replace(".", ""))
            self.at += 1
            pieces.append(self.expression())
        return _side_by_side([piece for piece in pieces if piece])

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def expression(self) -> str:
        """Up to a closing fence or the end."""
        pieces: list[str] = []
        while (token := self.peek()) and token not in _CLOSING:
            upper, bare = self.intermediate()
            if self.peek() == "/":
                self.at += 1
                lower = self.intermediate()[1] if self.peek() and self.peek() not in _CLOSING else ""
                pieces.append(rf"\frac{{{bare}}}{{{lower}}}")
            else:
                pieces.append(upper)
        return _side_by_side(pieces)

    def intermediate(self) -> tuple[str, str]:
        """With scripts. Both forms of what was read: as it is, and without the fences around it."""
        if self.peek() in ("_", "^", "/"):
            latex = bare = "" if self.peek() != "/" else "/"
            self.at += self.peek() == "/"
        else:
            latex, bare = self.simple()
        scripts = ""
        for caret in ("_", "^"):
            if self.peek() == caret:
                self.at += 1
                argument = self.simple()[1] if self.peek() and self.peek() not in _CLOSING else ""
                scripts += f"{caret}{argument}" if len(argument) == 1 else f"{caret}{{{argument}}}"
        return (latex + scripts, latex + scripts) if scripts else (latex, bare)

    def simple(self) -> tuple[str, str]:
        token = self.peek()
        self.at += 1
        if self.depth < MAX_DEPTH:
            self.depth += 1
            try:
                for known, read in _COMPOUNDS:
                    if token in known and (latex := read(self, token)):
                        return latex
            finally:
                self.depth -= 1
        return (_plain(token),) * 2

    def fenced(self, opening: str) -> tuple[str, str]:
        if matrix := self.matrix(opening):
            return matrix, matrix
        inner = self.expression()
        closing = self.peek()
        self.at += 1
        if not closing:
            return _side_by_side([_plain(opening), inner]), inner
        left, right = _OPENING[opening], _CLOSING[closing]
        if _TALL.search(inner) or "." in (left, right):
            return rf"\left{left} {inner} \right{right}", inner
        gap = " " if left.startswith("\\l") and inner[:1].isalpha() else ""
        return f"{left}{gap}{inner}{' ' if right.startswith(chr(92) + 'r') else ''}{right}", inner

    def matrix(self, opening: str) -> str:
        """The matrix that starts here, if the fence holds rows in fences, each with as many cells."""
        rows, end = self.cells()
        if len(rows) < 2 or len({len(cells) for cells in rows}) != 1:
            return ""
        closing = self.tokens[end]
        name = _MATRIX.get("{:}" if (opening, closing) == ("{", ":}") else opening + closing, "matrix")
        body = r" \\ ".join(" & ".join(self.part(*cell) for cell in cells) for cells in rows)
        self.at = end + 1
        return rf"\begin{{{name}}} {body} \end{{{name}}}"

    def cells(self) -> tuple[list[list[tuple[int, int]]], int]:
        """Where the cells of each row start and end, and where the matrix ends; no rows if this is none."""
        rows: list[list[tuple[int, int]]] = []
        level, start = 0, self.at
        if self.peek() not in _OPENING:
            return [], 0
        for place in range(self.at, min(len(self.tokens), self.at + MAX_MATRIX)):
            token = self.tokens[place]
            if level == 0 and token in _CLOSING:
                return rows, place
            if token in _OPENING:
                level += 1
                if level == 1:
                    rows.append([])
                    start = place + 1
            elif level == 0 and token != ",":
                break
            elif (level == 1 and token == ",") or token in _CLOSING:
                level -= token in _CLOSING
                if level == 0 or token == ",":
                    rows[-1].append((start, place))
                    start = place + 1
        return [], 0

    def part(self, start: int, end: int) -> str:
        reader = _Reader(self.tokens[start:end])
        reader.depth = self.depth
        return reader.all()

    def bars(self, _: str) -> tuple[str, str] | None:
        if "|" not in self.tokens[self.at : self.at + 40]:
            return None
        end = self.tokens.index("|", self.at)
        inner = self.part(self.at, end)
        self.at = end + 1
        latex = rf"\left| {inner} \right|" if _TALL.search(inner) else f"|{inner}|"
        return latex, latex

    def unary(self, name: str) -> tuple[str, str] | None:
        if not self.peek() or self.peek() in _CLOSING:
            return None
        argument = self.simple()[1]
        if name in _AROUND:
            left, right = _AROUND[name]
            if _TALL.search(argument):
                latex = rf"\left{left} {argument} \right{right}"
            else:
                gap = " " if left[-1:].isalpha() else ""
                latex = f"{left}{gap}{argument}{gap}{right}"
        else:
            latex = f"\\{_UNARY[name]}{{{argument}}}"
        return latex, latex

    def function(self, name: str) -> tuple[str, str] | None:
        """With its argument, so that `sin x/2` is a fraction; without, where a script or nothing follows."""
        following = self.peek()
        if not following or following in "^_/,|" or following in _CLOSING:
            return None
        if len(name) == 1 and following not in _OPENING:
            return None
        latex = _side_by_side([_plain(name), self.simple()[0]])
        return latex, latex

    def binary(self, name: str) -> tuple[str, str]:
        arguments = [self.simple()[1] if self.peek() and self.peek() not in _CLOSING else "" for _ in range(2)]
        latex = arguments[1] if name == "color" else _BINARY[name] % tuple(arguments)
        return latex, latex


def _plain(token: str) -> str:
    if token in _SYMBOLS:
        return _SYMBOLS[token]
    if token.startswith('"'):
        return rf"\text{{{symbols.escape_text(token.strip(chr(34)))}}}"
    if token.startswith(("text(", "mbox(")):
        return rf"\text{{{symbols.escape_text(token[5:-1])}}}"
    fences = _OPENING.get(token) or _CLOSING.get(token)
    if fences is not None:
        return fences.replace(".", "")
    if len(token) > 1 and token.isalpha():
        return rf"\mathrm{{{token}}}"
    return symbols.symbol(token) if len(token) == 1 else token


def _side_by_side(pieces: list[str]) -> str:
    out: list[str] = []
    before, signed = "", False
    for piece in pieces:
        if not piece:
            continue
        spaced = (piece in _SPACED or before in _SPACED or before == ",") and bool(before) and not signed
        command = piece[0] == "\\" and piece[1:2].isalpha() and before[-1:].isalnum()
        glued = piece[0].isalpha() and _ENDS_IN_COMMAND.search(before[-40:])
        if spaced or command or glued or before.startswith(_LARGE):
            out.append(" ")
        out.append(piece)
        signed = piece in "+-" and (not before or before in _SPACED or before == ",")
        before = piece
    return "".join(out)


_COMPOUNDS: tuple[tuple[Container[str], Callable[[_Reader, str], tuple[str, str] | None]], ...] = (
    (_OPENING, _Reader.fenced),
    ("|", _Reader.bars),
    (_UNARY, _Reader.unary),
    (_BINARY, _Reader.binary),
    (_FUNCTIONS, _Reader.function),
)
