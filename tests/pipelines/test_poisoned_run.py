"""Bad input among good, from end to end: every good document comes through, every bad one is named."""

import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.artifact import Store, read_table
from pipelines.ledger import explain
from pipelines.verify import verify
from tests.poison import PoisonCorpus, break_parser, write_poison

GOOD = 3000
MOST_MEMORY = 500 << 20


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory: pytest.TempPathFactory) -> PoisonCorpus:
    return write_poison(tmp_path_factory.mktemp("poison") / "in", good=GOOD)


@pytest.fixture(scope="module")
def recipe(poisoned: PoisonCorpus, write_recipe: Callable[..., Path]) -> Path:
    return write_recipe(inputs=[{"path": str(poisoned.folder)}], l0=["extract_html"], l1=["exact_duplicates"])


def test_good_documents_come_through_and_bad_ones_are_quarantined(
    poisoned: PoisonCorpus, recipe: Path, run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_parser(monkeypatch)
    plan, summary = run(recipe, tmp_path)
    store = Store(str(tmp_path))
    ledgers = [read_table(store, f"L0/1-extract_html/ledger/{shard.name}.arrow").to_pylist() for shard in plan.shards]
    quarantined = [row for rows in ledgers for row in rows if row["fate"] == "quarantined"]
    assert dict(Counter(row["reason"] for row in quarantined)) == poisoned.failed
    assert summary.quarantined == sum(poisoned.failed.values())
    assert store.read_json("L1/manifest.json")["rows"] == poisoned.good
    assert verify(store) == []
    deep = next(row for row in quarantined if row["reason"] == "too_deep")
    assert [(event.fate, event.reason) for event in explain(store, deep["id"])] == [("quarantined", "too_deep")]


PROGRAM = """
import atexit, re
from pathlib import Path
from pipelines.cli import app

# VmHWM is this program's own peak; the kernel's ru_maxrss would count the process that started it too.
atexit.register(lambda: print("peak", re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]))
app()
"""


def test_memory_stays_bounded_and_the_exit_status_and_summary_tell(
    poisoned: PoisonCorpus, recipe: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", PROGRAM, "run", str(recipe), "--out", str(tmp_path), "--engine", "local"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    told = done.stdout + done.stderr
    assert done.returncode == 3, told
    bad = sum(poisoned.failed.values()) - poisoned.failed["parser_error"]
    assert f"{bad} rows are in quarantine" in told
    assert "too_deep" in told
    peak = int(told.rpartition("peak ")[2].split()[0]) << 10
    assert peak < MOST_MEMORY
