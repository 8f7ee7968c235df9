from __future__ import annotations

import pytest

from tiers.l3_edited.synthesis.maths_answers import MathsAnswers


@pytest.fixture(scope="module")
def maths() -> MathsAnswers:
    return MathsAnswers()


@pytest.mark.parametrize(
    ("right", "other"),
    [
        ("12", "So he has $5+7=12$ apples."),
        (r"\frac{1}{2}", "0.5"),
        ("x=3", "$x = 3$"),
        ("x^2+2x+1", "$(x+1)^2$"),
        ("12 apples", "12"),
        ("(1, 2)", "$(1,2)$"),
        (r"\sqrt{8}", r"Therefore \boxed{2\sqrt{2}}"),
    ],
)
def test_answers_of_one_worth_are_equal(maths: MathsAnswers, right: str, other: str) -> None:
    found = maths.compare(right, other)
    assert (found.read, found.equal, found.fault) == (True, True, "")


@pytest.mark.parametrize(("right", "other"), [("12", "The answer is 13."), ("x^2", "$2x$"), ("12", ""), ("12", "none")])
def test_others_are_not(maths: MathsAnswers, right: str, other: str) -> None:
    found = maths.compare(right, other)
    assert (found.read, found.equal) == (True, False)


@pytest.mark.parametrize("right", ["", "it depends on the matrix", "?"])
def test_what_is_no_number_or_formula_is_not_read(maths: MathsAnswers, right: str) -> None:
    assert not maths.compare(right, "12").read


def test_an_answer_that_takes_too_long_ends_the_process_and_nothing_else() -> None:
    maths = MathsAnswers(seconds=1)
    endless = maths.compare("9^{9^{9^{9}}}", "9^{9^{9^{9}}} + 1")
    assert not endless.equal
    assert maths.compare("2", "2").equal
