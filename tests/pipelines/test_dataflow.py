import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.artifact import Store, read_table
from pipelines.ledger import explain
from pipelines.status import run_status
from pipelines.verify import verify
from tiers.errors import ArtifactError, StageError

Run = Callable[..., tuple[object, object]]


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def test_every_document_is_accounted_for_at_every_tier(finished: Path) -> None:
    store = Store(str(finished))
    assert verify(store) == []
    for tier in run_status(store)["tiers"]:
        gone = sum(tier["dropped"].values()) + sum(tier["failed"].values())
        assert tier["rows_in"] == tier["rows"] + gone
        assert tier["whole"]
    dropped = run_status(store)["tiers"][1]["dropped"]
    assert any("exact_duplicates" in reason for reason in dropped)


def test_a_second_run_computes_nothing(
    copy: Path, write_recipe: Callable[..., Path], run: Run, bytes_of: Callable
) -> None:
    before = {path: path.read_bytes() for path in copy.rglob("commits/*.json")}
    _, summary = run(write_recipe(), copy)
    assert summary.computed == 0
    assert before == {path: path.read_bytes() for path in copy.rglob("commits/*.json")}


def test_a_changed_threshold_recomputes_from_there_on(
    copy: Path, write_recipe: Callable[..., Path], run: Run, bytes_of: Callable, tmp_path: Path
) -> None:
    before = {path: path.read_bytes() for path in copy.rglob("commits/*.json")}
    recipe = write_recipe(l1=["language", "quality_rules", "exact_duplicates", {"near_duplicates": {"threshold": 0.6}}])
    _, summary = run(recipe, copy)
    changed = {path.parent.parent.name for path in before if path.read_bytes() != before[path]}
    assert changed == {"3-near_duplicates"}
    assert summary.computed == 6
    run(recipe, tmp_path / "fresh")
    assert bytes_of(copy) == bytes_of(tmp_path / "fresh")


def test_running_to_a_tier_and_on_is_the_same_as_running_through(
    finished: Path, write_recipe: Callable[..., Path], run: Run, bytes_of: Callable, tmp_path: Path
) -> None:
    run(write_recipe(), tmp_path, goal="L0")
    assert not (tmp_path / "L1").exists()
    assert verify(Store(str(tmp_path))) == []
    run(write_recipe(), tmp_path)
    assert bytes_of(tmp_path) == bytes_of(finished)


def test_a_flipped_byte_is_found(copy: Path) -> None:
    victim = sorted(copy.glob("L1/1-*/data/*.arrow"))[0]
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    faults = verify(Store(str(copy)))
    assert any(str(victim.relative_to(copy)) in fault and "not what was committed" in fault for fault in faults)


def test_a_deleted_ledger_is_found(copy: Path) -> None:
    victim = sorted(copy.glob("L1/2-*/ledger/*.arrow"))[0]
    victim.unlink()
    assert any(f"{victim.relative_to(copy)}: the file is missing" in fault for fault in verify(Store(str(copy))))


def test_an_edited_count_is_found(copy: Path) -> None:
    victim = sorted(copy.glob("L1/1-*/commits/*.json"))[0]
    record = json.loads(victim.read_text())
    record["stages"][0]["kept"] += 1
    victim.write_text(json.dumps(record))
    faults = [fault for fault in verify(Store(str(copy))) if str(victim.relative_to(copy)) in fault]
    assert any("changed after it was written" in fault for fault in faults)
    assert any("rows in" in fault and "accounted for" in fault for fault in faults)


def test_a_missing_commit_is_found(copy: Path) -> None:
    victim = sorted(copy.glob("L0/*/commits/*.json"))[0]
    victim.unlink()
    assert any(str(victim.relative_to(copy)) in fault for fault in verify(Store(str(copy))))


def test_a_dropped_document_can_be_explained(finished: Path) -> None:
    store = Store(str(finished))
    ledger = next(
        table
        for path in sorted(finished.glob("L1/1-*/ledger/*.arrow"))
        if (table := read_table(store, str(path.relative_to(finished)))).num_rows
    )
    row = next(row for row in ledger.to_pylist() if row["fate"] == "dropped")
    events = explain(store, row["id"][:12])
    assert [event.fate for event in events] == ["kept", "dropped"]
    assert (events[-1].reason, events[-1].detail) == (row["reason"], row["detail"])
    with pytest.raises(ArtifactError, match="no row has this id"):
        explain(store, "f" * 32)


def test_a_step_that_fails_too_many_rows_fails(write_recipe: Callable[..., Path], run: Run, tmp_path: Path) -> None:
    lines = [json.dumps({"text": "word " * 60})] * 8 + ["no json", '{"text": null}']
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    inputs = [{"path": str(tmp_path / "in.jsonl")}]
    with pytest.raises(StageError, match=r"2 of 10 rows failed; got 0\.2; expected 'at most 0\.1"):
        run(write_recipe(inputs=inputs, max_failed=0.1), tmp_path / "out")
    _, summary = run(write_recipe(inputs=inputs, max_failed=0.2), tmp_path / "out")
    assert summary.quarantined == 2
    assert verify(Store(str(tmp_path / "out"))) == []


def test_a_changed_document_can_be_explained(finished: Path) -> None:
    store = Store(str(finished))
    ledgers = (read_table(store, str(path.relative_to(finished))) for path in sorted(finished.glob("L1/1-*/ledger/*")))
    row = next(row for ledger in ledgers for row in ledger.to_pylist() if row["fate"] == "noted")
    events = [event for event in explain(store, row["id"]) if event.step.startswith("L1/1-")]
    assert [(event.fate, event.reason) for event in events] == [("noted", "c4.lines_removed"), ("kept", "")]
    assert "characters" in events[0].detail
