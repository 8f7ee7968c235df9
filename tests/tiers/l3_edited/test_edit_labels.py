from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiers.l3_edited.edit_labels import LABEL_GUARDS, Confidence, LabelRejected, label
from tiers.l3_edited.edit_program import (
    Guards,
    InsertLines,
    KeepAll,
    Program,
    Rejected,
    Rejection,
    RemoveAll,
    RemoveLines,
    Replace,
    apply_program,
    describe,
    dump_program,
    parse_program,
)

RAW = """Home | About
Teh quick brown fox jumps over the lazy dog.

It sleeps now.
Share this page
"""


def program_of(result: Program | Rejection) -> Program:
    assert not isinstance(result, Rejection), result
    return result


def test_a_label_names_what_an_expert_did_and_no_more():
    refined = "The quick brown fox jumps over the lazy dog.\n\nIt sleeps now.\n\nIt snores.\n"
    assert describe(program_of(label(RAW, refined))) == (
        "remove_lines(1,1); replace(2,'eh','he'); insert_lines(4,'','It snores.'); remove_lines(5,5)"
    )


def test_verdicts():
    assert label(RAW, RAW) == (KeepAll(),)
    assert label(RAW, "") == (RemoveAll(),)
    assert label("", "") == (KeepAll(),)
    blank = label(RAW, "\n \n")
    assert isinstance(blank, Rejection)
    assert blank.reason is LabelRejected.NOTHING_VISIBLE


@pytest.mark.parametrize(
    ("raw", "refined", "described"),
    [
        ("a\n", "a", "remove_lines(2,2)"),
        ("a", "a\n", "insert_lines(1,'')"),
        ("", "a", "insert_lines(0,'a'); remove_lines(1,1)"),
        ("a\u00a0b\u200bc d e", "a bc d e", r"replace(1,'\xa0b\u200b',' b')"),
        ("one\x0ctwo\u2028three four", "one\x0ctwo\u2028three five", "replace(1,'our','ive')"),
        ("one\r\ntwo\r\nthree\r\n", "one\r\nthree\r\n", r"remove_lines(2,2)"),
        ("aaaa", "aaa", "replace(1,'aaaa','aaa')"),
        ("the cat and the hat", "the cat and a hat", "replace(1,' the ',' a ')"),
    ],
)
def test_spaces_line_ends_and_repeated_words(raw: str, refined: str, described: str):
    program = program_of(label(raw, refined))
    assert describe(program) == described
    assert apply_program(raw, program, LABEL_GUARDS) == refined


def test_moved_lines_are_removed_and_inserted():
    lines = [f"line about {word}" for word in ("apples", "bridges", "candles", "dragons")]
    moved = [*lines[1:], lines[0]]
    program = program_of(label("\n".join(lines), "\n".join(moved)))
    assert program == (RemoveLines(start=1, end=1), InsertLines(after=4, lines=(lines[0],)))


def test_similar_lines_are_paired_with_their_own():
    raw = [f"The value of item {number} in the table is {number * 7} units." for number in range(300)]
    refined = [line.replace("units", "pieces") for number, line in enumerate(raw) if number % 5]
    program = program_of(label("\n".join(raw), "\n".join(refined)))
    assert sum(isinstance(operation, RemoveLines) for operation in program) == 60
    assert sum(isinstance(operation, Replace) for operation in program) == 240


def test_a_change_of_what_is_protected_is_no_label():
    for raw, refined in (("a\n```\ncode\n```", "a\n```\ncoda\n```"), ("so $x+y$ holds", "so $x-y$ holds")):
        rejection = label(raw, refined)
        assert isinstance(rejection, Rejection)
        assert rejection.reason is Rejected.PROTECTED


def test_changes_beside_a_formula_stay_outside_of_it():
    program = program_of(label("Soo $x$ holds alwayss", "So $x$ holds always"))
    assert apply_program("Soo $x$ holds alwayss", program, LABEL_GUARDS) == "So $x$ holds always"


def test_the_guards_of_the_editor_bind_labels_too():
    rejection = label("a" * 60 + "\n" + "b" * 40, "a" * 60, Guards(max_deleted=0.3))
    assert isinstance(rejection, Rejection)
    assert rejection.reason is Rejected.DELETES_TOO_MUCH


WORD_LINES = [f"{word} begins line number {number}" for number, word in enumerate(["ant", "bee", "cow"] * 10)]


@pytest.mark.parametrize(
    ("refined", "reason", "detail"),
    [
        ([line.replace("begins", "starts") for line in WORD_LINES], LabelRejected.MANY_OPERATIONS, "30 >= 20"),
        (["x" * 160 + WORD_LINES[0], *WORD_LINES[1:]], LabelRejected.LONG_REPLACEMENT, "161 >= 150"),
        ([*WORD_LINES, "y" * 200], LabelRejected.LONG_INSERTION, "200 >= 200"),
        ([*WORD_LINES, *"abcdefghij"], LabelRejected.MANY_INSERTIONS, "10 >= 10"),
    ],
)
def test_too_much_rewriting_is_not_trusted(refined: list[str], reason: LabelRejected, detail: str):
    raw, target = "\n".join(WORD_LINES), "\n".join(refined)
    assert not isinstance(label(raw, target), Rejection)
    rejection = label(raw, target, confidence=Confidence())
    assert isinstance(rejection, Rejection)
    assert rejection.reason is reason
    if reason is not LabelRejected.LONG_REPLACEMENT:
        assert rejection.detail == detail


LINES = st.one_of(
    st.sampled_from(
        ["", " ", "word", "two words", "two  words", "- item", "```", "    code", "so $x$ is", "$$", "aaaa"]
    ),
    st.text(alphabet="ab $\u00a0\u200b\x0c\u2028\r日本", max_size=12),
)
TEXTS = st.lists(LINES, max_size=10).map("\n".join)


def reproduces(raw: str, refined: str) -> bool:
    program = label(raw, refined)
    if isinstance(program, Rejection):
        return False
    read = parse_program(dump_program(program))
    assert not isinstance(read, Rejection)
    assert apply_program(raw, read, LABEL_GUARDS) == refined
    return True


@settings(max_examples=400)
@given(TEXTS, TEXTS)
def test_every_label_reproduces_its_target(raw: str, refined: str):
    reproduces(raw, refined)


PLAIN = st.text(alphabet="abc de\u00a0\u200b\x0c\u2028\r\n日本語", max_size=80)


@settings(max_examples=400)
@given(PLAIN, PLAIN)
def test_any_two_texts_without_structure_have_a_label(raw: str, refined: str):
    assert reproduces(raw, refined) or "    " in raw + refined or "\t" in raw or (refined and not refined.strip())


def test_random_edits_of_a_long_text_have_a_label():
    rng = random.Random(0)
    vocabulary = ["".join(rng.choices("abcdefghij", k=rng.randint(2, 9))) for _ in range(300)]
    lines = [" ".join(rng.choices(vocabulary, k=rng.randint(0, 14))) for _ in range(2500)]
    edited = [
        " ".join(rng.choice(vocabulary) if rng.random() < 0.05 else word for word in line.split(" "))
        for line in lines
        if rng.random() > 0.1
    ]
    assert reproduces("\n".join(lines), "\n".join(edited))
