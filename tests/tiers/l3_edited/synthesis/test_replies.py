from __future__ import annotations

import json

import pytest

from tiers.l3_edited.synthesis.replies import invalid, read_object

FORMULAS = (
    r"\frac{1}{2}",
    r"$x_\nu \ne y$",
    r"x \neq y",
    r"\beta \times \nabla f",
    r"\right)",
    r"\text{if } u",
    r"\underline{a}",
    r"\(x\)",
)


@pytest.mark.parametrize("formula", FORMULAS)
def test_latex_survives_with_and_without_doubled_backslashes(formula: str) -> None:
    assert read_object(f'{{"a": "{formula}"}}', "") == {"a": formula}
    assert read_object(json.dumps({"a": formula}), "") == {"a": formula}


def test_escapes_of_json_stay_what_they_are() -> None:
    said = {"a": 'line\nnext\ttab "quoted" é / \\ end', "b": "one\nnot two\rthree"}
    assert read_object(json.dumps(said), "") == said
    assert read_object(r'{"a": "one\ntwo \u00e9"}', "") == {"a": "one\ntwo é"}
    assert read_object(r'{"a": "$x$\nu is less,\nless,\ne.g. 1"}', "") == {"a": "$x$\nu is less,\nless,\ne.g. 1"}


def test_a_reply_is_whole_or_goes_on_from_its_beginning() -> None:
    assert read_object('When?", "b": " in 1900 "}', '{"a": "') == {"a": "When?", "b": "in 1900"}
    assert read_object('{"a": "When?"}', '{"a": "') == {"a": "When?"}
    assert read_object('```json\n{"a": "When?"}\n```\n', '{"a": "') == {"a": "When?"}
    assert read_object('[{"a": " x "}]}', '{"list": ') == {"list": [{"a": "x"}]}


@pytest.mark.parametrize("text", ['When?", "b": ', '{"a": "x"} Is that right?', "[1]", "I can't.", ""])
def test_what_is_no_object_says_why(text: str) -> None:
    assert isinstance(read_object(text, '{"a": "'), str)


def test_a_fault_says_where_it_is() -> None:
    items = {"type": "array", "items": {"type": "object", "required": ["a"]}}
    schema = {"type": "object", "properties": {"list": items}, "required": ["list"]}
    assert invalid({"list": [{"a": 1}]}, schema) is None
    assert invalid({"list": [{"a": 1}, {}]}, schema) == "list.1: 'a' is a required property"
    short = {"properties": {"a": {"type": "string", "maxLength": 120}}}
    assert invalid({"a": "x" * 300}, short) == "a: fails maxLength: 120"
    assert invalid({}, schema) == "'list' is a required property"


def test_half_a_surrogate_and_a_deep_reply_end_nothing() -> None:
    assert read_object(r'{"a": ["x\ud83d"], "b\udc00": "\ud83d\ude00"}', "") == {"a": ["x\ufffd"], "b\ufffd": "😀"}
    assert "recursion" in str(read_object("[" * 100_000, ""))
