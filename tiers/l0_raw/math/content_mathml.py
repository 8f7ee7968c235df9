"""Content MathML to LaTeX: MathML 3 (W3C, 2014) section 4, the elements for school and first-year mathematics."""

from __future__ import annotations

from collections.abc import Callable, Container

from tiers.l0_raw.math import symbols
from tiers.l0_raw.math.row import Part, group, script, table

# How closely operators bind; an argument that binds less gets parentheses.
_QUANTIFIER, _LOGIC, _RELATION, _SUM, _PRODUCT, _SIGN, _POWER, _ATOM = 5, 8, 10, 20, 30, 35, 40, 100

_INFIX: dict[str, tuple[str, int]] = {
    "plus": ("+", _SUM), "times": ("", _PRODUCT), "and": (r"\land", _LOGIC), "or": (r"\lor", _LOGIC),
    "xor": (r"\oplus", _LOGIC),
    "implies": (r"\implies", _LOGIC), "equivalent": (r"\iff", _LOGIC), "eq": ("=", _RELATION),
    "neq": (r"\neq", _RELATION), "lt": ("<", _RELATION), "gt": (">", _RELATION), "leq": (r"\leq", _RELATION),
    "geq": (r"\geq", _RELATION), "approx": (r"\approx", _RELATION), "factorof": (r"\mid", _RELATION),
    "in": (r"\in", _RELATION), "notin": (r"\notin", _RELATION), "subset": (r"\subseteq", _RELATION),
    "prsubset": (r"\subset", _RELATION), "notsubset": (r"\nsubseteq", _RELATION),
    "notprsubset": (r"\not\subset", _RELATION), "tendsto": (r"\to", _RELATION), "union": (r"\cup", _SUM),
    "intersect": (r"\cap", _SUM), "setdiff": (r"\setminus", _SUM), "cartesianproduct": (r"\times", _PRODUCT),
    "compose": (r"\circ", _PRODUCT), "rem": (r"\bmod", _PRODUCT), "vectorproduct": (r"\times", _PRODUCT),
    "scalarproduct": (r"\cdot", _PRODUCT), "outerproduct": (r"\otimes", _PRODUCT),
}  # fmt: skip
_FUNCTIONS = {
    **{name: "\\" + name for name in symbols.FUNCTIONS if name not in ("log", "exp")},
    **{f"arc{name}": rf"\operatorname{{arc{name}}}" for name in "cot csc sec cosh coth csch sech sinh tanh".split()},
    "sech": r"\operatorname{sech}", "csch": r"\operatorname{csch}", "real": r"\Re", "imaginary": r"\Im",
    "determinant": r"\det", "lcm": r"\operatorname{lcm}", "grad": r"\nabla", "divergence": r"\nabla\cdot",
    "curl": r"\nabla\times", "laplacian": r"\nabla^2", "domain": r"\operatorname{dom}", "image": r"\operatorname{im}",
    "codomain": r"\operatorname{cod}", "variance": r"\operatorname{Var}", "median": r"\operatorname{median}",
    "mode": r"\operatorname{mode}",
}  # fmt: skip
_AROUND = {
    "abs": ("|", "|"), "floor": (r"\lfloor", r"\rfloor"), "ceiling": (r"\lceil", r"\rceil"), "card": ("|", "|"),
    "conjugate": (r"\overline{", "}"), "mean": (r"\langle", r"\rangle"),
}  # fmt: skip
_AFTER = {"factorial": "!", "transpose": "^T", "inverse": "^{-1}"}
_LARGE = {"sum": r"\sum", "product": r"\prod", "int": r"\int", "limit": r"\lim", "forall": r"\forall",
          "exists": r"\exists"}  # fmt: skip
_CONSTANTS = {
    "pi": r"\pi", "infinity": r"\infty", "exponentiale": "e", "imaginaryi": "i", "notanumber": r"\text{NaN}",
    "true": r"\text{true}", "false": r"\text{false}", "emptyset": r"\emptyset", "eulergamma": r"\gamma",
    "integers": r"\mathbb{Z}", "reals": r"\mathbb{R}", "rationals": r"\mathbb{Q}", "naturalnumbers": r"\mathbb{N}",
    "complexes": r"\mathbb{C}", "primes": r"\mathbb{P}", "ident": r"\operatorname{id}",
}  # fmt: skip
_SPECIAL = frozenset("minus divide power root exp ln log not diff partialdiff quotient selector sdev moment".split())

