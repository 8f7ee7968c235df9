from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tiers.document import add_column, documents
from tiers.l2_scored import Select
from tiers.l2_scored.distil import QUALITY
from tiers.stage import Outcome, check_outcome


def scored(scores: list[float]) -> pa.Table:
    return add_column(documents([{"text": "t", "source": f"s#{i}"} for i in range(len(scores))]), QUALITY, scores)


def run(stage: Select, shards: list[pa.Table]) -> list[Outcome]:
    findings = stage.reduce(pa.concat_tables([stage.spill(shard) for shard in shards]))
    decision = stage.decide(findings, lambda ids: pytest.fail("it needs no full rows"))
    outcomes = [stage.apply(shard, decision) for shard in shards]
    for shard, outcome in zip(shards, outcomes, strict=True):
        check_outcome(stage, shard, outcome)
    return outcomes


def test_the_best_share_is_kept_over_all_shards() -> None:
    first, second = run(Select(keep_share=0.5), [scored([0.1, 0.9, 0.3]), scored([0.8, 0.312])])
    assert [pytest.approx(value) for value in first.kept[QUALITY.name].to_pylist()] == [0.9]
    assert [pytest.approx(value) for value in second.kept[QUALITY.name].to_pylist()] == [0.8]
    assert [row["detail"] for row in second.dropped.to_pylist()] == ["0.312 < 0.800"]
    assert {row["reason"] for row in first.dropped.to_pylist()} == {"below_quantile"}


def test_equal_scores_are_told_apart_by_id() -> None:
    rows = scored([0.5] * 6)
    (outcome,) = run(Select(keep_share=0.5), [rows])
    assert outcome.kept["id"].to_pylist() == [
        i for i in rows["id"].to_pylist() if i in sorted(rows["id"].to_pylist())[:3]
    ]
    assert outcome.dropped["detail"].to_pylist() == ["0.500 = (by id) 0.500"] * 3


def test_a_lowest_score() -> None:
    (outcome,) = run(Select(min_score=0.3), [scored([0.1, 0.3, 0.9])])
    assert outcome.kept.num_rows == 2
    (row,) = outcome.dropped.to_pylist()
    assert (row["reason"], row["detail"]) == ("below_score", "0.100 < 0.300")


@given(
    scores=st.lists(st.floats(-5, 5, width=32), min_size=1, max_size=40),
    share=st.floats(0.01, 1),
    cut=st.integers(0, 40),
)
def test_any_share_keeps_that_many_and_the_best(scores: list[float], share: float, cut: int) -> None:
    rows = scored(scores)
    outcomes = run(Select(keep_share=share), [rows.slice(0, cut), rows.slice(cut)])
    kept = [value for outcome in outcomes for value in outcome.kept[QUALITY.name].to_pylist()]
    assert len(kept) == max(1, round(share * len(scores)))
    assert sorted(kept) == sorted(scores)[len(scores) - len(kept) :]


def test_nothing_to_select_from() -> None:
    for stage in (Select(keep_share=0.5), Select(min_score=0.5)):
        (outcome,) = run(stage, [scored([])])
        assert outcome.kept.num_rows == 0


def test_a_share_or_a_score() -> None:
    assert Select().keep_share == 0.2
    assert Select(min_score=1).keep_share is None
    for fields in ({"keep_share": 0.5, "min_score": 1}, {"keep_share": None}, {"keep_share": 0}, {"keep_share": 2}):
        with pytest.raises(ValidationError):
            Select(**fields)
