"""Pages out of order never crash or hang the stage: they are kept, dropped or failed, all others untouched."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tiers.l0_raw.html.pages import article
from tiers.document import documents
from tiers.l0_raw import CONTENT, ExtractHtml
from tiers.stage import Context, check_outcome

PIECES = (
    "<div>", "</div>", "<p>", "</p>", "<table>", "<tr>", "<td colspan=3>", "</table>", "<ul>", "<ol start=4>", "<li>",
    "</ul>", "<pre>", "</pre>", "<blockquote>", "</blockquote>", "<h2>", "</h2>", "<b>", "</b>", "<a href='#x'>",
    "<a href=/>", "</a>", "<figure>", "<figcaption>", "</figure>", "<img src=a.jpg alt='x>'>", "<br>", "<hr>", "<svg>",
    "<math>", "<select>", "<template>", "<script>", "</script>", "<!--", "-->", "<plaintext>", "<xmp>", "<frameset>",
    "<body class=nav>", "</body>", "<html lang=x>", "<base href='//['>", "<form>", "<nav>", "<main>", "<article>",
    "some words, ", "\n\n", "&lt;", "&#0;", "&nbsp;", "\u4e2d", "|", "`" * 4, "<", ">", "=\"", " class=post ",
)  # fmt: skip
BLOCKS = ExtractHtml().prepare(Context(models=Path()))


def run(*pages: bytes) -> None:
    rows = [
        {
            "source": f"x#{n}",
            "text": "",
            "url": "https://example.org/",
            CONTENT[0].name: page,
            CONTENT[1].name: "text/html",
        }
        for n, page in enumerate(pages)
    ]
    table = documents(rows, CONTENT)
    outcome = BLOCKS(table)
    check_outcome(ExtractHtml(), table, outcome)
    for row in outcome.kept.to_pylist():
        assert row["text"].strip()
        assert "\0" not in row["text"]
    assert "parser_error" not in outcome.failed["reason"].to_pylist()


@given(st.lists(st.sampled_from(PIECES), max_size=60))
@settings(max_examples=300)
def test_any_order_of_tags(pieces: list[str]) -> None:
    run("".join(pieces).encode())


@given(st.integers(0, 1 << 32))
@settings(max_examples=100)
def test_pages_with_pieces_cut_swapped_and_broken(seed: int) -> None:
    draw = random.Random(seed)
    page = bytearray(article("<table><tr><td>a<td>b<tr><td>c<td>d</table><pre>x\n y</pre><ul><li>z</ul>").encode())
    for _ in range(draw.randint(1, 20)):
        at, end = sorted(draw.randrange(len(page)) for _ in range(2))
        page[at : min(end, at + 50)] = draw.choice((b"", page[end : end + 50], draw.randbytes(3), b"<", b">"))
        page = page or bytearray(b"<p>")
    run(bytes(page), article("").encode())


@pytest.mark.parametrize("tag", ["p", "li", "table", "a", "figure", "pre", "blockquote", "h2", "select", "svg", "td"])
def test_twenty_thousand_tags_take_no_time(tag: str) -> None:
    run(f"<{tag}>word</{tag}>".encode() * 20_000)
    run(f"<p><{tag}>word".encode() * 1_000)
