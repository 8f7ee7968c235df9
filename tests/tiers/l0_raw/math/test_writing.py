from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree

from tiers.l0_raw.math import write_formulas
from tiers.l0_raw.math.marks import formula_selector, marks_of

GOLDEN = Path(__file__).parent / "golden"
SHARED = Path(__file__).parents[5] / "shared" / "data" / "mathml"
CASES = [
    pytest.param(case, id=f"{path.stem}: {case['name']}")
    for path in sorted(GOLDEN.glob("*.yaml"))
    for case in yaml.safe_load(path.read_text(encoding="utf-8"))
]


def text_of(tree: HTMLTree) -> str:
    return str(extract_plain_text(tree, main_content=False)).strip("\n")


def written(page: str) -> tuple[str, int]:
    tree = HTMLTree.parse(page)
    count = write_formulas(tree)
    return text_of(tree), count


def selector_for(page: str) -> str | None:
    data = page.encode()
    return formula_selector(marks_of(data), data)


@pytest.mark.parametrize("case", CASES)
def test_golden(case: dict[str, Any]) -> None:
    text, count = written(case["html"])
    assert text == case["text"]
    assert count == case.get("formulas", 1)
    selector = selector_for(case["html"])
    assert not count or selector is not None
    if selector is not None:
        tree = HTMLTree.parse(case["html"])
        assert (write_formulas(tree, selector), text_of(tree)) == (count, text)


def test_writing_twice_writes_nothing_new() -> None:
    tree = HTMLTree.parse("<p>a <math><mi>x</mi></math> b \\(y\\)<math display='block'><mi>z</mi></math></p>")
    assert write_formulas(tree) == 3
    once = text_of(tree)
    write_formulas(tree)
    assert text_of(tree) == once


def test_pages_without_formulas_are_told_apart() -> None:
    page = "<p>Text that costs $5, a <b>path</b> of C:\\dir, <img src='x.png' alt='x'> and <code>a[0]</code>.</p>"
    assert selector_for(page) is None
    before = HTMLTree.parse(page)
    after = HTMLTree.parse(page)
    assert write_formulas(after) == 0
    assert str(after) == str(before)


@pytest.mark.parametrize(
    "formula",
    [
        '<img class="latex" src="1.png" alt="\\alpha">',
        "<math><mi>x</mi></math>",
        '<script type="math/tex">\\alpha</script>',
        '<span class="katex"><math><mi>x</mi></math></span>',
        "\\(\\alpha\\)",
        '<span class="math">\\(x\\)</span>',
    ],
)
@pytest.mark.parametrize("around", ["<p>{}</p>", "<td>{}</td>", "<li>{}</li>", "<h2>{}</h2>", "<a href='#'>{}</a>"])
def test_text_before_between_and_behind_is_kept(formula: str, around: str) -> None:
    page = around.format(f"before {formula} between <i>and</i> {formula} behind")
    text, count = written(f"<table><tr>{page}</tr></table>" if "td" in around else page)
    assert count == 2
    assert re.sub(r"\$[^$]*\$", "F", text).split()[-6:] == ["before", "F", "between", "and", "F", "behind"]


@pytest.mark.parametrize(
    "command", ["neq", "nu", "nabla", "notin", "ne", "times", "theta", "rho", "right", "beta", "frac"]
)
@pytest.mark.parametrize(
    "form",
    [
        "<p>\\(a \\{} b\\)</p>",
        '<p><script type="math/tex">a \\{} b</script></p>',
        '<p><img class="latex" src="x.png" alt="a \\{} b"></p>',
        '<math alttext="a \\{} b"><mi>a</mi></math>',
        '<p><span class="math-container">$a \\{} b$</span></p>',
        '<p><span data-tex="a \\{} b"></span></p>',
    ],
)
def test_commands_keep_their_first_letters(form: str, command: str) -> None:
    assert written(form.replace("{}", command))[0] == f"$a \\{command} b$"


@pytest.mark.parametrize("tag", ["mrow", "msqrt", "msup", "mfrac", "mtable", "math", "semantics", "apply", "mml:mrow"])
def test_deep_nesting_is_bounded(tag: str) -> None:
    page = f"<p>a <math>{f'<{tag}>' * 10_000}<mi>x</mi>{f'</{tag}>' * 10_000}</math> b</p>"
    text, count = written(page)
    assert text.startswith("a ")
    assert text.endswith(" b")
    assert "x" in text
    assert count == 1


def test_deep_nesting_in_a_page_and_in_other_notations() -> None:
    assert written("<div>" * 10_000 + "<math><mi>x</mi></math>" + "</div>" * 10_000) == ("$x$", 1)
    for source in ("(" * 10_000 + ")" * 10_000, "sqrt " * 10_000, "[[" * 10_000, "{" * 10_000, "\\(" * 10_000):
        written(f'<p>a <script type="math/asciimath">x{source}</script> <script type="math/tex">x{source}</script></p>')
        written(f"<p>{source}</p>")


# ── Real pages ──────────────────────────────────────────────────────────────────────────────────────────────────────

PAGES = sorted([*SHARED.glob("*.html"), *SHARED.glob("examples/*.html"), *SHARED.glob("readability/*/source.html.gz")])
FORMULAS = "math, mjx-container, .mwe-math-element"


def read(path: Path) -> str:
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return content.decode("utf-8")


def without_formulas(text: str) -> list[str]:
    return re.sub(r"\$\$.+?\$\$|\$[^$]+\$", " F ", text).split()


@pytest.mark.skipif(not PAGES, reason="no pages with MathML beside the project")
@pytest.mark.parametrize("path", PAGES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_formula_of_a_real_page_is_written_once_and_all_else_stays(path: Path) -> None:
    page = read(path)
    without = HTMLTree.parse(page)
    outermost = [
        element for element in without.document.query_selector_all(FORMULAS).values()
        if element.parent_element.closest(FORMULAS) is None
    ]  # fmt: skip
    for element in outermost:
        element.replace_with(without.create_text_node(" F "))
    tree = HTMLTree.parse(page)
    assert write_formulas(tree) == len(outermost)
    assert not tree.document.query_selector_all("math").values()
    assert without_formulas(text_of(tree)) == without_formulas(text_of(without))


# ── Whatever comes ──────────────────────────────────────────────────────────────────────────────────────────────────

PIECES = st.sampled_from(
    sorted({piece for path in GOLDEN.glob("*.yaml") for case in yaml.safe_load(path.read_text(encoding="utf-8"))
            for piece in re.findall(r"<[^>]*>|\\.|\$+|`|[^<\\$`]{1,12}", case["html"])})
)  # fmt: skip
MUTATED = st.lists(PIECES | st.text(max_size=5), max_size=40).map("".join)


@settings(max_examples=400)
@given(MUTATED)
def test_nothing_raises_and_what_is_no_formula_stays(markup: str) -> None:
    tree = HTMLTree.parse(f"<p>START {markup} END</p>")
    had = tree.document.document_element.text_content
    count = write_formulas(tree)
    text_of(tree)
    assert count >= 0
    if count == 0:
        assert tree.document.document_element.text_content == had


@settings(max_examples=200)
@given(st.sampled_from([param.values[0]["html"] for param in CASES]), st.data())
def test_cut_and_doubled_markup_does_no_harm(page: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(page)))
    end = data.draw(st.integers(start, len(page)))
    for mutated in (page[:start] + page[end:], page[:end] + page[start:], page[start:end] * 3):
        text, _ = written(f"<p>START</p>{mutated}")
        assert "START" in text
