from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiers.l0_raw.math.asciimath import latex_of_asciimath
from tiers.l0_raw.math.latex import Formula, looks_like_latex, normal_form
from tiers.l0_raw.math.mathml import latex_of_mathml

SOURCES = st.lists(
    st.sampled_from([*"$\\{}%^_&# \n~ax1,!", "\\(", "\\)", "\\[", "$$", "\\\\", "\\,", "\\begin{align}", "\\end{align}",
                     "\\text{", "\\tag{1}", "\\label{a}", "{\\displaystyle ", "\\quad", "% c\n", "\\nonumber"]),
    max_size=20,
).map("".join)  # fmt: skip


@settings(max_examples=1000)
@given(SOURCES)
def test_the_form_is_one_line_that_nothing_inside_ends(source: str) -> None:
    formula = normal_form(source)
    if formula is None:
        return
    assert formula.latex == " ".join(formula.latex.split())
    assert "$" not in re.sub(r"\\.", "", formula.latex)
    assert not formula.latex.endswith("\\")


@pytest.mark.parametrize(
    ("source", "latex", "display"),
    [
        ("  x \n + y ", "x + y", False),
        ("$$x$$", "x", True),
        ("$x$", "x", False),
        (r"\(x\)", "x", False),
        (r"\[x\]", "x", True),
        (r"{\displaystyle {\frac {a}{b}}}", r"{\frac {a}{b}}", False),
        (r"{\displaystyle a}+{\displaystyle b}", r"{\displaystyle a}+{\displaystyle b}", False),
        (r"\displaystyle \sum_i", r"\sum_i", False),
        (r"\,x\;\!", "x", False),
        (r"x\ ", "x", False),
        (r"x \\ ", "x", False),
        (r"$a \\ \\ $", "a", False),
        (r"a \\ b", r"a \\ b", False),
        (r"a\\, b", r"a\\, b", False),
        (r"\begin{equation*}x\end{equation*}", "x", True),
        (r"\begin{displaymath} x \end{displaymath}", "x", True),
        (r"\begin{math}x\end{math}", "x", False),
        (r"\begin{split}a\\b\end{split}", r"\begin{aligned}a\\b\end{aligned}", False),
        (r"\begin{multline}a\\b\end{multline}", r"\begin{gathered}a\\b\end{gathered}", True),
        (r"\begin{pmatrix}a\end{pmatrix}", r"\begin{pmatrix}a\end{pmatrix}", False),
        (r"\text{alignment}", r"\text{alignment}", False),
        ("a%\n  b", "a b", False),
        ("\\alpha%\nb", r"\alpha b", False),
        ("a % c", "a c", False),
        (r"50\% x % c" + "\n y", r"50\% x y", False),
        (r"\cost{\$5}", r"\cost{\$5}", False),
        (r"\ZZ_n \nonumberx", r"\ZZ_n \nonumberx", False),
    ],
)
def test_normal_form(source: str, latex: str, display: bool) -> None:
    formula = normal_form(source)
    assert formula == Formula(latex, display)
    assert normal_form(str(formula)) == formula


@pytest.mark.parametrize("source", ["", " ", "$$", "$$ $$", r"\(\)", "{\\displaystyle }", r"\,\!", "%", "\\", "\u200b"])
def test_nothing_is_no_formula(source: str) -> None:
    assert normal_form(source) is None


@pytest.mark.parametrize("text", ["x", "x_1", "a+b", "2n", r"\alpha", "x^2", "sin x", "E = mc", "f(x)", "{n}", "∑ x"])
def test_what_looks_like_latex(text: str) -> None:
    assert looks_like_latex(text)


@pytest.mark.parametrize(
    "text", ["Company_logo", "the sum", "-", "", "...", "{{title}}", "Foto des Hauses", "数学学院"]
)
def test_what_does_not(text: str) -> None:
    assert not looks_like_latex(text)


def test_a_number_is_kept_once() -> None:
    assert str(Formula("x", True).tagged("(2.1)")) == r"$$x \tag{2.1}$$"
    assert Formula(r"x \tag{1}", True).tagged("(2)").latex == r"x \tag{1}"
    assert Formula("x", True).tagged("see the remark") == Formula("x", True)


@settings(max_examples=500)
@given(st.text(alphabet="<>/=\"' abmnoirwsuptdxfrcle&;!-\\", max_size=80))
def test_any_characters_convert_to_something(markup: str) -> None:
    assert isinstance(latex_of_mathml(f"<math>{markup}</math>"), str)


@settings(max_examples=500)
@given(
    st.lists(st.sampled_from([*"()[]{}|/_^,:\"'` axy12+-=<>!", "sqrt", "frac", "sum", "text(", "((", "[[", ":}", "oo"]))
)
def test_any_asciimath_converts_to_something(pieces: list[str]) -> None:
    assert isinstance(latex_of_asciimath("".join(pieces)), str)
