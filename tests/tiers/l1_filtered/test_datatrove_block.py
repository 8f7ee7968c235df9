"""Blocks of datatrove run as stages, and decide as they do when datatrove runs them."""

import pydoc_data.topics
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from tiers.document import documents
from tiers.l1_filtered.datatrove_block import DatatroveBlock
from tiers.stage import Context, check_outcome

filters = pytest.importorskip("datatrove.pipeline.filters", reason="datatrove is optional", exc_type=ImportError)
pytestmark = pytest.mark.filterwarnings("ignore")

FILTERS, FORMATTERS = "datatrove.pipeline.filters", "datatrove.pipeline.formatters"
CASES = {
    "GopherQualityFilter": {"min_doc_words": 30},
    "C4QualityFilter": {"filter_no_terminal_punct": False},
    "FineWebQualityFilter": {},
    "GopherRepetitionFilter": {"dup_line_frac": 0.1, "top_n_grams": [[2, 0.1]]},
    "C4ParagraphFilter": {},
    "RegexFilter": {"regex_exp": "(?i)exception"},
    "URLFilter": {"use_integrated_lists": False, "extra_domains": ["bad.example"], "banned_words": ["spam"]},
    "FTFYFormatter": {},
    "PIIFormatter": {"email_replacement": ["one@example.com", "two@example.com"]},
    "SymbolLinesFormatter": {},
}


@pytest.fixture(scope="module")
def table():
    rows = []
    for number, (_, text) in enumerate(sorted(pydoc_data.topics.topics.items())[:60]):
        text = f"{text[:3000]}\n****\nWrite to me{number}@mail.example or from 8.8.8.8. Itâ€™s \x1b[1mbold\x1b[0m.\n"
        text = re.sub(r"\n\n+", "\n", text) if number % 3 else text
        url = f"https://{('bad', 'good')[number % 2]}.example/{('spam', 'ham', 'eggs')[number % 3]}"
        rows.append({"text": text, "source": str(number), "url": url, "lang": "en", "meta": {"crawl": "first"}})
    return documents(rows)


def run(table, block, **options):
    stage = DatatroveBlock(block=block, options=options)
    outcome = stage.prepare(Context(models=Path("no-models")))(table)
    check_outcome(stage, table, outcome)
    return outcome


@pytest.mark.parametrize("name", CASES)
def test_decisions_are_those_of_datatrove(table, name):
    from datatrove.data import Document

    module = FILTERS if name.endswith("Filter") else FORMATTERS
    kind = getattr(pytest.importorskip(module, exc_type=ImportError), name)
    try:
        block = kind(**CASES[name])
    except ImportError as error:
        pytest.skip(str(error))
    rows = table.to_pylist()
    theirs = block.run([Document(row["text"], row["id"], metadata={"url": row["url"]}) for row in rows])
    theirs = {document.id: document.text for document in theirs}

    outcome = run(table, f"{module}.{name}", **CASES[name])

    assert dict(zip(outcome.kept["id"].to_pylist(), outcome.kept["text"].to_pylist(), strict=True)) == theirs
    assert outcome.failed.num_rows == 0
    changed = {row["id"] for row in rows if theirs.get(row["id"], row["text"]) != row["text"]}
    assert set(outcome.noted["id"].to_pylist()) == changed
    assert changed or outcome.dropped.num_rows
    assert all(reason.startswith(f"datatrove.{name}.") for reason in outcome.dropped["reason"].to_pylist())


def test_reasons_are_told(table):
    outcome = run(table, f"{FILTERS}.GopherQualityFilter", min_doc_words=10_000)

    assert set(outcome.dropped["reason"].to_pylist()) == {"datatrove.GopherQualityFilter.gopher_short_doc"}
    assert outcome.dropped["detail"][0].as_py().endswith('with {"min_doc_words": 10000}')


