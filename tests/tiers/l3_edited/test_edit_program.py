from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiers.l3_edited.edit_program import (
    Guards,
    InsertLines,
    KeepAll,
    Operation,
    Rejected,
    Rejection,
    RemoveAll,
    RemoveLines,
    Replace,
    apply_program,
    describe,
    dump_program,
    numbered,
    parse_program,
    program_schema,
)
from tiers.l3_edited.protected import find_protected, protected_lines

FREE = Guards(max_deleted=1, max_inserted=10_000)
PAGE = """Home
About

The quick brown fox jumps over teh lazy dog.

```
teh code
```

| a | b |
|---|---|

    indented

    code
Footer"""


def lines_of(result: str | Rejection) -> list[str]:
    assert isinstance(result, str), result
    return result.split("\n")


def reason_of(result: object) -> Rejected:
    assert isinstance(result, Rejection), result
    return result.reason


def test_every_operation_does_what_it_says_and_blank_lines_stay():
    program = [
        RemoveLines(start=1, end=2),
        Replace(line=4, old="teh", new="the"),
        Replace(line=4, old="quick", new="slow"),
        InsertLines(after=4, lines=("And then it sleeps.", "", "It snores.")),
        RemoveLines(start=16, end=16),
    ]
    expected = PAGE.replace("Home\nAbout\n", "", 1).replace("over teh", "over the").replace("quick", "slow")
    expected = expected.replace("dog.", "dog.\nAnd then it sleeps.\n\nIt snores.").removesuffix("\nFooter")
    assert apply_program(PAGE, program, FREE) == expected


def test_lines_are_separated_by_line_feeds_only():
    text = "one\x0c\u2028still one\r\ntwo\x85"
    assert numbered(text) == "1: one\x0c\u2028still one\r\n2: two\x85"
    assert apply_program(text, [RemoveLines(start=2, end=2)], FREE) == "one\x0c\u2028still one\r"


@pytest.mark.parametrize(
    ("operation", "reason"),
    [
        (RemoveLines(start=1, end=99_999), Rejected.OUT_OF_BOUNDS),
        (RemoveLines(start=0, end=1), Rejected.OUT_OF_BOUNDS),
        (RemoveLines(start=2, end=1), Rejected.OUT_OF_BOUNDS),
        (Replace(line=17, old="a", new=""), Rejected.OUT_OF_BOUNDS),
        (InsertLines(after=-1, lines=("a",)), Rejected.OUT_OF_BOUNDS),
        (InsertLines(after=17, lines=("a",)), Rejected.OUT_OF_BOUNDS),
        (Replace(line=4, old="o", new="0"), Rejected.NOT_UNIQUE),
        (Replace(line=4, old="cat", new="dog"), Rejected.NOT_UNIQUE),
        (Replace(line=4, old="", new="dog"), Rejected.NOT_UNIQUE),
        (RemoveLines(start=5, end=6), Rejected.PROTECTED),
        (Replace(line=7, old="teh", new="the"), Rejected.PROTECTED),
        (InsertLines(after=6, lines=("more",)), Rejected.PROTECTED),
        (RemoveLines(start=10, end=10), Rejected.PROTECTED),
        (RemoveLines(start=14, end=14), Rejected.PROTECTED),
        (InsertLines(after=4, lines=("a\nb",)), Rejected.INSERTS_STRUCTURE),
        (InsertLines(after=4, lines=("```",)), Rejected.INSERTS_STRUCTURE),
        (Replace(line=1, old="Home", new="~~~"), Rejected.INSERTS_STRUCTURE),
        (RemoveAll(), Rejected.REMOVE_ALL),
    ],
)
def test_a_guard_trips_with_its_reason(operation: Operation, reason: Rejected):
    assert reason_of(apply_program(PAGE, [operation], FREE)) is reason


@pytest.mark.parametrize(
    "program",
    [
        [RemoveLines(start=1, end=2), RemoveLines(start=2, end=3)],
        [RemoveLines(start=4, end=4), Replace(line=4, old="fox", new="cat")],
        [Replace(line=4, old="quick brown", new="a"), Replace(line=4, old="brown fox", new="b")],
        [InsertLines(after=4, lines=("a",)), InsertLines(after=4, lines=("b",))],
        [RemoveAll(), RemoveLines(start=1, end=1)],
        [KeepAll(), RemoveLines(start=1, end=1)],
    ],
)
def test_operations_that_meet_are_refused_in_any_order(program: list[Operation]):
    results = [apply_program(PAGE, list(order), FREE) for order in itertools.permutations(program)]
    assert reason_of(results[0]) is Rejected.CONFLICTING
    assert results == results[:1] * len(results)