OPERATORS = frozenset((*_INFIX, *_FUNCTIONS, *_AROUND, *_AFTER, *_LARGE, *_CONSTANTS, *_SPECIAL)) - {"image"}
"""Elements that are always empty."""

SEPARATOR = "\0"
"""Stands for `<sep/>` between the two parts of a number."""

_QUALIFIERS = frozenset("bvar lowlimit uplimit condition degree logbase domainofapplication momentabout".split())


def _bracketed(part: Part, binding: int) -> str:
    """`part`, in parentheses if its operator binds less than `binding`."""
    if part.binding >= binding:
        return part.latex
    return rf"\left({part.latex}\right)" if part.tall else f"({part.latex})"


def _apply(part: Part) -> Part:
    if not part.parts:
        return Part("none", kind="none")
    operator, *rest = part.parts
    qualifiers = {one.tag: one for one in rest if one.tag in _QUALIFIERS}
    arguments = [one for one in rest if one.tag not in _QUALIFIERS]
    tall = any(one.tall for one in arguments)
    for known, build in _BUILDERS:
        if operator.tag in known:
            latex, binding = build(operator.tag, arguments, qualifiers)
            tall = tall or operator.tag in ("divide", "sum", "product", "int", "diff", "partialdiff")
            return Part("apply", latex=latex, binding=binding, tall=tall, atom=binding >= _POWER)
    called = ", ".join(one.latex for one in arguments)
    head = _bracketed(operator, _ATOM)
    return Part("apply", latex=rf"{head}\left({called}\right)" if tall else f"{head}({called})", tall=tall)


_Built = tuple[str, int]


def _infix(name: str, arguments: list[Part], _: dict[str, Part]) -> _Built:
    sign, binding = _INFIX[name]
    pieces: list[str] = []
    for place, one in enumerate(arguments):
        latex = _bracketed(one, binding if place == 0 or name in ("plus", "times") else binding + 1)
        if place and name == "plus" and latex.startswith("-"):
            pieces.append(f"- {latex[1:]}")
        elif place and sign:
            pieces.append(f"{sign} {latex}")
        elif place and name == "times" and latex[:1].isdigit():
            pieces.append(rf"\cdot {latex}")
        else:
            pieces.append(latex)
    return " ".join(pieces), binding if len(pieces) > 1 else _ATOM


def _minus(_: str, arguments: list[Part], __: dict[str, Part]) -> _Built:
    if len(arguments) == 1:
        return f"-{_bracketed(arguments[0], _PRODUCT)}", _SUM
    return " - ".join(_bracketed(one, _SUM + (place > 0)) for place, one in enumerate(arguments)), _SUM


def _divide(_: str, arguments: list[Part], __: dict[str, Part]) -> _Built:
    upper, lower = ([one.latex for one in arguments] + ["", ""])[:2]
    return rf"\frac{{{upper}}}{{{lower}}}", _ATOM


def _power(name: str, arguments: list[Part], _: dict[str, Part]) -> _Built:
    if name == "exp":
        return script(Part("ci", latex="e"), upper=arguments[0].latex if arguments else ""), _POWER
    base, exponent = ([*arguments, Part("none"), Part("none")])[:2]
    return script(Part("ci", latex=_bracketed(base, _ATOM)), upper=exponent.latex), _POWER


def _root(_: str, arguments: list[Part], qualifiers: dict[str, Part]) -> _Built:
    degree = qualifiers["degree"].latex if "degree" in qualifiers else "2"
    index = "" if degree == "2" else f"[{degree}]"
    return rf"\sqrt{index}{{{arguments[0].latex if arguments else ''}}}", _ATOM


def _function(name: str, arguments: list[Part], qualifiers: dict[str, Part]) -> _Built:
    command = _FUNCTIONS.get(name, rf"\{name}")
    if name == "log" and "logbase" in qualifiers:
        command = script(Part("mo", latex=command), lower=qualifiers["logbase"].latex)
    if name == "not":
        command = r"\neg"
    if len(arguments) == 1:
        one = _bracketed(arguments[0], _PRODUCT)
        return f"{command}{'' if one.startswith(('(', chr(92) + 'left')) else ' '}{one}", _PRODUCT
    return f"{command}({', '.join(one.latex for one in arguments)})", _ATOM


