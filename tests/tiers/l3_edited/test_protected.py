from __future__ import annotations

import pytest

from tiers.l3_edited.protected import find_protected, protected_lines


def test_protection_covers_code_and_tables_but_not_nested_lists():
    text = "- a\n    - nested\n\n    code\n\n\tmore\ntext\n~~~\nopen\n```\nstill"
    assert protected_lines(text) == {4, 5, 6, 8, 9, 10, 11}
    assert protected_lines("````\n```\n````\nfree") == {1, 2, 3}
    assert protected_lines("a | b\nplain") == frozenset()


def test_backticks_on_both_sides_are_code_within_a_line_and_no_fence():
    assert protected_lines("```x = 1```\nfree\nfree") == frozenset()
    assert protected_lines("```py\n```x = 1```\n```\nfree") == {1, 2, 3}
    assert protected_lines("~~~ a `b`\n```\n~~~\nfree") == {1, 2, 3}


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("so\n$$\nx = 1\n$$\nholds", {2, 3, 4}),
        ("so\n$$x = 1$$\nholds", {2}),
        ("so $$x\n= 1$$ holds\nalways", {1, 2}),
        ("so\n\\[\nx = 1\n\\].\nholds", {2, 3, 4}),
        ("\\[1\\] Smith", set()),
        ("it costs $$ and\n\nmore $$", set()),
        ("```\n$$\n```\nfree\n$$", {1, 2, 3}),
        (r"a \$$b$$ c", set()),
    ],
)
def test_display_formulas_protect_their_lines(text: str, lines: set[int]):
    assert protected_lines(text) == lines


@pytest.mark.parametrize(
    ("line", "formulas"),
    [
        ("let $x$ be, and $y+1$.", ["$x$", "$y+1$"]),
        (r"let \(x\) be", [r"\(x\)"]),
        ("as $$x^2$$ says", ["$$x^2$$"]),
        ("from $20,000 to $30,000", []),
        ("it is $5 or 6 $ now", []),
        (r"a \$x$ b", []),
        (r"$a \$ b$", [r"$a \$ b$"]),
        ("one $ alone", []),
    ],
)
def test_formulas_within_a_line_protect_themselves(line: str, formulas: list[str]):
    found = find_protected(line)
    assert found.lines == frozenset()
    assert [line[start:end] for start, end in found.spans.get(1, ())] == formulas
