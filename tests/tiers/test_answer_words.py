from __future__ import annotations

import pytest

from tiers.answer_words import answer_f1, answer_words, contains


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