def _around(name: str, arguments: list[Part], _: dict[str, Part]) -> _Built:
    opening, closing = _AROUND[name]
    inner = ", ".join(one.latex for one in arguments)
    if name == "conjugate":
        return f"{opening}{inner}{closing}", _ATOM
    gap = " " if opening.startswith("\\") and inner[:1].isalpha() else ""
    if any(one.tall for one in arguments):
        return rf"\left{opening} {inner} \right{closing}", _ATOM
    return f"{opening}{gap}{inner}{closing}", _ATOM


def _after(name: str, arguments: list[Part], _: dict[str, Part]) -> _Built:
    return (_bracketed(arguments[0], _ATOM) if arguments else "") + _AFTER[name], _POWER


def _large(name: str, arguments: list[Part], qualifiers: dict[str, Part]) -> _Built:
    variable = qualifiers["bvar"].latex if "bvar" in qualifiers else ""
    lower, upper = (qualifiers[key].latex if key in qualifiers else "" for key in ("lowlimit", "uplimit"))
    condition = next((qualifiers[key].latex for key in ("condition", "domainofapplication") if key in qualifiers), "")
    inner = " ".join(_bracketed(one, _PRODUCT if name != "int" else 0) for one in arguments)
    if name in ("forall", "exists"):
        within = f", {condition}" if condition else ""
        return rf"{_LARGE[name]} {variable}{within} : {inner}", _QUANTIFIER
    if name == "int":
        return rf"{script(Part('mo', latex=_LARGE[name]), lower or condition, upper)} {inner} \, d{variable}", _PRODUCT
    joint = r" \to " if name == "limit" else " = "
    below = condition or (f"{variable}{joint}{lower}" if variable and lower else variable or lower)
    return f"{script(Part('mo', latex=_LARGE[name]), below, upper)} {inner}", _PRODUCT


def _derivative(name: str, arguments: list[Part], qualifiers: dict[str, Part]) -> _Built:
    sign = "d" if name == "diff" else r"\partial "
    function = arguments[-1] if arguments else Part("none")
    variable = qualifiers.get("bvar", Part("none"))
    if variable.latex == "" and name == "diff":
        return f"{_bracketed(function, _ATOM)}'", _POWER
    degree = next((one.latex for one in (*variable.parts, *qualifiers.values()) if one.tag == "degree"), "")
    power = f"^{group(degree)}" if degree else ""
    return rf"\frac{{{sign}{power}}}{{{sign}{variable.latex}{power}}} {_bracketed(function, _PRODUCT)}", _PRODUCT


def _quotient(_: str, arguments: list[Part], __: dict[str, Part]) -> _Built:
    return rf"\left\lfloor {_divide('', arguments, {})[0]} \right\rfloor", _ATOM


def _selector(_: str, arguments: list[Part], __: dict[str, Part]) -> _Built:
    base, *places = arguments or [Part("none")]
    return script(Part("ci", latex=_bracketed(base, _ATOM)), lower=",".join(one.latex for one in places)), _POWER


def _moment(name: str, arguments: list[Part], _: dict[str, Part]) -> _Built:
    return rf"\{'sigma' if name == 'sdev' else 'mu'}({', '.join(one.latex for one in arguments)})", _ATOM


_BUILDERS: tuple[tuple[Container[str], Callable[[str, list[Part], dict[str, Part]], _Built]], ...] = (
    (_INFIX, _infix), (("minus",), _minus), (("divide",), _divide), (("power", "exp"), _power), (("root",), _root),
    ((*_FUNCTIONS, "log", "ln", "not"), _function), (_AROUND, _around), (_AFTER, _after), (_LARGE, _large),
    (("diff", "partialdiff"), _derivative), (("quotient",), _quotient), (("selector",), _selector),
    (("sdev", "moment"), _moment),
)  # fmt: skip


def _symbol(part: Part) -> Part:
    """An operator by itself, or a constant."""
    known = _CONSTANTS.get(part.tag) or _FUNCTIONS.get(part.tag) or _INFIX.get(part.tag, ("",))[0]
    part.latex = known or _LARGE.get(part.tag, "")
    return part


