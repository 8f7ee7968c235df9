from __future__ import annotations

import math
from pathlib import Path

import pytest

from tiers.document import documents
from tiers.l3_edited.edit_verdict import judge, verdict_request, worthless
from tiers.l3_edited.program_editor import EditByProgram
from tiers.llm import Finish, Result
from tiers.llm.transformers_llm import TransformersLLM
from tiers.stage import Context, check_outcome

TEXTS = ["Cats purr when they are content, and sometimes when they are not.", "Home | About | Contact | Log in"]


def table(texts: list[str]):
    return documents([{"text": text, "source": str(number)} for number, text in enumerate(texts)])


def test_a_verdict_is_the_share_of_drop():
    assert worthless(Result("keep", Finish.STOP, (math.log(0.3), math.log(0.1)))) == pytest.approx(0.25)
    assert worthless(Result("keep", Finish.STOP, (0.0, -9999.0))) == 0
    assert worthless(Result("drop", Finish.STOP, (-9999.0, 0.0))) == 1


def test_documents_above_the_threshold_are_dropped_with_their_probability(smollm: TransformersLLM):
    results = smollm.complete([verdict_request(text) for text in TEXTS])
    low, high = sorted(map(worthless, results))
    assert 0 < low < high < 1
    judged = judge(table(TEXTS), smollm, (low + high) / 2)
    assert judged.kept.num_rows == judged.dropped.num_rows == 1
    (fate,) = judged.dropped.to_pylist()
    assert fate["reason"] == "edit_dropped.worthless"
    assert fate["detail"] == f"{high:.4f} > {(low + high) / 2:g}"
    assert judge(table(TEXTS), smollm, high + 1e-6).dropped.num_rows == 0


def test_the_beginning_alone_is_judged_and_once(smollm: TransformersLLM):
    beginning = "Home | About\n" * 20
    judged = judge(table([beginning + "one end", beginning + "another"]), smollm, 0.5, shown=len(beginning))
    assert judged.usage.requests == 1
    assert judged.kept.num_rows in (0, 2)


def test_a_model_that_cannot_say_it_in_one_word_fails_the_document(tiny_model: Path):
    stage = EditByProgram(llm=str(tiny_model), drop_above=0.5)
    rows = table(TEXTS)
    outcome = stage.prepare(Context(models=tiny_model.parent))(rows)
    check_outcome(stage, rows, outcome)
    assert outcome.failed["reason"].to_pylist() == ["model_failed"] * 2
    assert "one token" in outcome.failed["detail"].to_pylist()[0]


def test_the_packaged_editor_drops_lists_and_trims_pages(memory_models: Path):
    story = "\n".join(
        [
            "The old mill stood at the end of the village for two hundred years before anyone thought of repairing it.",
            "When the roof fell in, a group of neighbours met in the school and agreed to raise the money themselves.",
            "They held a fair in June, sold cakes and honey, and by autumn the first beams had been cut and planed.",
        ]
    )
    page = f"Skip to content\n• Home\n• News\n• Contact us\n\n{story}\n\n© 2019 Village Trust. All rights reserved."
    links = "Navigation\n\n• index\n• modules |\n\nIndex - Q\n• qsize() (queue method)\n• Queue (class)\n\n• index"
    stage = EditByProgram(llm="qwen2.5-coder-0.5b", adapter="packaged", drop_above=0.9, max_deleted=0.5, max_tokens=64)
    rows = table([page, links])
    outcome = stage.prepare(Context(models=memory_models))(rows)
    check_outcome(stage, rows, outcome)
    (row,) = outcome.kept.to_pylist()
    assert row["text"].rstrip("\n") == story
    assert row["edit.changed"]
    assert outcome.dropped["reason"].to_pylist() == ["edit_dropped.worthless"]
