"""Signals are measured once; thresholds move without measuring again."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.artifact import Store, read_table
from pipelines.thresholds import thresholds
from pipelines.verify import verify
from tiers.errors import ArtifactError, RecipeError

Run = Callable[..., tuple[object, object]]


def measured(output: Path) -> int:
    records = [json.loads(path.read_text()) for path in (output / "L1").rglob("commits/*.json")]
    return sum(record["measured"] for record in records)


def recipe(write_recipe: Callable[..., Path], confidence: float, **language: object) -> Path:
    return write_recipe(l1=[{"language": {"min_confidence": confidence, **language}}])


def test_another_threshold_decides_without_measuring(
    run: Run, write_recipe: Callable[..., Path], tmp_path: Path, bytes_of: Callable
) -> None:
    run(recipe(write_recipe, 0.5), tmp_path / "moved")
    rows = sum(
        read_table(Store(str(tmp_path / "moved")), f"L0/1-read/data/{p.name}").num_rows
        for p in (tmp_path / "moved/L0/1-read/data").iterdir()
    )
    assert measured(tmp_path / "moved") == rows

    run(recipe(write_recipe, 0.9), tmp_path / "moved")

    assert measured(tmp_path / "moved") == 0
    run(recipe(write_recipe, 0.9), tmp_path / "fresh")
    assert measured(tmp_path / "fresh") == rows
    assert bytes_of(tmp_path / "moved") == bytes_of(tmp_path / "fresh")
    assert verify(Store(str(tmp_path / "moved"))) == []


def test_what_signals_depend_on_makes_them_measured_again(
    run: Run, write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    run(recipe(write_recipe, 0.5), tmp_path)
    run(recipe(write_recipe, 0.5, sample=100), tmp_path)

    assert measured(tmp_path) > 0


def test_an_edited_signal_is_found_out(run: Run, write_recipe: Callable[..., Path], tmp_path: Path) -> None:
    run(recipe(write_recipe, 0.5), tmp_path)
    path = next((tmp_path / "L1/signals/1-language").iterdir())
    path.write_bytes(path.read_bytes()[:-9] + b"x" + path.read_bytes()[-8:])

    assert any("signals/1-language" in fault for fault in verify(Store(str(tmp_path))))


def test_thresholds_tell_what_a_run_with_them_drops(
    run: Run, write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    run(recipe(write_recipe, 0.5), tmp_path)
    (rule,) = thresholds(Store(str(tmp_path)), "language")["rules"]
    threshold, would = rule["would"][len(rule["would"]) // 2]
    assert 0 < would < rule["rows"]

    run(recipe(write_recipe, threshold), tmp_path)

    (rule,) = thresholds(Store(str(tmp_path)), "language")["rules"]
    assert (rule["threshold"], rule["alone"]) == (threshold, would)


def test_every_rule_that_measures_is_told_of(finished: Path) -> None:
    rules = thresholds(Store(str(finished)))["rules"]

    assert {rule["stage"] for rule in rules} >= {"language"}
    assert all(rule["first"] <= rule["alone"] <= rule["known"] <= rule["rows"] for rule in rules)
    dropped = [count for _, count in rules[0]["would"]]
    assert dropped == sorted(dropped)


def test_thresholds_need_no_file_that_another_stage_of_the_run_was_given(
    run: Run, write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    lists = tmp_path / "domains.txt"
    lists.write_text("bad.example\n")
    run(write_recipe(l1=[{"url_filter": {"block": {"own": str(lists)}}}, "language"]), tmp_path / "out")
    lists.unlink()

    (rule,) = thresholds(Store(str(tmp_path / "out")))["rules"]

    assert (rule["stage"], rule["known"]) == ("language", rule["rows"])


def test_a_rule_that_is_not_there_is_refused(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="not one rule"):
        thresholds(Store(str(finished)), "no_such_rule")
    with pytest.raises(ArtifactError):
        thresholds(Store(str(tmp_path)))
