from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from tiers.document import add_column, documents
from tiers.errors import SchemaError, StageError
from tiers.l2_scored import Distil, scorer_report
from tiers.l2_scored.agreement import spearman
from tiers.l2_scored.annotate import JUDGE, JUDGE_AGAIN, JUDGE_BY
from tiers.l2_scored.embed import EMBEDDING
from tiers.stage import Outcome, check_outcome

GOOD = "because the water cools the molecules slow and this is why the ice can float when it forms on a lake".split()
BAD = "buy cheap now click here free offer price sale deal order best shop cart ! ! | | $ $".split()


def shares(count: int) -> list[float]:
    return np.random.default_rng(0).random(count).tolist()


def corpus(count: int, judged: int) -> pa.Table:
    """Texts that mix both vocabularies; the judge's score is the share of the good one, and null beyond `judged`."""
    random = np.random.default_rng(1)
    rows = []
    for i, share in enumerate(shares(count)):
        words = [str(random.choice(GOOD if random.random() < share else BAD)) for _ in range(60)]
        rows.append({"text": " ".join(words), "source": f"s#{i}"})
    return add_column(documents(rows), JUDGE, [share if i < judged else None for i, share in enumerate(shares(count))])


def decide(stage: Distil, shards: list[pa.Table]) -> pa.Table:
    spilt = pa.concat_tables([stage.spill(shard) for shard in shards])
    return stage.decide(stage.reduce(spilt), lambda ids: pytest.fail("it needs no full rows"))


def run(stage: Distil, shards: list[pa.Table]) -> tuple[pa.Table, list[Outcome]]:
    decision = decide(stage, shards)
    return decision, [stage.apply(shard, decision) for shard in shards]


def test_rows_that_no_judge_saw_are_scored_as_it_would() -> None:
    stage, rows = Distil(), corpus(400, judged=200)
    decision, (outcome,) = run(stage, [rows])
    check_outcome(stage, rows, outcome)
    quality = outcome.kept["score.quality"]
    assert quality.null_count == 0
    assert outcome.kept.schema.field("score.quality").nullable is False
    unseen, truth = quality.to_numpy()[200:].astype(float), np.array(shares(400)[200:])
    assert spearman(unseen, truth) > 0.9
    assert np.abs(unseen - truth).mean() < 0.1  # in the judge's scale
    report = scorer_report(decision)
    assert report["judged"] == [200]
    assert all(low < value < high for value, low, high in (report["spearman"], report["auc"]))
    assert report["spearman"][0] > 0.9
    assert report["auc"][0] > 0.95
    assert report["calibration_error"][0] < 0.05


def test_the_report_tells_what_a_threshold_keeps() -> None:
    report = scorer_report(decide(Distil(), [corpus(200, judged=200)]))
    thresholds, kept = report["keep.threshold"], report["keep.share"]
    assert thresholds == sorted(thresholds)
    assert kept == sorted(kept, reverse=True)
    assert kept[0] == 1
    assert kept[len(kept) // 2] == pytest.approx(0.5, abs=0.02)


def test_the_report_is_about_rows_that_the_model_did_not_see() -> None:
    """With scores that nothing explains, a model still fits its own rows; the report must not."""
    rows = corpus(200, judged=200)
    noise = pa.array(np.random.default_rng(1).random(200), pa.float32())
    report = scorer_report(decide(Distil(penalty=0.01), [add_column(rows, JUDGE, noise)]))
    assert abs(report["spearman"][0]) < 0.25
    assert 0.35 < report["auc"][0] < 0.65


def test_each_dimension_is_distilled() -> None:
    rows = corpus(200, judged=150)
    judged = rows["score.judge"].to_pylist()
    by = [None if share is None else [("depth", share), ("dullness", -share)] for share in judged]
    decision, (outcome,) = run(Distil(), [add_column(rows, JUDGE_BY, by)])
    dimensions = [dict(row) for row in outcome.kept["score.quality_by"].to_pylist()]
    assert {tuple(row) for row in dimensions} == {("depth", "dullness")}
    quality = outcome.kept["score.quality"].to_numpy().astype(float)
    assert spearman(np.array([row["depth"] for row in dimensions]), quality) > 0.99
    assert spearman(np.array([row["dullness"] for row in dimensions]), quality) < -0.95
    assert scorer_report(decision)["spearman.dullness"][0] > 0.9


def test_how_the_judge_agrees_with_itself_is_reported() -> None:
    rows = corpus(100, judged=100)
    again = [{"repeated": share, "permuted": 1 - share} if i < 30 else None for i, share in enumerate(shares(100))]
    report = scorer_report(decide(Distil(), [add_column(rows, JUDGE_AGAIN, again)]))
    assert report["judged_again"] == [30]
    assert report["judge_repeated"][0] == pytest.approx(1)
    assert report["judge_permuted"][0] == pytest.approx(-1)
    assert report["judge_shift"][0] == pytest.approx(np.abs(1 - 2 * np.array(shares(30))).mean())


def test_what_was_judged_in_one_order_has_no_agreement_with_another() -> None:
    again = [{"repeated": share + 1, "permuted": None} if i < 30 else None for i, share in enumerate(shares(100))]
    report = scorer_report(decide(Distil(), [add_column(corpus(100, judged=100), JUDGE_AGAIN, again)]))
    assert report["judged_again"] == [30]
    assert report["judge_repeated"][0] == pytest.approx(1)
    assert report.keys().isdisjoint({"judge_permuted", "judge_shift"})


def test_a_head_on_embeddings() -> None:
    rows = corpus(200, judged=100)
    random = np.random.default_rng(2)
    vectors = [[share + 0.1 * random.normal(), *random.normal(size=7)] for share in shares(200)]
    stage = Distil(features="embedding")
    _, (outcome,) = run(stage, [add_column(rows, EMBEDDING, vectors)])
    assert spearman(outcome.kept["score.quality"].to_numpy()[100:].astype(float), np.array(shares(200)[100:])) > 0.9
    assert EMBEDDING.name not in outcome.kept.column_names
    with pytest.raises(SchemaError, match="Put the stage `embed` before it"):
        stage.spill(rows)


def test_neither_shards_nor_their_order_matter() -> None:
    rows = corpus(90, judged=60)
    decision, (whole,) = run(Distil(), [rows])
    other, parts = run(Distil(), [rows.slice(50), rows.slice(0, 20), rows.slice(20, 30)])
    assert other.equals(decision)
    together = pa.concat_tables([part.kept for part in parts])
    assert together.sort_by("id").equals(whole.kept.sort_by("id"))


def test_too_few_judgements_are_refused() -> None:
    with pytest.raises(StageError, match="too few documents were judged") as caught:
        decide(Distil(least=30), [corpus(50, judged=29)])
    assert caught.value.got == 29


def test_of_many_judgements_some_are_used() -> None:
    decision = decide(Distil(most=40), [corpus(100, judged=100)])
    assert scorer_report(decision)["judged"] == [40]


def test_a_shard_without_judged_or_without_any_rows() -> None:
    stage, rows = Distil(), corpus(60, judged=40)
    decision, outcomes = run(stage, [rows.slice(0, 40), rows.slice(40), rows.slice(60)])
    assert [outcome.kept.num_rows for outcome in outcomes] == [40, 20, 0]
    assert scorer_report(decision)["judged"] == [40]