FORMULAS = "so $a+b$ and \\(c\\) hold, for $5 or $6\n$$\nx\n$$\nend"


@pytest.mark.parametrize(
    "operation",
    [
        Replace(line=1, old="a+b", new="a-b"),
        Replace(line=1, old="so $", new="so "),
        Replace(line=1, old="(c", new="(c'"),
        Replace(line=3, old="x", new="y"),
        RemoveLines(start=2, end=4),
        InsertLines(after=3, lines=("y",)),
    ],
)
def test_nothing_is_edited_within_a_formula(operation: Operation):
    assert reason_of(apply_program(FORMULAS, [operation], FREE)) is Rejected.PROTECTED


def test_beside_a_formula_may_be_edited_and_its_line_removed():
    program = [
        Replace(line=1, old="so $a+b$ and", new="thus $a+b$ and"),
        Replace(line=1, old="$5 or $6", new="$7"),
        InsertLines(after=4, lines=("more",)),
    ]
    assert lines_of(apply_program(FORMULAS, program, FREE)) == [
        r"thus $a+b$ and \(c\) hold, for $7",
        "$$",
        "x",
        "$$",
        "more",
        "end",
    ]
    assert lines_of(apply_program(FORMULAS, [RemoveLines(start=1, end=1)], FREE)) == ["$$", "x", "$$", "end"]


def test_context_in_a_replacement_is_not_changed():
    program = [Replace(line=1, old="one two", new="1 two"), Replace(line=1, old="two three", new="two 3")]
    assert apply_program("one two three", program, Guards(max_deleted=8 / 13, max_inserted=2)) == "1 two 3"
    twice = [Replace(line=1, old="one", new="one,"), Replace(line=1, old="one two", new="one; two")]
    assert reason_of(apply_program("one two three", twice, FREE)) is Rejected.CONFLICTING


def test_the_share_of_deleted_characters_is_bounded():
    text = "a" * 70 + "\n" + "b" * 30
    assert apply_program(text, [RemoveLines(start=2, end=2)], Guards(max_deleted=0.3)) == "a" * 70
    rejection = apply_program(text, [RemoveLines(start=2, end=2)], Guards(max_deleted=0.29))
    assert rejection == Rejection(Rejected.DELETES_TOO_MUCH, "0.300 > 0.29 of the characters")


def test_inserted_text_is_bounded():
    guards = Guards(max_inserted=5)
    assert lines_of(apply_program("a", [InsertLines(after=1, lines=("12345",))], guards)) == ["a", "12345"]
    rejection = apply_program("a", [InsertLines(after=1, lines=("12345",)), InsertLines(after=0, lines=("6",))], guards)
    assert reason_of(rejection) is Rejected.INSERTS_TOO_MUCH


def test_remove_all_is_a_verdict_that_must_be_permitted():
    assert apply_program(PAGE, [RemoveAll()], Guards(allow_remove_all=True)) == ""


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '[{"op":"keep_all"}] thanks',
        '[{"op":"delete_everything"}]',
        '[{"op":"remove_lines","start":1}]',
        '[{"op":"remove_lines","start":"1","end":2}]',
        '[{"op":"remove_lines","start":1.5,"end":2}]',
        '[{"op":"remove_lines","start":1,"end":2,"why":"x"}]',
        '[{"op":"keep_all"},{"op":"replace"}]',
    ],
)
def test_anything_but_a_list_of_known_operations_is_malformed(text: str):
    assert reason_of(parse_program(text)) is Rejected.MALFORMED


def test_the_schema_knows_every_operation_and_lets_a_verdict_stand_alone():
    schema = program_schema()
    verdict, edits = schema["anyOf"]
    assert (verdict["maxItems"], verdict["minItems"], edits["minItems"]) == (1, 1, 1)
    names = {definition["properties"]["op"]["const"] for definition in schema["$defs"].values()}
    assert names == {"keep_all", "remove_all", "remove_lines", "replace", "insert_lines"}
    assert all(set(one["required"]) == set(one["properties"]) for one in schema["$defs"].values())


