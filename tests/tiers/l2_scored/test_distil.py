from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from tiers.document import add_column, documents
from tiers.errors import StageError
from tiers.l2_scored import Distil, distil_report
from tiers.l2_scored.annotate import JUDGE
from tiers.l2_scored.features import FORMS, features
from tiers.l2_scored.ridge import Ridge, auc, held_out, spearman
from tiers.stage import Outcome, check_outcome

GOOD = "because the water cools the molecules slow and this is why the ice can float when it forms on a lake".split()
BAD = "buy cheap now click here free offer price sale deal order best shop cart ! ! | | $ $".split()


def corpus(count: int, judged: int) -> pa.Table:
    """Texts that mix both vocabularies; the judge's score is the share of the good one, and null beyond `judged`."""
    random = np.random.default_rng(0)
    rows, scores = [], []
    for i in range(count):
        share = random.random()
        words = [str(random.choice(GOOD if random.random() < share else BAD)) for _ in range(60)]
        rows.append({"text": " ".join(words), "source": f"s#{i}"})
        scores.append(share if i < judged else None)
    return add_column(documents(rows), JUDGE, scores)


def decide(stage: Distil, shards: list[pa.Table]) -> pa.Table:
    spilt = pa.concat_tables([stage.spill(shard) for shard in shards])
    return stage.decide(stage.reduce(spilt), lambda ids: pytest.fail("it needs no full rows"))


def run(stage: Distil, shards: list[pa.Table]) -> tuple[pa.Table, list[Outcome]]:
    decision = decide(stage, shards)
    return decision, [stage.apply(shard, decision) for shard in shards]


def test_rows_that_no_judge_saw_are_scored_as_it_would() -> None:
    stage, rows = Distil(), corpus(300, judged=120)
    decision, (outcome,) = run(stage, [rows])
    check_outcome(stage, rows, outcome)
    quality = outcome.kept["score.quality"]
    assert quality.null_count == 0
    assert outcome.kept.schema.field("score.quality").nullable is False
    truth = corpus(300, judged=300)["score.judge"].to_numpy()[120:]
    assert spearman(quality.to_numpy()[120:].astype(float), truth.astype(float)) > 0.9
    report = distil_report(decision)
    assert report["judged"] == 120
    assert report["spearman"] > 0.9
    assert report["auc"] > 0.95


def test_the_report_is_about_rows_that_the_model_did_not_see() -> None:
    """With scores that nothing explains, a model still fits its own rows; the report must not."""
    rows = corpus(200, judged=200)
    noise = pa.array(np.random.default_rng(1).random(200), pa.float32())
    report = distil_report(decide(Distil(penalty=0.01), [add_column(rows, JUDGE, noise)]))
    assert abs(report["spearman"]) < 0.25
    assert 0.35 < report["auc"] < 0.65


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
    assert distil_report(decision)["judged"] == 40


def test_a_shard_without_judged_or_without_any_rows() -> None:
    stage, rows = Distil(), corpus(60, judged=40)
    decision, outcomes = run(stage, [rows.slice(0, 40), rows.slice(40), rows.slice(60)])
    assert [outcome.kept.num_rows for outcome in outcomes] == [40, 20, 0]
    assert distil_report(decision)["judged"] == 40


def test_features_are_those_of_the_text_alone() -> None:
    texts = ["one two one", "", "日本語 two", "a\nb. C 1!"]
    together = features(texts, 100)
    for i, text in enumerate(texts):
        alone = features([text], 100)
        here = slice(together.offsets[i], together.offsets[i + 1])
        assert np.array_equal(together.places[here], alone.places)
        assert np.array_equal(together.weights[here], alone.weights)
        assert np.array_equal(together.forms[i], alone.forms[0])
    norms = [np.linalg.norm(together.weights[together.owners() == i]) for i in range(4)]
    assert norms == pytest.approx([1, 0, 1, 1])
    assert together.forms.shape == (4, len(FORMS))
    assert np.isfinite(together.forms).all()


def test_features_stop_at_the_excerpt() -> None:
    assert np.array_equal(features(["aa bb cc"], 5).places, features(["aa bb"], 100).places)


@pytest.mark.parametrize("count", [40, 400])
def test_both_ways_to_solve_the_regression_minimise_the_same_loss(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With more places than texts the dual is solved, otherwise the primal; the gradient vanishes at both."""
    for module in ("features", "ridge"):
        monkeypatch.setattr(f"tiers.l2_scored.{module}.BITS", 6)  # fewer places than the 400 texts
    random = np.random.default_rng(0)
    seen = features([" ".join(random.choice(GOOD, 5)) for _ in range(count)], 100)
    scores = random.random(count)
    model = Ridge.fit(seen, scores, penalty=2.0)
    residual = model.predict(seen).astype(float) - scores
    assert residual.sum() == pytest.approx(0, abs=count * 1e-6)
    gradient = np.bincount(seen.places, seen.weights * residual[seen.owners()], minlength=len(model.weights))
    assert gradient == pytest.approx(-2.0 * model.weights, abs=count * 1e-5)


def test_measures_of_agreement() -> None:
    rising = np.arange(6.0)
    assert spearman(rising, rising**3) == pytest.approx(1)
    assert spearman(rising, -rising) == pytest.approx(-1)
    assert spearman(rising, np.zeros(6)) == 0
    assert auc(rising, rising > 2) == 1
    assert auc(np.zeros(6), rising > 2) == 0.5
    assert auc(np.array([1.0, 2.0, 3.0, 4.0]), np.array([False, True, False, True])) == 0.75
    assert held_out(features(["a b"] * 20, 9), np.zeros(20), 1.0, 5) == {"judged": 20.0, "spearman": 0.0, "auc": 0.5}
