"""From pools to a cut: what was scored once is cut anew without being scored again."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.artifact import Store, read_table
from pipelines.report import write_report
from pipelines.thresholds import thresholds
from pipelines.verify import verify
from tests.pipelines.conftest import paragraphs

Run = Callable[..., tuple[Any, Any]]
Recipes = Callable[..., Path]


@pytest.fixture
def classify(tmp_path: Path) -> dict[str, Any]:
    """Paragraphs that explain against signatures and keywords without a sentence."""
    texts = paragraphs()
    pools = {"positives": texts[:60], "negatives": [" ".join(text.split()[::5]).upper() for text in texts[60:120]]}
    for name, pool in pools.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in pool))
    return {"classify": {name: [str(tmp_path / f"{name}.jsonl")] for name in pools} | {"share": 0.5}}


def kept(output: Path) -> list[float]:
    store, folder = Store(str(output)), "L2/2-select/data"
    tables = [read_table(store, f"{folder}/{name}") for name in store.list(folder)]
    return sorted(score for table in tables for score in table["score.quality"].to_pylist())


def test_another_cut_scores_nothing_again(
    run: Run, write_recipe: Recipes, tmp_path: Path, classify: dict[str, Any], bytes_of: Callable
) -> None:
    def recipe(**cut: object) -> Path:
        return write_recipe(l1=["exact_duplicates"], l2=[classify, {"select": cut}])

    run(recipe(keep_share=0.5), tmp_path / "moved")
    half = kept(tmp_path / "moved")
    scored = {path: path.stat().st_mtime_ns for path in (tmp_path / "moved/L2/1-classify").rglob("*.arrow")}

    _, summary = run(recipe(keep_share=0.25), tmp_path / "moved")

    assert kept(tmp_path / "moved") == half[-len(kept(tmp_path / "moved")) :]
    assert len(kept(tmp_path / "moved")) == pytest.approx(len(half) / 2, abs=1)
    assert scored == {path: path.stat().st_mtime_ns for path in (tmp_path / "moved/L2/1-classify").rglob("*.arrow")}
    assert summary.computed == 6  # the shards of the cut, and no other step's
    run(recipe(keep_share=0.25), tmp_path / "fresh")
    assert bytes_of(tmp_path / "moved") == bytes_of(tmp_path / "fresh")
    assert verify(Store(str(tmp_path / "moved"))) == []


def test_thresholds_tell_what_a_cut_would_keep(
    run: Run, write_recipe: Recipes, tmp_path: Path, classify: dict[str, Any]
) -> None:
    run(write_recipe(l1=["exact_duplicates"], l2=[classify, {"select": {"min_score": 0.5}}]), tmp_path / "out")
    (rule,) = thresholds(Store(str(tmp_path / "out")), "below_score")["rules"]
    assert (rule["stage"], rule["signal"], rule["threshold"]) == ("select", "score.quality", 0.5)
    assert rule["rows"] - rule["alone"] == len(kept(tmp_path / "out"))
    threshold, would = rule["would"][-3]
    assert would > rule["alone"]

    run(write_recipe(l1=["exact_duplicates"], l2=[classify, {"select": {"min_score": threshold}}]), tmp_path / "out")

    assert len(kept(tmp_path / "out")) == rule["rows"] - would
    page = Path(write_report(Store(str(tmp_path / "out")))).read_text()
    assert "own_good" in page
    assert "Calibration and keep rates" in page
