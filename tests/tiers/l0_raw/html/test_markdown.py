"""What text keeps of a page's structure."""

from __future__ import annotations

import pytest

from tests.tiers.l0_raw.html.pages import PROSE, article, below_prose, extract


def test_headings_have_their_level() -> None:
    text = extract(
        "<main><h1>Top</h1><p>one</p><h3>Lower <i>down</i><a class=headerlink>\u00b6</a></h3><p>two</main>"
    ).text
    assert text == "# Top\n\none\n\n### Lower down\n\ntwo"


def test_a_heading_that_nothing_follows_is_left_out() -> None:
    assert below_prose("<h2>Share this</h2><ul></ul>") == ""


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("<ul><li>a<li>b</ul>", "- a\n- b"),
        ("<ol><li>a<li>b</ol>", "1. a\n2. b"),
        ("<ol start=9><li>a<li>b</ol>", "9. a\n10. b"),
        ("<ul><li>a<ol><li>x<li>y</ol><li>b</ul>", "- a\n  1. x\n  2. y\n- b"),
        ("<ul><li><p>a</p><p>more</p><li><p>b</p></ul>", "- a\n\n  more\n- b"),
        ("<ul><li>run<pre>x = 1\n  y</pre><li>b</ul>", "- run\n\n  ```\n  x = 1\n    y\n  ```\n\n- b"),
        ("<dl><dt>term<dd>what it is</dl>", "term\nwhat it is"),
    ],
)
def test_lists(markup: str, text: str) -> None:
    assert below_prose(markup) == text


def test_quotations() -> None:
    markup = "<blockquote><p>one<p>two<blockquote>deep</blockquote></blockquote><p>after"
    assert below_prose(markup) == "> one\n>\n> two\n>\n> > deep\n\nafter"


def test_line_breaks_and_paragraphs() -> None:
    assert below_prose("<p>a line<br>another<br><br>a  new\n paragraph</p><div>x</div><div>y</div>") == (
        "a line\nanother\n\na new paragraph\n\nx\ny"
    )


def test_inline_elements_do_not_break_words() -> None:
    assert (
        below_prose("<p>H<sub>2</sub>O <b>is</b><i> wet</i>&nbsp;&amp; &lt;b&gt; &amp;amp;</p>")
        == "H2O is wet & <b> &amp;"
    )


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("<pre>\n  a  b\n\n    c</pre>", "```\n  a  b\n\n    c\n```"),
        ('<pre><code class="hljs language-python">if a &lt; b:\n    <span>f</span>()</code></pre>',
         "```python\nif a < b:\n    f()\n```"),
        ('<table><tr><td class="linenos"><pre>1\n2</pre><td class="code"><pre>a\n b</pre></table>', "```\na\n b\n```"),
        ("<pre>use ``` here</pre>", "````\nuse ``` here\n````"),
        ("<pre>a<br>b</pre>", "```\na\nb\n```"),
        ("<xmp>a <b> c</xmp>", "```\na <b> c\n```"),
    ],
)  # fmt: skip
def test_code_is_kept_as_it_is(markup: str, text: str) -> None:
    assert below_prose(markup) == text


def test_tables_of_data() -> None:
    markup = (
        "<table><caption>Ships</caption><thead><tr><th>Name<th>Tons</thead>"
        "<tr><td><a href=/a>Anna</a><td>1<br>200<tr><td>a|b<td>7</table>"
    )
    assert below_prose(markup) == "Ships\n\n| Name | Tons |\n| --- | --- |\n| Anna | 1 200 |\n| a\\|b | 7 |"


def test_cells_that_span_columns_keep_the_others_in_place() -> None:
    markup = "<table><tr><th>a<th>b<th>c<tr><td colspan=2>x<td>y<tr><td>1<td>2<td>3</table>"
    assert below_prose(markup) == "| a | b | c |\n| --- | --- | --- |\n| x |  | y |\n| 1 | 2 | 3 |"


def test_tables_that_lay_out_a_page_are_no_tables() -> None:
    page = "<table><tr><td>" + "".join(f"<p>{line}</p>" for line in PROSE) + "</td><td><ul><li>x</ul></td></tr></table>"
    assert extract(page, main_content=False).text == "\n\n".join([*PROSE, "- x"])


def test_formulas_and_images_leave_the_text_around_them() -> None:
    assert below_prose('<p>before $x^2$ <img src="/f.png" alt="x squared"> after</p>') == "before $x^2$ after"


def test_hidden_elements_and_form_fields_are_no_text() -> None:
    hidden = (
        '<p hidden>a</p><p style="display: none">b</p><span>c</span><select><option>d</select><svg><text>e</text></svg>'
    )
    assert below_prose(hidden) == "c"


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ('<a hr<!--ef="x">link</a><p>after', "link\n\nafter"),
        ('<noscript>a<script>"</noscript>"</script>b</noscript><p>after', "after"),
        ("<noscript>a<noscript>b</noscript>c</noscript><p>after", "after"),
    ],
)
def test_odd_tags_neither_hide_nor_show_what_is_around_them(markup: str, text: str) -> None:
    assert below_prose(markup) == text


def test_text_right_behind_the_main_content_is_none_of_it() -> None:
    code = "\n".join(f"x{line} = {line} + 1 and more of it" for line in range(30))
    links = "<a href=x>link link link</a> " * 10
    assert extract(f"<div>{links}<pre>{code}</pre>behind</div>").text == f"```\n{code}\n```"


def test_whole_pages_keep_navigation() -> None:
    page = article("", before="<nav><ul><li><a href=/>Home</a></ul></nav>", after="<footer>Imprint</footer>")
    assert extract(page, main_content=False).text == "- Home\n\n" + "\n\n".join(PROSE) + "\n\nImprint"
