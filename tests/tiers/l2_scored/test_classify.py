from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from tiers.document import documents
from tiers.errors import StageError
from tiers.l2_scored import Classify, scorer_report
from tiers.l2_scored.agreement import auc
from tiers.stage import check_outcome

GOOD = "because the water cools the molecules slow and this is why the ice can float when it forms on a lake".split()
BAD = "buy cheap now click here free offer price sale deal order best shop cart ! ! | | $ $".split()
PROOFS = "therefore hence thus moreover theorem lemma proof corollary".split()
NOTICES = "copyright reserved cookies login register sitemap newsletter basket".split()


def texts(words: list[str], count: int, seed: int, noise: float = 0.2) -> list[str]:
    random = np.random.default_rng(seed)
    other = BAD if words is not BAD else GOOD
    return [
        " ".join(str(random.choice(other if random.random() < noise else words)) for _ in range(25))
        for _ in range(count)
    ]


@pytest.fixture
def pools(tmp_path: Path) -> tuple[str, str]:
    good, bad = tmp_path / "good.jsonl", tmp_path / "bad.parquet"
    good.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts(GOOD, 80, 0)))
    pq.write_table(pa.table({"text": texts(BAD, 200, 1), "title": ["never read"] * 200}), bad)
    return str(good), str(bad)


def rows(good: list[str], bad: list[str]) -> pa.Table:
    return documents([{"text": text, "source": f"s#{i}"} for i, text in enumerate([*good, *bad])])


def run(stage: Classify, table: pa.Table) -> tuple[np.ndarray, dict[str, list[float]]]:
    spilt = pa.concat_tables([stage.spill(table.slice(at, 50)) for at in range(0, table.num_rows, 50)])
    decision = stage.decide(stage.reduce(spilt), lambda ids: pytest.fail("it needs no full rows"))
    outcome = stage.apply(table, decision)
    check_outcome(stage, table, outcome)
    return outcome.kept["score.quality"].to_numpy().astype(float), scorer_report(decision)


def test_rows_are_scored_by_how_probably_they_are_good(pools: tuple[str, str]) -> None:
    good, bad = pools
    table = rows(texts(GOOD, 100, 2), texts(BAD, 100, 3))
    scores, report = run(Classify(positives=(str(good),), negatives=(str(bad),)), table)
    assert auc(scores, np.arange(200) < 100) > 0.95
    assert ((scores >= 0) & (scores <= 1)).all()
    assert report["judged"] == [160]  # as many of one kind as of the other
    assert report["auc"][1] > 0.9
    assert report["calibration_error"][0] < 0.1


def test_without_bad_ones_the_runs_own_are_taken_for_bad(pools: tuple[str, str]) -> None:
    table = rows(texts(GOOD, 30, 2), texts(BAD, 170, 3))
    scores, report = run(Classify(positives=pools[:1], share=1), table)
    assert auc(scores, np.arange(200) < 30) > 0.9
    assert report["own"] == [120]


def test_what_one_round_is_sure_of_teaches_the_next(pools: tuple[str, str]) -> None:
    """Most documents of the run use words that no seed has; some use them beside words that the seeds have."""
    pairs = ((GOOD, PROOFS), (BAD, NOTICES))
    bridges, others = [], []
    for seed, (known, unknown) in enumerate(pairs):
        both = zip(texts(known, 100, 10 + seed), texts(unknown, 100, 20 + seed, 0), strict=True)
        bridges.append([f"{a} {b}" for a, b in both])
        others.append(texts(unknown, 50, 30 + seed, 0))
    table, truth = rows(bridges[0] + others[0], bridges[1] + others[1]), np.arange(300) < 150
    unknown = np.arange(300) % 150 >= 100
    found = {}
    for rounds in (1, 3):
        scores, report = run(Classify(positives=pools[:1], negatives=pools[1:], share=1, rounds=rounds), table)
        found[rounds] = auc(scores[unknown], truth[unknown])
        assert report["judged"] == [160]
    assert found[1] < 0.8
    assert found[3] > 0.95
    assert report["own_good"][0] > 0.3


def test_pools_are_known_by_their_content(pools: tuple[str, str]) -> None:
    good, bad = pools
    before = Classify(positives=(str(good),), negatives=(str(bad),)).identity()
    moved = Path(good).rename(Path(good).with_name("moved.jsonl"))
    assert Classify(positives=(str(moved),), negatives=(str(bad),)).identity() == before
    moved.write_text(json.dumps({"text": "another"}))
    assert Classify(positives=(str(moved),), negatives=(str(bad),)).identity() != before


def test_too_small_pools_are_refused(pools: tuple[str, str]) -> None:
    with pytest.raises(StageError, match="too few good texts"):
        run(Classify(positives=pools[:1], negatives=pools[1:], text_field="title"), rows([], ["a"]))
    with pytest.raises(StageError, match="too few bad texts"):
        run(Classify(positives=pools[:1]), rows([], ["a"]))


@pytest.mark.parametrize("fields", [{}, {"positives": ()}, {"rounds": 0}, {"sure": 0.4}])
def test_wrong_parameters_are_refused(fields: dict[str, object], pools: tuple[str, str]) -> None:
    with pytest.raises(ValidationError):
        Classify(**({"positives": pools[:1]} if "positives" not in fields and fields else {}) | fields)
