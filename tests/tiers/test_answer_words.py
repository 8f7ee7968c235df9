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


def test_answers_that_differ_in_a_number_are_different_however_many_words_they_share():
    assert difference("in 1889", "It was in 1889.", 0.5) is None
    assert difference("the year 1889", "1889", 0.5) is None
    assert difference("in 1889", "in 1890", 0.5) == "without 1889"
    assert difference("1,889 metres", "1889 metres", 0.5) is None
    assert difference("Gustave Eiffel", "Eiffel and Gustave", 0.5) is None
    assert difference("Gustave Eiffel", "Stephen Sauvestre", 0.5) == "F1 0.00 < 0.5"
