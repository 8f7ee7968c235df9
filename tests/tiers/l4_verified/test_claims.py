from __future__ import annotations

import pytest

from tiers.document import documents
from tiers.l4_verified.claims import Claim, ClaimFailed, Claims, parse_claim
from tiers.l4_verified.evidence import Evidence
from tiers.llm import Finish, Result
from tiers.stage import Context, check_outcome

TEXT = "\n\n".join(
    f"In the year {1900 + n} the city of Bern opened tram line number {n}, which runs to the main station." * 2
    for n in range(4)
)


def evidence(tmp_path, documents_count: int = 3):
    rows = [{"text": TEXT, "source": f"s{i}"} for i in range(documents_count)]
    return Evidence().prepare(Context(models=tmp_path))(documents(rows)).kept


def chosen(table, **parameters: object) -> set[str]:
    stage = Claims.model_validate(parameters)
    columns = (table[name].to_pylist() for name in ("id", "parents", "evidence.number", "evidence.count"))
    return {i for i, parents, number, count in zip(*columns, strict=True) if stage.chosen(parents[-1], number, count)}


def test_the_sample_follows_from_ids_and_grows_with_its_parameters(tmp_path):
    table = evidence(tmp_path, documents_count=60)
    every = chosen(table, share=1)
    assert len(every) == 60
    half = chosen(table, share=0.5)
    assert 15 < len(half) < 45
    assert half < every < chosen(table, share=1, per_document=3)
    assert len(chosen(table, share=1, per_document=99)) == table.num_rows
    assert chosen(table.slice(17, 30), share=0.5) == half & set(table.slice(17, 30)["id"].to_pylist())


@pytest.mark.parametrize(
    ("text", "finish", "reason"),
    [
        ("", Finish.ERROR, ClaimFailed.MODEL),
        ('When?", "answer": "in 1900", "quo', Finish.LENGTH, ClaimFailed.TRUNCATED),
        ('When?", "answer": "in 1900", "quote": "x"}', Finish.LENGTH, ClaimFailed.TRUNCATED),
        ('When?", "answer": "in 1900"}', Finish.STOP, ClaimFailed.MALFORMED),
        ('When?", "answer": "", "quote": "x"}', Finish.STOP, ClaimFailed.MALFORMED),
        ('When?", "answer": 1900, "quote": "x"}', Finish.STOP, ClaimFailed.MALFORMED),
        ('When?", "answer": "1900", "quote": "x", "sure": true}', Finish.STOP, ClaimFailed.MALFORMED),
        ('When?", "answer": "1900", "quote": "x"} Is that right?', Finish.STOP, ClaimFailed.MALFORMED),
    ],
)
def test_a_reply_that_is_no_whole_claim_is_a_failure_with_a_reason(text: str, finish: Finish, reason: ClaimFailed):
    parsed = parse_claim(Result(text, finish, completion_tokens=7))
    assert isinstance(parsed, tuple)
    assert parsed[0] is reason


def test_a_whole_reply_is_read():
    reply = Result('When? ", "answer": "in 1900", "quote": "In 1900"}\n', Finish.STOP)
    assert parse_claim(reply) == Claim(question="When?", answer="in 1900", quote="In 1900")


def test_every_row_is_kept_and_each_reply_is_a_claim_or_a_note(tmp_path, smollm):
    table, stage = evidence(tmp_path), Claims(share=1, max_tokens=48)
    outcome = stage.draft(table, smollm)
    check_outcome(stage, table, outcome)
    asked, noted = chosen(table, share=1), set(outcome.noted["id"].to_pylist())
    claimed = {row["id"] for row in outcome.kept.to_pylist() if row["claim.question"] is not None}
    assert claimed | noted == asked
    assert not claimed & noted
    assert outcome.usage.requests == len(asked) == 3
    assert outcome.kept["id"].equals(table["id"])


def test_an_empty_table_asks_nothing(tmp_path, smollm):
    outcome = Claims().draft(evidence(tmp_path, documents_count=0), smollm)
    assert outcome.kept.num_rows == 0
    assert outcome.usage.requests == 0
