from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiers.document import check_schema, documents
from tiers.l3_edited.edit_program import Guards, KeepAll, RemoveLines, apply_program, parse_program
from tiers.l3_edited.editor import Block, Edit, Kind, blocks, removal_program, request, weight
from tiers.llm.openai_server import OpenAIServer
from tiers.stage import check_outcome

PAGE = """
Home
About us

We use cookies.
   \t
A long paragraph of content stands here, and it goes on for
more than one line.

A second one follows, with as much to say.

Next page


© 2024
"""


def test_blocks_are_what_stands_between_blank_lines():
    assert [(b.first, b.last) for b in blocks(PAGE)] == [(2, 3), (5, 5), (7, 8), (10, 10), (12, 12), (15, 15)]
    assert next(blocks(PAGE)).text == "Home / About us"
    assert list(blocks(" \n\t\n")) == []


def test_a_removed_block_takes_the_blank_lines_behind_it_and_the_last_one_those_before():
    found = list(blocks(PAGE))
    program = removal_program(PAGE, [found[0], found[5]])
    assert program == (RemoveLines(start=2, end=4), RemoveLines(start=13, end=16))
    edited = apply_program(PAGE, program, Guards(max_deleted=1))
    assert isinstance(edited, str)
    assert edited.startswith("\nWe use cookies.\n")
    assert edited.endswith("say.\n\nNext page")


def test_neighbouring_blocks_are_removed_by_one_operation():
    found = list(blocks(PAGE))
    assert removal_program(PAGE, found[:2]) == (RemoveLines(start=2, end=6),)
    assert removal_program(PAGE, []) == (KeepAll(),)


TEXTS = st.lists(st.sampled_from(["", " ", "word", "two words", "- item"]), max_size=14).map("\n".join)


@settings(max_examples=200)
@given(TEXTS, st.sets(st.integers(0, 6)))
def test_a_removal_removes_its_blocks_and_nothing_else_that_is_visible(text: str, chosen: set[int]):
    found = list(blocks(text))
    junk = [block for number, block in enumerate(found) if number in chosen]
    edited = apply_program(text, removal_program(text, junk), Guards(max_deleted=1))
    assert isinstance(edited, str)
    kept = [block.text for number, block in enumerate(found) if number not in chosen]
    left = [block.text for block in blocks(edited)]
    assert " / ".join(left) == " / ".join(kept)
    assert left == kept, "two paragraphs became one"


def test_only_outermost_short_unprotected_blocks_are_judged_and_only_their_beginnings_shown():
    text = "\n\n".join(["Menu", "    code", "x" * 50, "y", "z" * 900, "| a | b |", "w" * 20])
    judged = list(Edit(window=2, shown=8).judged(text))
    assert judged == [Block(1, 1, "Menu"), Block(13, 13, "w" * 8)]
    assert [b.text for b in Edit(window=3, shown=8, max_block=50).judged(text)] == ["Menu", "x" * 8, "w" * 8]


@pytest.mark.parametrize("threshold", [-99.0, 99.0])
def test_the_threshold_decides_and_notes_tell_what_was_done(smollm, threshold: float):
    stage = Edit(threshold=threshold, window=1, max_deleted=0.2)
    table = documents([{"text": PAGE, "source": "a"}, {"text": PAGE + "\nThe end", "source": "b"}])
    outcome = stage.edit(table, smollm)
    check_outcome(stage, table, outcome)
    check_schema(outcome.kept.schema, "edit")
    rows = outcome.kept.to_pylist()
    assert outcome.usage.requests == 2 * 3, "the block that both documents begin with is weighed once"
    assert [row["edit.changed"] for row in rows] == [threshold < 0] * 2
    if threshold > 0:
        assert [row["text"] for row in rows] == table["text"].to_pylist()
        assert outcome.noted.num_rows == 0
        return
    assert all("Home" not in row["text"] and "cookies" in row["text"] for row in rows)
    assert outcome.noted["reason"].to_pylist() == ["edited", "edited"]
    assert outcome.noted["detail"][0].as_py() == "remove_lines(2,4); remove_lines(13,16); weighed 2 of 6 blocks"
    assert parse_program(rows[0]["edit.operations"]) == (RemoveLines(start=2, end=4), RemoveLines(start=13, end=16))


def test_a_program_that_deletes_too_much_leaves_the_text_and_says_so(smollm):
    stage = Edit(threshold=-99, window=3, max_deleted=0.3)
    outcome = stage.edit(documents([{"text": PAGE, "source": "a"}]), smollm)
    row = outcome.kept.to_pylist()[0]
    assert (row["text"], row["edit.changed"], row["edit.operations"]) == (PAGE, False, '[{"op":"keep_all"}]')
    assert outcome.noted["reason"].to_pylist() == ["edit_rejected.deletes_too_much"]
    assert outcome.noted["detail"][0].as_py() == "1.000 > 0.3 of the characters (remove_lines(2,16))"


def test_a_judge_that_is_not_there_sends_the_document_to_quarantine():
    stage = Edit()
    table = documents([{"text": "Home", "source": "a"}, {"text": "    only code", "source": "b"}])
    outcome = stage.edit(table, OpenAIServer("nobody", "http://127.0.0.1:9/v1", attempts=1))
    check_outcome(stage, table, outcome)
    assert outcome.failed["id"].to_pylist() == table["id"].to_pylist()[:1]
    assert outcome.failed["reason"].to_pylist() == ["model_failed"]
    assert outcome.kept["text"].to_pylist() == ["    only code"]


def test_the_smallest_model_tells_menus_and_notices_from_prose(smollm):
    junk = ["• Home / • Documentation / • Download", "Copyright 2024 The Example Team. All rights reserved."]
    content = ["Return a list of the names of the entries in the directory.", "The mayor opened the bridge on Friday."]
    results = smollm.complete([request(text, kind) for text in (*junk, *content) for kind in Kind])
    weights = [weight(*results[at : at + 2]) for at in range(0, 8, 2)]
    assert min(weights[:2]) > Edit().threshold > max(weights[2:])