def test_an_error_fails_its_row_alone(table):
    rows = table.to_pylist()[:3]
    rows[1]["url"] = None  # datatrove asserts that there is one
    outcome = run(documents(rows), f"{FILTERS}.URLFilter", use_integrated_lists=False)

    assert outcome.kept["id"].to_pylist() == [rows[0]["id"], rows[2]["id"]]
    assert outcome.failed["id"].to_pylist() == [rows[1]["id"]]
    assert outcome.failed["reason"].to_pylist() == ["datatrove.URLFilter.error"]
    assert outcome.failed["detail"][0].as_py().startswith("AssertionError: ")


def test_metadata_goes_there_and_back(table, monkeypatch):
    seen = []

    def annotate(self, document):
        seen.append(dict(document.metadata))
        document.metadata.update(score=0.5, label="prose", crawl="second", spans=[1, 2])
        return True

    monkeypatch.setattr(filters.RegexFilter, "filter", annotate)
    outcome = run(table, f"{FILTERS}.RegexFilter", regex_exp="x")

    assert seen[0] == {"crawl": "first", "url": "https://bad.example/spam", "language": "en", "source": "0"}
    assert dict(outcome.kept["meta"][0].as_py()) == {"crawl": "second", "score": "0.5", "label": "prose"}
    assert outcome.kept.schema.equals(table.schema)


def test_a_table_gives_the_same_whatever_came_before(table):
    stage = DatatroveBlock(block=f"{FORMATTERS}.PIIFormatter")
    apply = stage.prepare(Context(models=Path("no-models")))

    apply(table.slice(0, 1))
    assert apply(table).kept.equals(run(table, stage.block).kept)


def test_an_extractor_reads_the_text_as_html():
    pytest.importorskip("trafilatura")
    page = "<html><body><article>{}</article></body></html>"
    prose = "<p>The lamp was lit every evening, and the ships found their way into the harbour.</p>" * 5
    rows = [{"text": page.format(prose), "source": "0"}, {"text": page.format(""), "source": "1"}]
    outcome = run(documents(rows), "datatrove.pipeline.extractors.Trafilatura", timeout=60)

    assert outcome.kept["text"][0].as_py().startswith("The lamp was lit every evening")
    assert outcome.dropped["reason"].to_pylist() == ["datatrove.Trafilatura.empty"]


@pytest.mark.parametrize(
    ("block", "options", "told"),
    [
        (f"{FILTERS}.LambdaFilter", {"filter_function": "x"}, "LambdaFilter is refused: a function"),
        (f"{FILTERS}.SamplerFilter", {}, "SamplerFilter is refused"),
        ("datatrove.pipeline.dedup.MinhashDedupSignature", {"output_folder": "x"}, "see documents one by one"),
        ("datatrove.pipeline.readers.JsonlReader", {"data_folder": "x"}, "see documents one by one"),
        ("datatrove.pipeline.writers.JsonlWriter", {"output_folder": "x"}, "see documents one by one"),
        (f"{FILTERS}.GopherFilter", {}, "can't be imported"),
        ("os.system", {}, "no class of datatrove"),
        (f"{FILTERS}.RegexFilter", {}, "can't be made .* missing 1 required"),
        (f"{FILTERS}.RegexFilter", {"regex_exp": "("}, "can't be made"),
        (f"{FILTERS}.RegexFilter", {"regex_exp": "x", "exclusion_writer": "x"}, "exclusion_writer is refused"),
    ],
)
def test_what_cannot_run_is_refused_when_the_recipe_is_read(block, options, told):
    with pytest.raises(ValidationError, match=told):
        DatatroveBlock(block=block, options=options)


def test_identity_is_block_options_and_version():
    from importlib.metadata import version

    stage = DatatroveBlock(block=f"{FILTERS}.GopherQualityFilter", options={"min_doc_words": 30})
    assert stage.identity() == {
        "stage": "datatrove",
        "version": 1,
        "parameters": {"block": f"{FILTERS}.GopherQualityFilter", "options": {"min_doc_words": 30}},
        "datatrove": version("datatrove"),
    }
