from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from tests.tiers.l0_raw.html.pages import extract
from tiers.document import documents
from tiers.l0_raw import CONTENT, ExtractHtml, HtmlReason
from tiers.l0_raw.html import Refused, decode
from tiers.stage import Context, check_outcome

PAGE = """<!DOCTYPE html><html lang="de-AT"><head><title> Die
  Seite </title><script>if (a < b) { document.write("<div>"); }</script></head><body>
<nav><a href="/">Start</a> <a href="/login">Anmelden</a></nav>
<main><h1>Titel</h1><p>Ein Absatz mit genug W\u00f6rtern, damit er als Inhalt gilt, und noch ein wenig mehr.</p>
<pre>def f(x):
    if x:

        return 1
</pre><table><tr><td>eins</td><td>zwei</td></tr><tr><td>drei</td><td>vier</td></tr></table></main>
<footer>Impressum und Datenschutz</footer></body></html>"""


def rows(*pages: bytes, charset: str | None = None) -> pa.Table:
    return documents(
        [
            {"source": f"x#{n}", "text": "", "meta": {"a": "b"}, CONTENT[0].name: page, CONTENT[1].name: "text/html",
             CONTENT[2].name: charset}
            for n, page in enumerate(pages)
        ],
        CONTENT,
    )  # fmt: skip


def test_a_page_becomes_a_document(tmp_path: Path) -> None:
    table = rows(PAGE.encode(), b"<html><body></body></html>")
    stage = ExtractHtml()
    outcome = stage.prepare(Context(models=tmp_path))(table)
    check_outcome(stage, table, outcome)
    (row,) = outcome.kept.to_pylist()
    assert row["title"] == "Die Seite"
    assert dict(row["meta"]) == {"a": "b", "html.lang": "de-AT"}
    assert "```\ndef f(x):\n    if x:\n\n        return 1\n```" in row["text"]
    assert "| eins | zwei |\n| --- | --- |\n| drei | vier |" in row["text"]
    assert "W\u00f6rtern" in row["text"]
    assert "Impressum" not in row["text"]
    assert "Anmelden" not in row["text"]
    assert not [name for name in outcome.kept.column_names if name.startswith("record.")]
    assert outcome.dropped["reason"].to_pylist() == [HtmlReason.EMPTY_PAGE]


def test_all_of_a_page_can_be_kept() -> None:
    text = extract(PAGE.encode(), main_content=False).text
    assert "Impressum" in text
    assert "Anmelden" in text


def test_rows_that_have_their_text_pass_unchanged(tmp_path: Path) -> None:
    apply = ExtractHtml().prepare(Context(models=tmp_path))
    plain = documents([{"source": "x#0", "text": "ready", "title": "T"}])
    assert apply(plain).kept.equals(plain)
    ready = {"source": "x#9", "text": "ready", "title": "T", "meta": {"k": "v"}}
    ready_rows = documents([{**ready, "record.content": b"", "record.mime": "text/plain"}], CONTENT)
    mixed = pa.concat_tables([rows(PAGE.encode()), ready_rows])
    assert apply(mixed).kept.slice(1).to_pylist() == [
        {**plain.to_pylist()[0], "id": mixed["id"][1].as_py(), "source": "x#9", "meta": [("k", "v")]}
    ]


def test_an_empty_table_keeps_its_columns(tmp_path: Path) -> None:
    apply = ExtractHtml().prepare(Context(models=tmp_path))
    assert apply(rows()).kept.schema.equals(documents([]).schema, check_metadata=True)


@pytest.mark.parametrize(
    ("encoding", "declared", "text"),
    [
        ("utf-8", "utf-8", "Stra\u00dfe"),
        ("utf-8-sig", "iso-8859-1", "Stra\u00dfe"),
        ("utf-16", None, "Stra\u00dfe"),
        ("euc_jp", "EUC-JP", "\u65e5\u672c\u8a9e"),
        ("iso-2022-jp", "iso-2022-jp", "\u65e5\u672c\u8a9e"),
        ("cp1252", "latin1", "na\u00efve \u2013 caf\u00e9"),
        ("utf-8", "no-such-charset", "Stra\u00dfe"),
        # declared wrongly, as servers do
        ("cp1251", "utf-8", "\u041f\u0440\u0438\u0432\u0435\u0442, \u043a\u0430\u043a \u0434\u0435\u043b\u0430? " * 20),
        ("cp1252", "utf-8", "Le caf\u00e9 d\u00e9j\u00e0 vu, un r\u00e9sum\u00e9 na\u00eff. " * 20),
        ("utf-8", "utf-16", "Stra\u00dfe"),
    ],
)
def test_charsets(encoding: str, declared: str | None, text: str) -> None:
    assert decode(f"<p>{text}</p>".encode(encoding), declared) == f"<p>{text}</p>"


