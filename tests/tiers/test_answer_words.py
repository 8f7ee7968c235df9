from __future__ import annotations

import pytest

from tiers.answer_words import answer_f1, answer_words, contains, difference, numbers


def test_answers_are_compared_by_their_words():
    assert answer_words("The E\ufb00ect, of an A.I.!") == ["effect", "of", "i"]
    assert answer_words("用于GPU的") == ["用", "于", "gpu", "的"]
    assert answer_f1("the year 1889", "1889") == pytest.approx(2 / 3)
    assert answer_f1("In 1889.", "in 1889") == 1
    assert answer_f1("1889", "330 metres") == 0
    assert answer_f1("", "") == 0


def test_containment_is_of_whole_words_in_a_row():
    assert contains("It was in 1889, they say.", "In 1889")
    assert not contains("It was in 18890", "1889")
    assert not contains("in the late 1889", "in 1889")
    assert not contains("anything", "the")


def test_numbers_are_read_whatever_they_are_written_with():
    assert numbers("1,566 and 15.0, x2, 3.14, v1.2 and 1,2") == ["1566", "15", "3.14", "1,2"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("成立于1994年", ["1994"]),
        ("90kg, 500km/h, the 1990s and the 21st", ["90", "500", "1990", "21"]),
        ("1,000m, 1000 m and 1,000,000", ["1000", "1000", "1000000"]),
        ("-5 degrees, −7.50 and (-3, 4)", ["-5", "-7.5", "-3", "4"]),
        ("1990-1995, on 2020-01-05, COVID-19, f(2)-10 and 3 -- 40--50", [
            "1990", "1995", "2020", "01", "05", "19", "2", "10", "3", "40", "50",
        ]),
        ("5%-10%, 20°-30°, 5'-6' and \"7\"-8", ["5", "10", "20", "30", "5", "6", "7", "8"]),
        ("x=-1，-2;-3 and (1,-2)", ["-1", "-2", "-3", "1", "-2"]),
        ("$x^{-12}$ and 1.50 or 10.0, 100 and 0.0", ["-12", "1.5", "10", "100", "0"]),
        ("H2O, x86, v2, v1.2.3, utf8, Ω3 and _4", []),
        ("3.11.2, 3.10.0 and 2.x", ["3.11.2", "3.10.0", "2"]),
    ],
)  # fmt: skip
def test_units_and_signs_stand_beside_numbers_and_names_hold_none(text: str, found: list[str]):
    assert numbers(text) == found


def test_answers_that_differ_in_a_sign_or_in_a_number_with_its_unit_are_different():
    assert difference("-5 degrees", "5 degrees", 0.5) == "without -5"
    assert difference("5 degrees", "-5 degrees", 0.5) == "without 5"
    assert difference("成立于1994年", "成立于1993年", 0.5) == "without 1994"
    assert difference("weighs 90kg", "weighs 80kg or so", 0.5) == "without 90"
    assert difference("1.5 m", "1.50 m", 0.5) is None


def test_answers_that_differ_in_a_number_are_different_however_many_words_they_share():
    assert difference("in 1889", "It was in 1889.", 0.5) is None
    assert difference("the year 1889", "1889", 0.5) is None
    assert difference("in 1889", "in 1890", 0.5) == "without 1889"
    assert difference("1,889 metres", "1889 metres", 0.5) is None
    assert difference("Gustave Eiffel", "Eiffel and Gustave", 0.5) is None
    assert difference("Gustave Eiffel", "Stephen Sauvestre", 0.5) == "F1 0.00 < 0.5"


def test_an_answer_in_a_sentence_agrees_and_a_whole_paragraph_around_it_does_not():
    sentence = "The bridge over the bay was built, as the city had asked for so long, to carry rail and road traffic"
    paragraph = f"{sentence}. It was opened after eight years of work, and rises high above the water."
    assert difference("road traffic", sentence, 0.5) is None
    assert difference("road traffic", paragraph, 0.5) == "F1 0.12 < 0.5"
    assert difference("road traffic", paragraph, 0.5, around=60) is None


@pytest.mark.parametrize("reply", ["not in 1993", "It wasn’t in 1993.", "Never in 1993", "NO, in 1993"])
def test_a_reply_that_denies_an_answer_differs(reply: str):
    assert "in one alone" in (difference("in 1993", reply, 0.5) or "")
    assert "in one alone" in (difference(reply, "in 1993", 0.5) or "")


def test_a_negation_in_both_answers_is_none():
    assert difference("not in 1993", "It was not in 1993.", 0.5) is None
    assert difference("Symphony", "Symphony No. 5, in knots", 0.5) is None
