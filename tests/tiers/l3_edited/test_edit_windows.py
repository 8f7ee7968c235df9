from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tiers.l3_edited.edit_labels import LABEL_GUARDS, label
from tiers.l3_edited.edit_program import (
    Guards,
    InsertLines,
    KeepAll,
    Operation,
    Program,
    Rejected,
    Rejection,
    RemoveAll,
    RemoveLines,
    Replace,
    apply_program,
    numbered,
)
from tiers.l3_edited.edit_windows import Edited, Window, apply_windows, merge, restrict, windows
from tiers.l3_edited.protected import protected_lines

TEN = "\n".join("abcdefghij")
HALVES = (Window(1, 1, 6), Window(5, 7, 10))


def test_windows_repeat_the_end_of_the_one_before_and_hold_no_more_than_their_size():
    text = "\n".join(f"line {number}" for number in range(1, 31))
    found = windows(text, size=120, overlap=0.2)
    assert found[0] == Window(1, 1, 11)
    assert all(len(numbered(window.of(text.split("\n")))) <= 120 for window in found)
    assert all(one.last - after.first + 1 == 2 for one, after in pairwise(found))
    assert windows(text) == (Window(1, 1, 30),)


def test_a_line_longer_than_a_window_is_one_of_its_own():
    assert windows("a\n" + "b" * 50 + "\nc\nd", size=12, overlap=0.4) == (
        Window(1, 1, 1),
        Window(2, 2, 2),
        Window(3, 3, 4),
    )
    assert windows("") == (Window(1, 1, 1),)


def test_a_tokenizer_may_say_how_long_a_line_is():
    assert len(windows("aa\nbb\ncc", size=4, overlap=0, length=lambda line: len(line.split()))) == 2


def test_insertions_at_the_beginning_and_at_seams_stay():
    first = (InsertLines(after=0, lines=("top",)),)
    second = (InsertLines(after=2, lines=("seam",)), InsertLines(after=6, lines=("bottom",)))
    assert merge(HALVES, (first, second)) == (
        InsertLines(after=0, lines=("top",)),
        InsertLines(after=6, lines=("seam",)),
        InsertLines(after=10, lines=("bottom",)),
    )
    apart = (Window(1, 1, 6), Window(7, 7, 10))
    assert merge(apart, ((KeepAll(),), (InsertLines(after=0, lines=("seam",)),))) == (
        InsertLines(after=6, lines=("seam",)),
    )


def test_the_earlier_window_owns_the_overlap():
    first = (Replace(line=6, old="f", new="F"), InsertLines(after=6, lines=("first",)))
    second = (
        RemoveLines(start=1, end=3),  # e and f are the first window's
        InsertLines(after=1, lines=("lost",)),
        InsertLines(after=2, lines=("second",)),
        Replace(line=4, old="h", new="H"),
    )
    merged = merge(HALVES, (first, second))
    assert apply_program(TEN, merged, LABEL_GUARDS) == "a\nb\nc\nd\ne\nF\nfirst\nH\ni\nj"


def test_remove_all_is_about_the_lines_of_its_window_unless_all_agree():
    assert merge(HALVES, ((KeepAll(),), (RemoveAll(),))) == (RemoveLines(start=7, end=10),)
    assert merge(HALVES, ((RemoveAll(),), (RemoveAll(),))) == (RemoveAll(),)
    assert merge(HALVES, ((KeepAll(),), (KeepAll(),))) == (KeepAll(),)


def test_a_window_that_cannot_be_edited_leaves_the_others_alone():
    programs = [
        (Replace(line=1, old="x", new="y"),),
        (RemoveLines(start=6, end=6),),
    ]
    edited = apply_windows(TEN, HALVES, programs, LABEL_GUARDS)
    assert (edited.text, edited.program) == (TEN.removesuffix("\nj"), (RemoveLines(start=10, end=10),))
    assert [(number, rejection.reason) for number, rejection in edited.rejections] == [(1, Rejected.NOT_UNIQUE)]
    outside = apply_windows(TEN, HALVES, [(RemoveLines(start=7, end=8),), (KeepAll(),)], LABEL_GUARDS)
    assert outside.rejections[0][1].reason is Rejected.OUT_OF_BOUNDS
    broken = Rejection(Rejected.MALFORMED, "no operation")
    assert apply_windows(TEN, HALVES, [broken, (KeepAll(),)], LABEL_GUARDS) == Edited(TEN, (KeepAll(),), ((1, broken),))