def _identifier(part: Part) -> Part:
    text = " ".join(part.text.split())
    inner = "".join(one.latex for one in part.parts)
    if len(text) > 1 and all(char.isalpha() for char in text):
        latex = rf"\{text}" if text in symbols.FUNCTIONS else rf"\mathrm{{{text}}}"
    else:
        latex = symbols.spelled(text)
    if part.text and "vector" in part.attributes and latex:
        latex = rf"\mathbf{{{latex}}}"
    return Part("ci", latex=latex + inner, text=text)


def _number(part: Part) -> Part:
    pieces = [symbols.spelled(piece.strip()) for piece in part.text.split(SEPARATOR)]
    if len(pieces) == 2 and "rational" in part.attributes:
        return Part("cn", latex=rf"\frac{{{pieces[0]}}}{{{pieces[1]}}}", tall=True)
    if len(pieces) == 2 and "complex-cartesian" in part.attributes:
        return Part("cn", latex=f"{pieces[0]} + {pieces[1]} i", binding=_SUM)
    if len(pieces) == 2 and "complex-polar" in part.attributes:
        return Part("cn", latex=f"{pieces[0]} e^{{{pieces[1]} i}}", binding=_PRODUCT)
    if len(pieces) == 2 and "e-notation" in part.attributes:
        return Part("cn", latex=rf"{pieces[0]} \times 10^{{{pieces[1]}}}", binding=_PRODUCT)
    latex = " ".join(pieces)
    return Part("cn", latex=latex, binding=_SIGN if latex.startswith("-") else _ATOM)


def _qualifier(part: Part) -> Part:
    shown = [one for one in part.parts if one.tag != "degree"]
    return Part(part.tag, parts=part.parts, latex=", ".join(one.latex for one in shown))


def _list(opening: str, closing: str, separator: str = ", ") -> Callable[[Part], Part]:
    def build(part: Part) -> Part:
        shown = [one.latex for one in part.parts if one.tag not in ("bvar", "condition")]
        condition = [one.latex for one in part.parts if one.tag == "condition"]
        inner = separator.join(shown or [one.latex for one in part.parts if one.tag == "bvar"])
        latex = f"{inner} \\mid {condition[0]}" if condition else inner
        return Part(part.tag, latex=f"{opening}{latex}{closing}")

    return build


def _interval(part: Part) -> Part:
    closure = part.attributes
    opening = "(" if 'closure="open' in closure else "["
    closing = ")" if 'closure="open"' in closure or 'closure="closed-open"' in closure else "]"
    return _list(opening, closing)(part)


def _vector(part: Part) -> Part:
    return Part("vector", latex=table([[one.latex] for one in part.parts], "pmatrix"), tall=True)


def _matrix(part: Part) -> Part:
    rows = [[cell.latex for cell in line.parts] for line in part.parts if line.tag == "matrixrow"]
    return Part("matrix", latex=table(rows, "pmatrix"), tall=True)


def _piecewise(part: Part) -> Part:
    rows = []
    for line in part.parts:
        cells = [cell.latex for cell in line.parts]
        if line.tag == "otherwise":
            rows.append([*cells[:1], r"\text{otherwise}"])
        else:
            rows.append([*cells[:1], *(rf"\text{{if }} {cell}" for cell in cells[1:2])])
    return Part("piecewise", latex=table(rows, "cases"), tall=True)


def _kept(part: Part) -> Part:
    return part


def _lambda(part: Part) -> Part:
    variables = ", ".join(one.latex for one in part.parts if one.tag == "bvar")
    body = " ".join(one.latex for one in part.parts if one.tag not in _QUALIFIERS)
    return Part("lambda", latex=rf"{variables} \mapsto {body}", binding=_QUANTIFIER)


HANDLERS: dict[str, Callable[[Part], Part]] = {
    "apply": _apply, "reln": _apply, "bind": _apply, "ci": _identifier, "csymbol": _identifier, "cn": _number,
    "interval": _interval, "set": _list(r"\{", r"\}"), "list": _list("[", "]"), "vector": _vector, "matrix": _matrix,
    "matrixrow": _kept, "piecewise": _piecewise, "piece": _kept, "otherwise": _kept, "lambda": _lambda,
    **{name: _qualifier for name in _QUALIFIERS}, **{name: _symbol for name in OPERATORS},
}  # fmt: skip
