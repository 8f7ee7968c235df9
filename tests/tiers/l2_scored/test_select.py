from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tiers.document import add_column, documents
from tiers.errors import SchemaError
from tiers.l2_scored import Select
from tiers.l2_scored.scorer import QUALITY, QUALITY_BY
from tiers.stage import Outcome, check_outcome


def scored(scores: list[float]) -> pa.Table:
    return add_column(documents([{"text": "t", "source": f"s#{i}"} for i in range(len(scores))]), QUALITY, scores)


def placed(rows: list[dict[str, object]], scores: list[float]) -> pa.Table:
    return add_column(
        documents([{"text": "t", "source": f"s#{i}", **row} for i, row in enumerate(rows)]), QUALITY, scores
    )


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


@pytest.mark.parametrize(
    ("cut", "kept"), [({"keep_share": 1}, 2), ({"keep_share": 0.3}, 1), ({"min_score": 0.1}, 2), ({"max_rows": 3}, 2)]
)
def test_a_score_that_is_no_number_is_dropped(cut: dict[str, float], kept: int) -> None:
    stage, rows = Select(**cut), scored([float("nan"), 0.3, float("nan"), 0.2])
    decision = stage.decide(stage.reduce(stage.spill(rows)), lambda ids: pytest.fail("it needs no full rows"))
    assert decision["kept"].to_pylist() == [kept]
    (outcome,) = run(stage, [rows])
    assert outcome.kept[QUALITY.name].to_pylist() == [pytest.approx(score) for score in (0.3, 0.2)[:kept]]
    assert set(outcome.dropped["reason"].to_pylist()) == {stage.reason}
    assert outcome.dropped["detail"].to_pylist().count("no number") == 2
    (nothing,) = run(stage, [scored([float("nan")] * 2)])
    assert nothing.kept.num_rows == 0


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


@given(
    scores=st.lists(st.floats(-5, 5, width=32), min_size=1, max_size=40),
    groups=st.lists(st.sampled_from("abc"), min_size=40, max_size=40),
    most=st.integers(0, 12),
    cut=st.integers(0, 40),
)
def test_so_many_rows_of_each_group_are_kept_and_the_best(
    scores: list[float], groups: list[str], most: int, cut: int
) -> None:
    rows = placed([{"lang": group} for group in groups[: len(scores)]], scores)
    outcomes = run(Select(max_rows=most, per="lang"), [rows.slice(0, cut), rows.slice(cut)])
    kept = pa.concat_tables([outcome.kept for outcome in outcomes])
    for group in "abc":
        have = sorted(score for score, of in zip(scores, groups, strict=False) if of == group)
        left = [row[QUALITY.name] for row in kept.to_pylist() if row["lang"] == group]
        assert sorted(left) == have[len(have) - min(most, len(have)) :]


def test_a_budget_of_tokens_is_filled_with_the_best() -> None:
    texts = ["one two three", "one", "one two", "one two three four", "one"]
    rows = placed([{"text": text} for text in texts], [0.9, 0.8, 0.7, 0.6, 0.5])
    for budget, kept in ((3, 1), (4, 2), (6, 3), (9, 3), (10, 4), (11, 5), (0, 0)):
        first, second = run(Select(max_tokens=budget), [rows.slice(0, 2), rows.slice(2)])
        assert first.kept["text"].to_pylist() + second.kept["text"].to_pylist() == texts[:kept]
    assert {row["reason"] for row in second.dropped.to_pylist()} <= {"over_tokens"}


def test_quotas_for_hosts_and_the_rest() -> None:
    urls = ["https://a.org/1", "https://a.org/2", "https://b.org/1", "https://b.org/2", None, "http://[bad", "x"]
    rows = placed([{"url": url} for url in urls], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])
    (outcome,) = run(Select(max_rows=1, per="host", quotas={"b.org": 2, "": 0}), [rows])
    assert outcome.kept["url"].to_pylist() == ["https://a.org/2", "https://b.org/1", "https://b.org/2"]
    assert [row["detail"] for row in outcome.dropped.to_pylist()] == ["0.100 < 0.200"] + [
        f"0.{i}00 < inf" for i in (5, 6, 7)
    ]


def test_quotas_for_sources_and_topics() -> None:
    rows = placed(
        [{"source": f"{file}#{i}", "meta": {"topic": topic} if topic else {}}
         for i, (file, topic) in enumerate([("x", "maths"), ("x", "code"), ("y", "maths"), ("y", None)])],
        [0.4, 0.3, 0.2, 0.1],
    )  # fmt: skip
    (by_source,) = run(Select(keep_share=0.5, per="source"), [rows])
    assert by_source.kept[QUALITY.name].to_pylist() == [pytest.approx(0.4), pytest.approx(0.2)]
    (by_topic,) = run(Select(min_score=0.3, per="meta.topic", quotas={"maths": 0.2, "": 0.0}), [rows])
    assert by_topic.kept.num_rows == 4
    with pytest.raises(SchemaError, match="no such column to group by"):
        Select(per="topics").spill(rows)


def test_a_cut_in_one_dimension() -> None:
    by = [[("depth", score), ("ease", 1 - score)] for score in (0.1, 0.5, 0.9)]
    rows = add_column(scored([0.5, 0.5, 0.5]), QUALITY_BY, by)
    (outcome,) = run(Select(min_score=0.4, dimension="ease"), [rows])
    assert outcome.kept["id"].to_pylist() == rows["id"].to_pylist()[:2]
    with pytest.raises(SchemaError, match="depth"):
        Select(dimension="width").spill(rows)


def test_nothing_to_select_from() -> None:
    for stage in (Select(keep_share=0.5), Select(min_score=0.5), Select(max_tokens=9, per="lang")):
        (outcome,) = run(stage, [scored([])])
        assert outcome.kept.num_rows == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"keep_share": 0.5, "min_score": 1}, {"keep_share": None}, {"keep_share": 0}, {"keep_share": 2},
        {"max_rows": -1}, {"quotas": {"a": 0.5}}, {"per": "lang", "quotas": {"a": 2}},
        {"max_rows": 5, "per": "lang", "quotas": {"a": -2}},
    ],
)  # fmt: skip
def test_one_kind_of_cut(fields: dict[str, object]) -> None:
    assert Select().keep_share == 0.2
    assert Select(min_score=1).keep_share is None
    with pytest.raises(ValidationError):
        Select(**fields)
