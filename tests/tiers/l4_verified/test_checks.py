from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from tiers.document import documents
from tiers.l4_verified.checks import (
    Check,
    Status,
    quote_found,
    verdict_without_model,
)
from tiers.l4_verified.claims import ANSWER, QUESTION, QUOTE
from tiers.l4_verified.evidence import CONTEXT
from tiers.stage import Context, check_outcome

PASSAGE = "The Eiffel Tower was finished\nin 1889. It is 330 metres tall."


@pytest.mark.parametrize(
    ("claim", "status", "reason"),
    [
        ((None, None, None), Status.NO_CLAIM, None),
        (("When was it finished?", "in 1889", "was finished in 1899"), Status.REFUTED, "quote_not_found"),
        (("When was it finished?", "in 1889", "  "), Status.REFUTED, "quote_not_found"),
        (("Was it finished in 1889?", "in 1889", "was finished in 1889"), Status.UNVERIFIED, "answer_in_question"),
        (("When was it finished?", "in 1890", "was finished in 1889"), Status.UNVERIFIED, "answer_not_in_passage"),
        (("When was it finished?", "?", "was finished in 1889"), Status.UNVERIFIED, "answer_not_in_passage"),
    ],
)
def test_verdicts_that_need_no_model(claim: tuple[str | None, ...], status: Status, reason: str | None):
    question, answer, quote = claim
    verdict = verdict_without_model(PASSAGE, question, answer, quote)
    assert verdict is not None
    assert verdict.status is status
    assert (verdict.reason or "").partition(":")[0] == (reason or "")


def test_a_claim_that_stands_is_left_to_the_model():
    assert verdict_without_model(PASSAGE, "When was it finished?", "in 1889", "was finished in 1889") is None


def test_quotes_are_compared_word_for_word():
    assert quote_found("Tower  was finished in 1889.", PASSAGE)
    assert not quote_found("tower was finished", PASSAGE)
    assert not quote_found("Tower was 330 metres", PASSAGE)


def test_a_second_reading_decides_and_every_row_keeps_its_place(smollm):
    rows = [
        (None, None, None),
        ("In what year was the Eiffel Tower finished?", "1889", "The Eiffel Tower was finished in 1889."),
        ("Who built the Eiffel Tower?", "It is 330", "It is 330 metres tall."),
        ("How tall is it?", "330 metres", "It is 331 metres tall."),
    ]
    table = documents([{"text": PASSAGE, "source": str(i)} for i in range(len(rows))])
    for field, values in zip((QUESTION, ANSWER, QUOTE), zip(*rows, strict=True), strict=True):
        table = table.append_column(field, pa.array(values, field.type))
    table = table.append_column(CONTEXT, pa.nulls(len(rows), CONTEXT.type))
    outcome = Check().check(table, smollm)
    check_outcome(Check(), table, outcome)
    assert outcome.kept["claim.status"].to_pylist() == ["no_claim", "verified", "unverified", "refuted"]
    reasons = outcome.kept["claim.reason"].to_pylist()
    assert reasons[:2] == [None, None]
    assert reasons[2].startswith("answer_differs: without 330, ")
    assert outcome.usage.requests == 2


def test_preparing_loads_the_model_that_is_named(models_dir: Path):
    run = Check(llm="smollm2-135m").prepare(Context(models=models_dir))
    table = documents([{"text": PASSAGE, "source": "s"}])
    for field in (QUESTION, ANSWER, QUOTE, CONTEXT):
        table = table.append_column(field, pa.array([None], field.type))
    assert run(table).kept["claim.status"].to_pylist() == ["no_claim"]
