import pytest

from tiers.l1_filtered.layout import Layout, line_layouts

P, F, C, T = Layout.PROSE, Layout.FENCED, Layout.INDENTED, Layout.TABLE
CASES = {
    "prose": ("Some prose.\n\nMore of it.", [P, P, P]),
    "fences": ("a\n```py\nx\n```\nb", [P, F, F, F, P]),
    "a longer fence holds a shorter one": ("````\n```\nx\n````\nb", [F, F, F, F, P]),
    "an open fence": ("a\n~~~\nb", [P, F, F]),
    "underlined titles": ("Title\n~~~~~\nprose\n\nOther\n~~~~~", [P] * 6),
    "code in a line": ("Run ```x``` now.\nThen stop.", [P, P]),
    "indented": ("a\n\n    x = 1\n\n\ty", [P, P, C, P, C]),
    "nested list": ("* a\n    * b\n    1. c", [P, P, P]),
    "markdown table": ("a | b\n--|--\n1 | 2\n\nx", [T, T, T, P, P]),
    "rows between bars": ("| a | b |\n| 1 | 2 |", [T, T]),
    "a menu with bars": ("Home | About | Contact\nProse.", [P, P]),
    "simple table": ("====  ====\na     b\n====  ====", [T, T, T]),
    "grid table": ("+---+---+\n| a | b |\n+---+---+", [T, T, T]),
    "columns": ("name   age\nAda    36\nno columns here", [T, T, P]),
    "tabs": ("a\tb\n1\t2\nx", [T, T, P]),
    "gaps that don't line up": ("one  two three\nfour five  six", [P, P]),
}


@pytest.mark.parametrize(("text", "expected"), CASES.values(), ids=CASES)
def test_lines_are_told_apart(text, expected):
    assert line_layouts(text) == expected