def test_a_malformed_program_says_where():
    rejection = parse_program('[{"op":"keep_all"},{"op":"remove_lines","start":1}]')
    assert isinstance(rejection, Rejection)
    assert rejection.detail == "1.remove_lines.end: Field required"


def test_a_program_describes_itself_on_one_line():
    program = [RemoveLines(start=1, end=3), Replace(line=5, old="a\n", new="b"), InsertLines(after=0, lines=("x",))]
    assert describe(program) == r"remove_lines(1,3); replace(5,'a\n','b'); insert_lines(0,'x')"


NUMBERS = st.integers(-1, 14)
CODE = ("```", "~~~", "    code", "\tcode", "| a | b |")
FORMULA_LINES = ("$$", "$$o$$", "a word $o+x$", r"\(o\) or $x$", "$$ word", "word $$")
LINES = st.sampled_from(["", "word", "two words", "  - item", "x" * 40, *CODE, *FORMULA_LINES])
TEXTS = st.lists(LINES, max_size=12).map("\n".join)
WORDS = st.sampled_from(["", "word", "o", "x", "two words", "a", "```", "new\nline", "$", "$x$", "word $"])
OPERATIONS: st.SearchStrategy[Operation] = st.one_of(
    st.just(KeepAll()),
    st.just(RemoveAll()),
    st.builds(RemoveLines, start=NUMBERS, end=NUMBERS),
    st.builds(Replace, line=NUMBERS, old=WORDS, new=WORDS),
    st.builds(InsertLines, after=NUMBERS, lines=st.lists(WORDS, min_size=1, max_size=2).map(tuple)),
)
EDITS = st.one_of(
    st.builds(RemoveLines, start=st.integers(1, 6), end=st.integers(1, 6)),
    st.builds(Replace, line=st.integers(1, 6), old=WORDS, new=WORDS),
    st.builds(InsertLines, after=st.integers(0, 6), lines=st.lists(WORDS, min_size=1, max_size=2).map(tuple)),
)
PROGRAMS = st.one_of(st.lists(OPERATIONS, min_size=1, max_size=4), st.lists(EDITS, min_size=1, max_size=3))
GUARDS = st.builds(Guards, max_deleted=st.sampled_from([0.0, 0.3, 0.7, 1.0]), max_inserted=st.integers(0, 30))


def is_subsequence(part: list[str], whole: list[str]) -> bool:
    rest = iter(whole)
    return all(line in rest for line in part)


@settings(max_examples=400)
@given(TEXTS, PROGRAMS, GUARDS)
def test_whatever_the_program_protected_lines_and_limits_hold(text: str, program: list[Operation], guards: Guards):
    result = apply_program(text, program, guards)
    if isinstance(result, Rejection):
        return
    lines, out = text.split("\n"), result.split("\n")
    held = [lines[number - 1] for number in sorted(protected_lines(text))]
    assert is_subsequence(held, out)
    removed = {n for o in program if isinstance(o, RemoveLines) for n in range(o.start, o.end + 1)}
    for number, spans in find_protected(text).spans.items():
        for start, end in spans:
            formula = lines[number - 1][start:end]
            assert number in removed or any(formula in line for line in out)
    size = sum(map(len, lines))
    assert sum(map(len, out)) >= size - guards.max_deleted * size
    assert sum(map(len, out)) <= size + guards.max_inserted


@settings(max_examples=200)
@given(TEXTS, PROGRAMS, GUARDS, st.randoms(use_true_random=False))
def test_the_order_of_operations_is_of_no_account(text, program, guards, random):
    shuffled = random.sample(program, len(program))
    assert apply_program(text, shuffled, guards) == apply_program(text, program, guards)


@settings(max_examples=100)
@given(st.text(), GUARDS)
def test_keep_all_is_the_identity(text: str, guards: Guards):
    assert apply_program(text, [KeepAll()], guards) == text


@settings(max_examples=100)
@given(st.lists(OPERATIONS, min_size=1, max_size=5))
def test_json_round_trip(program: list[Operation]):
    assert parse_program(dump_program(program)) == tuple(program)
