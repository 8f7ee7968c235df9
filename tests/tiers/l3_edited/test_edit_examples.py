from __future__ import annotations

import json
from pathlib import Path

import pyarrow.json

from tiers.l3_edited.edit_examples import EXAMPLE, edit_examples, write_jsonl
from tiers.l3_edited.edit_labels import LABEL_GUARDS, Confidence
from tiers.l3_edited.edit_program import apply_program, numbered, parse_program
from tiers.l3_edited.edit_windows import merge, windows

RAW = "Home | About\n" + "\n".join(f"Teh line number {n} of\u2028the text." for n in range(1, 13)) + "\nShare this"
REFINED = RAW.removeprefix("Home | About\n").removesuffix("\nShare this").replace("Teh", "The")


def test_an_example_shows_numbered_lines_and_the_program_that_mends_them():
    examples = edit_examples([("a", RAW, REFINED), ("b", RAW, RAW), ("c", RAW, "")])
    assert examples.table.schema.equals(EXAMPLE)
    rows = examples.table.to_pylist()
    assert [row["id"] for row in rows] == ["a", "b", "c"]
    for row, target in zip(rows, (REFINED, RAW, ""), strict=True):
        assert row["document"] == numbered(RAW)
        assert apply_program(RAW, parse_program(row["program"]), LABEL_GUARDS) == target
        assert [turn["role"] for turn in row["messages"]] == ["system", "user", "assistant"]
        assert row["document"] in row["messages"][1]["content"]
        assert row["messages"][2]["content"] == row["program"]


def test_a_long_text_gives_an_example_a_window_whose_programs_merge_to_the_label():
    rows = edit_examples([("a", RAW, REFINED)], size=150).table.to_pylist()
    found = windows(RAW, 150)
    assert [(row["first_line"], row["last_line"]) for row in rows] == [(one.first, one.last) for one in found]
    assert len(rows) > 2
    assert all(row["document"].startswith("1: ") for row in rows)
    merged = merge(found, [parse_program(row["program"]) for row in rows])
    assert apply_program(RAW, merged, LABEL_GUARDS) == REFINED


def test_pairs_without_a_label_say_why():
    examples = edit_examples([("a", RAW, "x" * 300), ("b", RAW, REFINED)], confidence=Confidence(operations=5))
    assert examples.table.num_rows == 0
    assert [(row["id"], row["reason"]) for row in examples.rejected.to_pylist()] == [
        ("a", "label_rejected.long_insertion"),
        ("b", "label_rejected.many_operations"),
    ]


def test_a_pair_with_a_lone_surrogate_has_no_label():
    pairs = [("a", "Teh \ud800 end", "The \ud800 end"), ("b", "Teh end", "The\udc00 end"), ("c", "Teh 😀", "The 😀")]
    examples = edit_examples(pairs)
    assert examples.table["id"].to_pylist() == ["c"]
    assert examples.rejected.to_pylist() == [
        {"id": "a", "reason": "label_rejected.lone_surrogate", "detail": "U+D800 at 4"},
        {"id": "b", "reason": "label_rejected.lone_surrogate", "detail": "U+DC00 at 3"},
    ]


def test_json_lines_are_read_without_this_package(tmp_path: Path):
    table = edit_examples([("a", RAW, REFINED), ("b", "日本\nx\u0085", "日本")]).table
    write_jsonl(table, tmp_path / "examples.jsonl")
    text = (tmp_path / "examples.jsonl").read_text("utf-8")
    assert [json.loads(line) for line in text.splitlines()] == table.to_pylist()
    assert "日本" in text
    assert pyarrow.json.read_json(tmp_path / "examples.jsonl").num_rows == 2
