from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiers.document import check_schema, child_id, document_id, documents
from tiers.l4_verified.evidence import Evidence, passages, sentences
from tiers.stage import Context, Outcome, check_outcome

PAGE = """# Joining paths

The function os.path.join puts one or more path segments together. If a segment is an absolute path, then all
previous segments are ignored, e.g. on Unix. Dr. J. Smith wrote it!

```python
os.path.join("a", "b")  # This comment is a sentence of code that nobody should read.
```

Return value
------------

  - The first item says that a string is returned
  - The second item says that bytes are returned

Short.

x = 1; y = [2, 3, 4]; z = {5: 6, 7: 8}; w = (9, 10, 11, 12, 13); v = "==="; u = !@#
"""


def run(rows: list[dict[str, object]], **parameters: object) -> Outcome:
    stage = Evidence.model_validate(parameters)
    table = documents(rows)
    outcome = stage.prepare(Context(models=Path()))(table)
    check_outcome(stage, table, outcome)
    check_schema(outcome.kept.schema, "evidence")
    return outcome


def cut(text: str) -> list[str]:
    return [text[start:end] for start, end in sentences(text, 0, len(text))]


def test_prose_becomes_passages_under_their_headings():
    kept = run([{"text": PAGE, "source": "s", "title": "Manual"}]).kept.to_pylist()
    assert [row["text"] for row in kept] == [
        "The function os.path.join puts one or more path segments together. If a segment is an absolute path, then "
        "all\nprevious segments are ignored, e.g. on Unix. Dr. J. Smith wrote it!",
        "- The first item says that a string is returned\n  - The second item says that bytes are returned",
    ]
    assert [row["evidence.context"] for row in kept] == ["Manual › Joining paths", "Manual › Return value"]
    assert [(row["evidence.number"], row["evidence.count"]) for row in kept] == [(0, 2), (1, 2)]
    assert all(PAGE[row["evidence.start"] : row["evidence.end"]] == row["text"] for row in kept)


def test_a_passage_inherits_its_document_and_names_it():
    row = {"text": PAGE, "source": "s#0", "url": "u", "title": "t", "lang": "en", "license": "MIT", "meta": {"k": "v"}}
    first = run([row]).kept.to_pylist()[0]
    assert first["id"] == child_id(document_id("s#0"), "evidence", 0)
    assert first["parents"] == [document_id("s#0")]
    assert {key: first[key] for key in ("source", "url", "title", "lang", "license")} == {
        key: row[key] for key in ("source", "url", "title", "lang", "license")
    }
    assert first["meta"] == [("k", "v")]


def test_columns_of_earlier_stages_are_passed_on():
    table = documents([{"text": PAGE, "source": "a"}]).append_column("score.value", pa.array([4.5]))
    kept = Evidence().prepare(Context(models=Path()))(table).kept
    assert kept["score.value"].to_pylist() == [4.5, 4.5]


def test_a_document_without_prose_is_dropped_and_the_others_stay():
    outcome = run(
        [{"text": "a = 1;\nb = 2;", "source": "a"}, {"text": PAGE, "source": "b"}, {"text": "", "source": "c"}]
    )
    assert outcome.dropped["id"].to_pylist() == [document_id("a"), document_id("c")]
    assert set(outcome.dropped["reason"].to_pylist()) == {"no_evidence"}
    assert outcome.dropped["detail"].to_pylist()[0] == "0 of 1 passages are prose of 40 to 256 characters"
    assert outcome.kept.num_rows == 2


def test_an_empty_table_gives_an_empty_table_of_evidence():
    assert run([]).kept.num_rows == 0


def test_the_number_of_passages_can_be_limited():
    text = "\n\n".join(f"Paragraph number {n} has a sentence that is long enough to be evidence." for n in range(9))
    kept = run([{"text": text, "source": "a"}], max_passages=3).kept
    assert kept["evidence.count"].to_pylist() == [3, 3, 3]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("Version 3.11 of e.g. Python. Use it.", ["Version 3.11 of e.g. Python.", "Use it."]),
        ("Dr. A. B. Smith left. He said “no.” Then rest.", ["Dr. A. B. Smith left.", "He said “no.”", "Then rest."]),
        ("See Fig. 3 vs. Fig. 4. Done.", ["See Fig. 3 vs. Fig. 4.", "Done."]),
        ("It works (mostly.) and well.", ["It works (mostly.) and well."]),
        ("文件系统是什么？它存储数据。好的", ["文件系统是什么？", "它存储数据。", "好的"]),
        ("Er kam z.B. am Montag. Dann ging er.", ["Er kam z.B. am Montag.", "Dann ging er."]),
        ("List:\n• one\n• two\n1. three", ["List:", "• one", "• two", "1. three"]),
        ("A sentence that\nis wrapped.", ["A sentence that\nis wrapped."]),
    ],
)
def test_sentences(text: str, expected: list[str]):
    assert cut(text) == expected


def test_a_sentence_that_is_too_long_is_cut_behind_a_clause_or_a_word():
    text = "The first clause of it is this one, and the second clause is that one without any end."
    spans = [text[p.start : p.end] for p in passages(text, 40)]
    assert spans == ["The first clause of it is this one,", "and the second clause is that one", "without any end."]
    assert [p.end - p.start for p in passages("x" * 100 + ".", 40)] == [40, 40, 21]


def test_chinese_prose_is_evidence():
    text = "文件系统是操作系统用于明确存储设备上的文件的方法和数据结构。它负责管理和存储文件信息。"
    assert run([{"text": text, "source": "a"}]).kept["text"].to_pylist() == [text]


WORDS = st.sampled_from(
    [
        "word",
        "Word.",
        "e.g.",
        "3.5",
        "\n",
        "\n\n",
        " \n \n",
        "```\n",
        "\n```",
        "# ",
        "- ",
        "\n1. ",
        "。",
        "?",
        "é\u0301",
        "x" * 50,
    ]
)


@settings(max_examples=300)
@given(st.lists(WORDS, max_size=40).map(" ".join), st.integers(16, 120))
def test_spans_are_in_order_apart_within_the_limit_and_begin_and_end_with_text(text: str, max_chars: int):
    at = 0
    for passage in passages(text, max_chars):
        assert at <= passage.start < passage.end <= passage.start + max_chars
        assert text[passage.start : passage.end].strip() == text[passage.start : passage.end]
        at = passage.end


@settings(max_examples=300)
@given(st.lists(st.sampled_from(["word", "Word.", "e.g.", "a,", "\nand", "。", "x" * 50]), max_size=40).map(" ".join))
def test_no_visible_character_of_a_paragraph_is_lost(text: str):
    text += " end."
    found = "".join(text[p.start : p.end] for p in passages(text, 30))
    assert "".join(found.split()) == "".join(text.split())


def test_what_a_model_wrote_is_no_evidence():
    table = documents([{"text": PAGE, "source": "s"}, {"text": PAGE, "source": "t"}])
    table = table.append_column("synthesis.family", pa.array([None, "rewrite"], pa.string()))
    outcome = Evidence().prepare(Context(models=Path()))(table)
    check_outcome(Evidence(), table, outcome)
    assert {parents[-1] for parents in outcome.kept["parents"].to_pylist()} == {document_id("s")}
    assert outcome.dropped.to_pylist() == [{"id": document_id("t"), "reason": "synthetic", "detail": "rewrite"}]
