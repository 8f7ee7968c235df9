import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiers.l1_filtered.words import chunk_words, english_words, is_punctuation

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
    assert chunk_words(chunk) == expected


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_words_make_up_their_text(text):
    assert "".join(english_words(text)) == "".join(text.split())


@pytest.mark.parametrize("unit", ["(", "..)", "'", "a.", "-", ":)", "a,b", "1km", "。", "http://"])
def test_chunks_of_any_length_are_split(unit):
    chunk = unit * 100_000

    assert "".join(chunk_words(chunk)) == chunk


def test_the_words_are_those_of_spacy():
    spacy = pytest.importorskip("spacy", reason="spaCy is the reference")
    tokenizer = spacy.blank("en").tokenizer
    chunks = [*SPLITS, *(pair for first in list(SPLITS)[:12] for pair in (f"({first}", f"{first}!", f"{first}-ish"))]

    assert {chunk: chunk_words(chunk) for chunk in chunks} == {
        chunk: [token.text for token in tokenizer(chunk)] for chunk in chunks
    }


@pytest.mark.parametrize(("word", "expected"), [("...", True), ("—", True), ("a.", False), ("$", False)])
def test_punctuation(word, expected):
    assert is_punctuation(word) is expected