def test_guards_hold_for_all_windows_together():
    each = (RemoveLines(start=3, end=4),)
    assert apply_windows(TEN, HALVES, [each, (KeepAll(),)], Guards(max_deleted=0.3)).text == "a\nb\ne\nf\ng\nh\ni\nj"
    edited = apply_windows(TEN, HALVES, [each, each], Guards(max_deleted=0.3))
    assert edited.text == TEN
    assert [(number, rejection.reason) for number, rejection in edited.rejections] == [(0, Rejected.DELETES_TOO_MUCH)]
    both = apply_windows(TEN, HALVES, [(RemoveAll(),), (RemoveAll(),)], Guards(allow_remove_all=True))
    assert (both.text, both.rejections) == ("", ())


class CountedText(str):
    """A text that counts how often it is split."""

    splits = 0

    def split(self, *arguments: Any) -> list[str]:
        self.splits += 1
        return super().split(*arguments)


def test_a_text_is_not_split_anew_for_each_of_its_windows():
    def splits(lines: int) -> int:
        text = CountedText("\n".join(f"line {number}" for number in range(lines)))
        found = windows(text, size=40)
        apply_windows(text, found, [(Replace(line=1, old="line", new="row"),)] * len(found), LABEL_GUARDS)
        return text.splits

    assert splits(10) == splits(100)


def test_what_is_protected_is_so_across_seams():
    text = "a\n```\nb\nc\nd\n```\ne"
    found = (Window(1, 1, 3), Window(4, 4, 7))
    programs = [(InsertLines(after=3, lines=("x",)),), (RemoveLines(start=4, end=4),)]
    edited = apply_windows(text, found, programs, LABEL_GUARDS)
    assert edited.text == text.removesuffix("\ne")
    assert [(number, rejection.reason) for number, rejection in edited.rejections] == [(1, Rejected.PROTECTED)]


LINES = st.sampled_from(["", "word", "two words", "- item", "a $x$ b", "```", "    code", "x" * 30])
TEXTS = st.lists(LINES, max_size=16).map("\n".join)


@settings(max_examples=200)
@given(TEXTS, TEXTS, st.integers(1, 80), st.sampled_from([0.0, 0.2, 0.5]))
def test_windows_of_a_program_merge_to_that_program(raw: str, refined: str, size: int, overlap: float):
    found = windows(raw, size, overlap)
    assert [line for window in found for line in range(window.owned, window.last + 1)] == list(
        range(1, raw.count("\n") + 2)
    )
    program = label(raw, refined)
    if not isinstance(program, Rejection):
        parts = [restrict(program, window) for window in found]
        assert merge(found, parts) == program
        assert apply_windows(raw, found, parts, LABEL_GUARDS).text == refined


NUMBERS = st.integers(-1, 8)
OPERATIONS: st.SearchStrategy[Operation] = st.one_of(
    st.just(RemoveAll()),
    st.builds(RemoveLines, start=NUMBERS, end=NUMBERS),
    st.builds(Replace, line=NUMBERS, old=st.sampled_from(["word", "x", "$"]), new=st.sampled_from(["", "new"])),
    st.builds(InsertLines, after=NUMBERS, lines=st.just(("one", "two"))),
)
PROGRAMS: st.SearchStrategy[Program] = st.one_of(
    st.just((KeepAll(),)), st.lists(OPERATIONS, min_size=1, max_size=3).map(tuple)
)


@settings(max_examples=200)
@given(TEXTS, st.integers(8, 60), st.data())
def test_whatever_windows_say_the_guards_hold(text: str, size: int, data: st.DataObject):
    found = windows(text, size)
    programs = data.draw(st.lists(PROGRAMS, min_size=len(found), max_size=len(found)))
    guards = Guards(max_deleted=0.5, max_inserted=10)
    edited = apply_windows(text, found, programs, guards)
    assert apply_program(text, edited.program, guards) == edited.text
    lines, out = text.split("\n"), iter(edited.text.split("\n"))
    assert all(lines[number - 1] in out for number in sorted(protected_lines(text)))
