import re
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiers.l1_filtered.kernels.text import decode, encode
from tiers.l1_filtered.measures import Measuring, edited
from tiers.l1_filtered.quality_rules import QualityRules
from tiers.l1_filtered.rules import C4, GopherRepetition
from tiers.l1_filtered.words import characters

WORDS = st.lists(st.sampled_from(["a", "bb", "ccc", "d"]), min_size=1, max_size=60).map(" ".join)
PIECES = [
    "one two three.",
    "menu",
    "  indented line here.",
    "[12]",
    "use cookies",
    "",
    "\t",
    "said [edit] he.",
    "x" * 30,
]
LINES = st.lists(st.sampled_from(PIECES), max_size=12).map("\n".join)
RUNS = GopherRepetition(top_n_grams=[(n, 1) for n in range(1, 5)], duplicate_n_grams=[(n, 1) for n in range(2, 6)])


def _column(texts):
    return pa.chunked_array([pa.array(texts, pa.large_string())])


def _signals(text, **families):
    off = dict.fromkeys(("gopher_repetition", "gopher_quality", "c4", "fineweb"))
    return Measuring(QualityRules(**{**off, **families}))(_column([text])).to_pylist()[0]


@given(WORDS)
def test_the_top_run_is_the_first_of_the_most_frequent(text):
    words = text.split()
    signals = _signals(text, gopher_repetition=RUNS)

    for n in range(1, 5):
        runs = Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
        first, count = runs.most_common(1)[0] if runs else ((), 0)
        assert signals[f"gopher_repetition.top_{n}_gram"] == count * len(" ".join(first)) / len(text)


@given(WORDS)
def test_repeated_runs_are_counted_from_the_left_without_overlap(text):
    words = text.split()
    signals = _signals(text, gopher_repetition=RUNS)

    for n in range(2, 6):
        seen, total, at = set(), 0, 0
        while at + n <= len(words):
            run = tuple(words[at : at + n])
            total += len("".join(run)) if run in seen else 0
            at += n if run in seen else 1
            seen.add(run)
        assert signals[f"gopher_repetition.duplicate_{n}_grams"] == total / len(text)


@given(st.lists(st.sampled_from(["one", "two", "", " ", "three three"]), max_size=12).map("\n".join))
def test_lines_and_paragraphs_count_each_time_after_the_first(text):
    def repeated(elements):
        again = [element for at, element in enumerate(elements) if element in elements[:at]]
        return len(again) / len(elements), len("".join(again)) / len(text)

    signals = _signals(text, gopher_repetition=RUNS)

    if text:
        shares = [*repeated(re.split(r"\n{2,}", text.strip())), *repeated(re.split(r"\n+", text))]
        names = (
            "duplicate_paragraphs",
            "duplicate_paragraph_characters",
            "duplicate_lines",
            "duplicate_line_characters",
        )
        assert [signals[f"gopher_repetition.{name}"] for name in names] == shares


@given(st.text(st.sampled_from(".…#- •\n\r\x0b\x85 a")))
def test_symbols_and_lines_are_those_of_python(text):
    signals = _signals(text, gopher_quality={})

    if text.split():
        words, lines = len(_split(text)), text.splitlines()
        assert signals["gopher_quality.hashes"] == text.count("#") / words
        assert signals["gopher_quality.ellipses"] == (text.count("...") + text.count("…")) / words
        assert signals["gopher_quality.bullets"] == sum(line.lstrip().startswith(("•", "-")) for line in lines) / len(
            lines
        )
        assert signals["gopher_quality.ellipsis_lines"] == sum(
            line.rstrip().endswith(("...", "…")) for line in lines
        ) / len(lines)


def _split(text):
    from tiers.l1_filtered.words import split

    return split([text])[0]


@given(LINES)
def test_what_is_cut_is_what_is_told(text):
    edits = edited(_column([text]), C4(), False)
    after, detail = edits.texts[0].as_py(), edits.details[0]

    assert (detail is None) == (after.split() == text.split())
    assert "\n\n\n" not in after
    assert after == after.strip("\n")
    if detail:
        before, left = (sum(bool(line.strip()) for line in each.splitlines()) for each in (text, after))
        assert detail == f"{before - left} of {before} lines, {len(text) - len(after)} of {len(text)} characters"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_comes_back_from_its_characters(text):
    data = np.frombuffer(text.encode(), np.uint8)
    encoded, offsets = encode(decode(data, np.array([0, len(data)]), characters()))

    assert encoded.tobytes().decode() == text
    assert offsets.tolist() == [0, len(data)]


def test_broken_utf8_is_measured_as_something():
    broken = pa.py_buffer(bytes(range(128, 256)) * 3 + b"\xf0")
    offsets = pa.py_buffer(np.array([0, 100, 385], np.int64))
    texts = pa.chunked_array([pa.Array.from_buffers(pa.large_string(), 2, [None, offsets, broken])])

    assert Measuring(QualityRules())(texts).num_rows == 2


@pytest.mark.parametrize("size", [1, 3, 100])
def test_signals_do_not_depend_on_how_a_table_is_cut(size):
    texts = ["", "one two.\n\nthree", " ", "灯塔在海边。", "don't " * 50, "{ \x00 }", "the end\u2028of it. " * 9] * 3
    measure = Measuring(QualityRules())
    cut = pa.chunked_array([pa.array(texts[at : at + size], pa.string()) for at in range(0, len(texts), size)])

    assert measure(cut).equals(measure(_column(texts)))
    assert measure(_column(texts).slice(4, 9)).equals(measure(_column(texts[4:13])))
    assert measure(_column([])).num_rows == 0


def test_large_tables_are_measured_in_parts():
    texts = [f"sentence {number} is here. " * 2_000 for number in range(20)]
    measure = Measuring(QualityRules())

    assert measure(_column(texts)).to_pylist() == [measure(_column([text])).to_pylist()[0] for text in texts]
