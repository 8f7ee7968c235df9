from __future__ import annotations

import pytest

from tiers.l3_edited.synthesis import grounding

SOURCE = (
    "The Old Bridge of Mostar was built in 1,566 by Mimar Hayruddin and destroyed in 1993. Its rebuilding cost 15.50 "
    "million dollars, and it was reopened on 23 July 2004 in the presence of Prince Charles."
)


def test_numbers_are_those_of_the_source() -> None:
    found = grounding.new_numbers("In 1566 (or 1567) 2 of 15.50 came, then 1994.", SOURCE)
    assert (found.part, found.whole, found.examples) == (2, 4, ("1567", "1994"))
    assert grounding.new_numbers("No number.", SOURCE).value == 0
    assert grounding.new_numbers("于1993年，1994年。", SOURCE).examples == ("1994",)
    assert grounding.new_numbers("In the 1980s, -9 and 90kg.", SOURCE).examples == ("1980", "90")


@pytest.mark.parametrize(
    ("text", "new"),
    [
        ("When Mimar Hayruddin built it, Prince Charles was not born.", ()),
        ("Then Charles's guest spoke, and so did the MOSTAR choir.", ()),
        ("Nobody but Sinan built it in the Ottoman time.", ("Sinan", "Ottoman")),
        ('Many came. Others stayed. "Nobody" spoke, and I\'m sure I know.', ()),
        (r"We write $f \circ G$ for \Gamma as Cauchy did.", ("Cauchy",)),
        ("As Ana says, it is old.", ()),
    ],
)
def test_names_are_words_with_a_capital_amid_a_sentence(text: str, new: tuple[str, ...]) -> None:
    assert grounding.new_names(text, SOURCE, ["Ana"]).examples == new


def test_coverage_counts_content_words_and_forgives_inflections() -> None:
    found = grounding.coverage("They rebuilt it: that costs millions, bridges were destroyed by floods.", SOURCE)
    assert found.examples == ("floods",)
    assert (found.part, found.whole) == (5, 6)
    assert grounding.coverage("莫斯塔尔古桥", "莫斯塔尔的古桥").value == 1
    assert grounding.coverage("", SOURCE).value == 0


def test_what_is_copied_and_what_is_repeated() -> None:
    assert grounding.copied(SOURCE.upper(), SOURCE).value == 1
    assert grounding.copied("It was built by hand and is no more than a bridge.", SOURCE).value == 0
    assert grounding.repeated("one two three four five six").value == 0
    assert grounding.repeated("one two three four five. " * 4).value == pytest.approx(11 / 16)
    assert grounding.repeated("short").value == 0


def test_similarity_is_that_of_the_runs_of_words() -> None:
    assert grounding.similarity(grounding.runs(SOURCE), grounding.runs(SOURCE.lower())) == 1
    assert grounding.similarity(grounding.runs(SOURCE), grounding.runs("quite another text than this one is")) == 0
    assert grounding.similarity(grounding.runs("x"), grounding.runs("x")) == 0
