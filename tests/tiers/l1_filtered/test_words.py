import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiers.l1_filtered.kernels.text import DECIMAL, LETTER, LINE_BREAK, PUNCTUATION, SPACE
from tiers.l1_filtered.words import characters, split

SPLITS = {
    "plain": ["plain"],
    "end.": ["end", "."],
    '("quoted,"': ["(", '"', "quoted", ",", '"'],
    "don't": ["do", "n't"],
    "They’ve": ["They", "’ve"],
    "cannot": ["can", "not"],
    "dog's": ["dog", "'s"],
    "Mr.": ["Mr."],
    "e.g.": ["e.g."],
    "(e.g.,": ["(", "e.g.", ","],
    "U.S.": ["U.S."],
    "NATO.": ["NATO", "."],
    "10km": ["10", "km"],
    "5pm": ["5", "pm"],
    "$20.": ["$", "20", "."],
    "well-known": ["well", "-", "known"],
    "and/or": ["and/or"],
    "either/or": ["either", "/", "or"],
    "a...b": ["a", "...", "b"],
    "end...": ["end", "..."],
    "Hello.World": ["Hello", ".", "World"],
    "https://example.org/a?b=c,": ["https://example.org/a?b=c", ","],
    "someone@example.org": ["someone@example.org"],
    ":-)": [":-)"],
    "nice:)": ["nice", ":)"],
    "x^2": ["x^2"],
    "3-4": ["3", "-", "4"],
    "«Привет»": ["«", "Привет", "»"],
    "™": ["™"],
    "©2024": ["©", "2024"],
    "\x00": ["\x00"],
}


@pytest.mark.parametrize(("chunk", "expected"), SPLITS.items())
def test_words_of_a_chunk(chunk, expected):
    assert split([chunk]) == [expected]


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_words_make_up_their_text(text):
    assert ["".join(words) for words in split([text, text])] == ["".join(text.split())] * 2


@pytest.mark.parametrize("unit", ["(", "..)", "'", "a.", "-", ":)", "a,b", "1km", "。", "http://"])
def test_chunks_of_any_length_are_split(unit):
    chunk = unit * 100_000

    assert "".join(split([chunk])[0]) == chunk


def test_the_words_are_those_of_spacy():
    spacy = pytest.importorskip("spacy", reason="spaCy is the reference")
    tokenizer = spacy.blank("en").tokenizer
    chunks = [*SPLITS, *(pair for first in list(SPLITS)[:12] for pair in (f"({first}", f"{first}!", f"{first}-ish"))]

    assert dict(zip(chunks, split(chunks), strict=True)) == {
        chunk: [token.text for token in tokenizer(chunk)] for chunk in chunks
    }


@pytest.mark.parametrize(
    ("chunk", "expected"),
    [
        ("1.2.3.4:80/path", ["1.2.3.4:80/path"]),
        ("300.2.3.4-a", ["300.2.3.4", "-", "a"]),
        ("user@mail.example.org?subject=a-b", ["user@mail.example.org?subject=a-b"]),
        ("ftp://example.org:8080#a-b", ["ftp://example.org:8080#a-b"]),
        ("example.org:8-a", ["example.org:8", "-", "a"]),
        ("e_.example.org/a-b", ["e_.example.org", "/", "a", "-", "b"]),
    ],
)
def test_addresses_stay_whole(chunk, expected):
    assert split([chunk]) == [expected]


def test_words_of_a_text_do_not_depend_on_its_neighbours():
    texts = ["(one)two", "", "three's", "...", "x" * 100, "don't :-) stop"]

    assert split(texts) == [split([text])[0] for text in texts]


def test_unspaced_characters_can_be_words():
    text = "灯塔在海边。 The ประภาคาร, ok"

    assert split([text])[0][0] == "灯塔在海边"
    assert split([text], unspaced=True) == [[*"灯塔在海边。", "The", *"ประภาคาร", ",", "ok"]]


def test_characters_have_the_classes_that_python_gives_them():
    table = characters()
    alone = [chr(code) for code in range(0x110000)]

    for bit, holds in ((SPACE, str.isspace), (LETTER, str.isalpha), (DECIMAL, str.isdecimal)):
        assert ((table & bit) != 0).tolist() == list(map(holds, alone))
    breaks = [code for code in range(0x110000) if len(f"a{chr(code)}b".splitlines()) == 2]
    assert np.flatnonzero(table & LINE_BREAK).tolist() == breaks
    punctuation = [code for code in range(0x110000) if unicodedata.category(chr(code))[0] == "P"]
    assert np.flatnonzero(table & PUNCTUATION).tolist() == punctuation
