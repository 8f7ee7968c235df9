"""The choice of extractors, and the process that trafilatura runs in."""

from __future__ import annotations

import os
import signal
import threading

import pytest
from pydantic import ValidationError

from tests.tiers.l0_raw.html.pages import PROSE, article, extract
from tiers.l0_raw import ExtractHtml, HtmlReason
from tiers.l0_raw.html import Refused
from tiers.l0_raw.html.trafilatura_process import TrafilaturaProcess

LISTS = "<ul>" + "".join(f"<li>{line}</li>" for line in PROSE) + "</ul>"


@pytest.mark.parametrize("extractor", ["blocks", "resiliparse", "trafilatura", "cascade"])
def test_every_extractor_finds_the_prose(extractor: str) -> None:
    page = extract(article("", before="<nav><a href=/>Home</a></nav>"), extractor=extractor)
    assert all(line in page.text for line in PROSE)
    assert "Home" not in page.text
    assert page.title == "T"


@pytest.mark.parametrize("extractor", ["blocks", "resiliparse", "trafilatura", "cascade"])
def test_every_extractor_writes_formulas(extractor: str) -> None:
    formula = "<p>The wall is <math><mi>h</mi><mo>=</mo><msup><mi>t</mi><mn>2</mn></msup></math> high, in feet.</p>"
    assert "The wall is $h = t^2$ high" in extract(article(formula), extractor=extractor).text
    assert "$" not in extract(article(formula), extractor=extractor, formulas=False).text


@pytest.mark.parametrize(
    "formula",
    [
        '<script type="math/tex">x^2</script>',
        '<span class="katex"><annotation encoding="application/x-tex">x^2</annotation></span>',
        "\\(x^2\\)",
        '<img alt="x^2" class="tex">',
    ],
)
def test_formulas_are_found_though_scripts_are_not_searched_for_them(formula: str) -> None:
    page = article(f"<p>Take {formula} of it.</p>", before="<script src=MathJax.js></script>")
    assert "Take $x^2$ of it." in extract(page).text


def test_formulas_between_grave_accents_are_found() -> None:
    page = article("<p>Take `x^2` of it.</p>", before="<script src=MathJax.js?config=AM_HTMLorMML></script>")
    assert "Take $x^2$ of it." in extract(page).text


def test_the_cascade_asks_trafilatura_only_where_it_is_in_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(TrafilaturaProcess, "extract", lambda self, page: asked.append(page) or "from trafilatura")
    assert extract(article(""), extractor="cascade").text == "\n\n".join(PROSE)
    assert not asked
    doubtful = "<body><p>Too short to be sure.</p></body>"
    assert extract(doubtful, extractor="cascade").text == "from trafilatura"
    assert extract(doubtful, extractor="cascade", min_confidence=0).text == "Too short to be sure."


def test_where_trafilatura_finds_nothing_the_cascade_keeps_what_it_had() -> None:
    assert extract("<body><p>Short.</p></body>", extractor="cascade").text == "Short."


def test_trafilatura_depends_on_no_other_page() -> None:
    run = ExtractHtml(extractor="trafilatura").extracting()
    page = article(LISTS).encode()
    assert len({run(page, None, None).text for _ in range(5)}) == 1


def test_main_content_is_all_that_trafilatura_can() -> None:
    with pytest.raises(ValidationError, match="main_content: false is for blocks and resiliparse, not for trafilatura"):
        ExtractHtml(extractor="trafilatura", main_content=False)


def test_a_page_that_ends_the_process_fails_and_the_next_one_is_extracted() -> None:
    process = TrafilaturaProcess(seconds=20)
    assert PROSE[0] in process.extract(article(""))
    assert process._process is not None
    os.kill(process._process.pid, signal.SIGSEGV)
    process._process.wait()
    with pytest.raises(Refused) as refused:
        process.extract(article(""))
    assert refused.value.reason is HtmlReason.CRASHED
    assert PROSE[0] in process.extract(article(""))


def test_a_page_that_takes_too_long_fails_in_any_thread() -> None:
    process = TrafilaturaProcess(seconds=1)
    deep = "<div>" + "<table><tr><td><p>word <a href=x>link</a> words, and more of them.</p></td></tr></table>" * 30_000
    found: list[BaseException | str] = []

    def run() -> None:
        for page in (deep, article("")):
            try:
                found.append(process.extract(page))
            except Refused as refused:
                found.append(refused)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert isinstance(found[0], Refused)
    assert found[0].reason is HtmlReason.TIMED_OUT
    assert found[0].detail == "trafilatura took more than 1 s"
    assert PROSE[0] in str(found[1])