def test_a_meta_tag_names_the_charset() -> None:
    page = '<meta charset="shift_jis"><p>\u65e5\u672c\u8a9e</p>'
    assert decode(page.encode("shift_jis"), None) == page


def test_single_broken_bytes_become_replacement_characters() -> None:
    page = "<p>caf\u00e9 na\u00efve r\u00e9sum\u00e9 ".encode() + b"\xff bits</p>"
    assert decode(page, "utf-8") == "<p>caf\u00e9 na\u00efve r\u00e9sum\u00e9 \ufffd bits</p>"


@pytest.mark.parametrize(
    "content", [b"\0" * 100, b"\xff\xfe\xfd" * 100, bytes(range(128, 256)) * 10, b"PK\x03\x04\0\0" * 50]
)
def test_what_is_no_text_is_refused_with_its_share(content: bytes) -> None:
    with pytest.raises(Refused) as refused:
        decode(content, "utf-8")
    assert refused.value.reason is HtmlReason.UNDECODABLE
    assert "at most 0.05" in refused.value.detail


def test_text_never_holds_nul_or_surrogates() -> None:
    text = extract(b"<p>a\0b &#0; &#xD800; &#xDFFF; enough words to be kept as text here</p>").text
    assert "\0" not in text
    text.encode("utf-8")


@pytest.mark.parametrize("tag", ["div", "b", "span", "table><tr><td", "ul><li", "x-custom"])
def test_deep_nesting_is_refused(tag: str) -> None:
    with pytest.raises(Refused) as refused:
        extract(f"<{tag}>".encode() * 100_000 + b"text")
    assert refused.value.reason is HtmlReason.TOO_DEEP


def test_what_only_looks_deep_is_not_refused() -> None:
    many = 3000
    flat = "<p>one<br><img src=x>" * many
    items = "<ul>" + "<li>item" * many + "</ul>"
    script = '<script>x = "' + r"<div>a<\/div>" * many + '"</script>'
    comment = "<!-- " + "<div>" * many + " -->"
    closed = "<div><span>words</span></div>" * many
    for page in (flat, items, script + "<p>text", comment + "<p>text", closed):
        assert extract(page.encode(), main_content=False).text


def test_the_depth_is_a_parameter() -> None:
    page = b"<div>" * 20 + b"text"
    assert extract(page, max_depth=20).text == "text"
    with pytest.raises(Refused, match="more than 19"):
        extract(page, max_depth=19)


def test_too_many_attributes_are_refused_but_long_values_are_not() -> None:
    with pytest.raises(Refused) as refused:
        extract(b"<p>text</p><p " + b" ".join(b"a%d" % n for n in range(6000)) + b">more</p>")
    assert refused.value.reason is HtmlReason.TOO_MANY_ATTRIBUTES
    image = b'<p>text</p><img src="data:image/png;base64,' + b"ab/d" * 50_000 + b'">'
    words = b"<p>" + b"word " * 50_000
    assert extract(image).text
    assert extract(words).text


def test_formatting_that_is_never_closed_is_refused_before_it_fills_the_memory() -> None:
    page = b"".join(b"<p><b id=%d>" % n for n in range(1500)) + b"<p>x" * 2000
    with pytest.raises(Refused) as refused:
        extract(page)
    assert refused.value.reason is HtmlReason.TOO_COMPLEX
    assert refused.value.detail.startswith("1500 formatting elements not closed")
    closed = b"".join(b"<p><b id=%d>x</b>" % n for n in range(1500)) + b"<p>x" * 2000
    alike = b"<p><b>" * 1500 + b"<p>x" * 2000
    assert extract(closed).text
    assert extract(alike).text


def test_a_long_page_may_be_less_deep() -> None:
    page = b"<div>" * 300 + b"<p>some words</p>" * 1000
    assert extract(page).text
    with pytest.raises(Refused, match="300 elements open at once × 18500 bytes, at most 5000000"):
        extract(page, max_work=5_000_000)


def test_what_a_page_says_of_its_use_is_recorded(tmp_path: Path) -> None:
    said = PAGE.replace("<title>", '<meta name="ROBOTS" content="noarchive"><title>').replace(
        "Impressum", '<a rel="license" href="https://creativecommons.org/licenses/by-sa/4.0/">Lizenz</a>'
    )
    (row,) = ExtractHtml().prepare(Context(models=tmp_path))(rows(said.encode())).kept.to_pylist()
    assert row["license"] == "CC-BY-SA-4.0"
    assert dict(row["meta"]) == {"a": "b", "html.lang": "de-AT", "robots": "noarchive"}


@pytest.mark.parametrize("opening", ["<!--", "<script>", "<style>", "<ScRiPt "])
def test_what_hides_markup_and_is_never_closed_takes_no_longer_than_the_page_is_long(opening: str) -> None:
    page = f"<html><body><p>Some text before it.{'<div>' * 2500}{opening * 200_000}".encode()
    with pytest.raises(Refused, match="more than 2000 elements open at once"):
        extract(page.decode())
