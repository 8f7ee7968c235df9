import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.plan import Plan, fingerprint, make_plan
from pipelines.recipe import load_recipe
from tiers.errors import SourceError


def plan_of(recipe: Path) -> Plan:
    return make_plan(load_recipe(recipe))


def stale(old: Plan, new: Plan) -> list[str]:
    """The folders of the steps in which some shard's key changed."""
    return [step.folder for step in new.steps if old.keys.get(step.folder) != new.keys[step.folder]]


def test_a_tier_is_cut_where_all_rows_are_needed(write_recipe: Callable[..., Path]) -> None:
    plan = plan_of(write_recipe())
    assert [step.folder for step in plan.steps] == [
        "L0/1-read",
        "L1/1-language+quality_rules",
        "L1/2-exact_duplicates",
        "L1/3-near_duplicates",
    ]
    assert [step.before for step in plan.steps[1:]] == [step.folder for step in plan.steps[:-1]]


def test_a_changed_parameter_makes_stale_what_follows_and_nothing_before(write_recipe: Callable[..., Path]) -> None:
    old = plan_of(write_recipe())
    new = plan_of(
        write_recipe(l1=["language", "quality_rules", "exact_duplicates", {"near_duplicates": {"threshold": 0.9}}])
    )
    assert stale(old, new) == ["L1/3-near_duplicates"]


def test_where_the_files_lie_is_no_part_of_the_identity(
    write_recipe: Callable[..., Path], corpus: Path, tmp_path: Path
) -> None:
    for file in corpus.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    old, new = plan_of(write_recipe()), plan_of(write_recipe(inputs=[{"path": f"{tmp_path}/*.jsonl.gz"}]))
    assert stale(old, new) == []
    assert str(tmp_path) not in json.dumps(new.to_json())


def test_a_new_input_leaves_the_other_shards_alone_until_rows_meet(
    write_recipe: Callable[..., Path], corpus: Path, tmp_path: Path
) -> None:
    for file in corpus.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    recipe = write_recipe(inputs=[{"path": f"{tmp_path}/*"}])
    old = plan_of(recipe)
    (tmp_path / "a-new-one.jsonl").write_text('{"text": "new"}\n')
    new = plan_of(recipe)
    for folder in ("L0/1-read", "L1/1-language+quality_rules"):
        assert old.keys[folder].items() <= new.keys[folder].items()
    assert not old.keys["L1/2-exact_duplicates"].items() & new.keys["L1/2-exact_duplicates"].items()


def test_a_fingerprint_refuses_what_has_no_canonical_form() -> None:
    assert fingerprint({"a": 1, "b": [1.5, "x"]}) == fingerprint({"b": [1.5, "x"], "a": 1})
    with pytest.raises(TypeError):
        fingerprint({"stage": fingerprint})
    with pytest.raises(ValueError, match="not JSON compliant"):
        fingerprint({"x": float("nan")})


def test_inputs_that_are_missing_or_share_a_name(
    write_recipe: Callable[..., Path], corpus: Path, tmp_path: Path
) -> None:
    with pytest.raises(SourceError, match="no file matches"):
        plan_of(write_recipe(inputs=[{"path": f"{tmp_path}/*.jsonl"}]))
    (tmp_path / "part-0.jsonl.gz").write_bytes(b"")
    with pytest.raises(SourceError, match=r"part-0\.jsonl\.gz: two inputs have the same name"):
        plan_of(write_recipe(inputs=[{"path": f"{corpus}/*"}, {"path": f"{tmp_path}/*"}]))


def test_a_file_that_a_stage_reads_counts_by_its_content(write_recipe: Callable[..., Path], tmp_path: Path) -> None:
    def plan(name: str, content: str) -> Plan:
        (tmp_path / name).write_text(content)
        return plan_of(
            write_recipe(l1=["language", "exact_duplicates", {"url_filter": {"block": {"own": str(tmp_path / name)}}}])
        )

    old = plan("one.txt", "bad.example\n")
    assert stale(old, plan("two.txt", "bad.example\n")) == []
    assert str(tmp_path) not in json.dumps(old.to_json())
    assert stale(old, plan("one.txt", "worse.example\n")) == ["L1/2-exact_duplicates"]


def test_a_file_that_a_stage_reads_must_be_there(write_recipe: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"none\.txt: there is no such file.*working folder"):
        plan_of(write_recipe(l1=[{"url_filter": {"block": {"own": str(tmp_path / "none.txt")}}}]))


def test_a_tier_without_stages_is_passed_by(write_recipe: Callable[..., Path]) -> None:
    plan = plan_of(write_recipe(l1=[], l2=[{"annotate": {"share": 1.0}}]))
    assert [(step.folder, step.before) for step in plan.steps][:2] == [
        ("L0/1-read", None),
        ("L2/1-annotate", "L0/1-read"),
    ]
