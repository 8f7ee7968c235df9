import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from pipelines.artifact import Store, read_table
from pipelines.dataflow import run_plan
from pipelines.engine import LocalEngine
from pipelines.ledger import explain
from pipelines.plan import make_plan
from pipelines.progress import RunProgress
from pipelines.recipe import Recipe, load_recipe
from pipelines.release import release
from pipelines.status import run_status
from pipelines.verify import verify
from tiers.errors import EngineError, RecipeError
from tiers.l1_filtered import DuplicateLines, DuplicateParagraphs, ExactDuplicates, NearDuplicates
from tiers.stage import Context, GlobalStage

Run = Callable[..., tuple[object, object]]
Write = Callable[..., Path]


def write_documents(folder: Path, texts: list[str], files: int = 2) -> None:
    folder.mkdir(parents=True)
    for number in range(files):
        rows = [json.dumps({"text": text}) for text in texts[number::files]]
        (folder / f"{folder.name}-{number}.jsonl").write_text("\n".join(rows) + "\n")


def prose(seed: int) -> str:
    return " ".join(f"word{(seed * 97 + n) * 7919 % 10_007}" for n in range(120))


@pytest.fixture
def earlier(tmp_path: Path, write_recipe: Write, run: Run) -> Path:
    """A run over twenty documents."""
    write_documents(tmp_path / "first", [prose(seed) for seed in range(20)])
    recipe = write_recipe(name="first", inputs=[{"path": f"{tmp_path}/first/*"}], l1=["exact_duplicates"])
    run(recipe, tmp_path / "first-run")
    return tmp_path / "first-run"


@pytest.fixture
def second(tmp_path: Path, write_recipe: Write) -> Callable[..., Path]:
    """A recipe over thirty documents, of which ten are nearly those of the first run, against some folder."""
    texts = [f"{prose(seed)} and four more words" for seed in range(10)] + [prose(seed) for seed in range(50, 70)]
    write_documents(tmp_path / "second", texts, files=3)

    def write(*against: Path, stage: str = "near_duplicates") -> Path:
        stages = [{stage: {"against": [str(folder) for folder in against]}}]
        return write_recipe(name="second", inputs=[{"path": f"{tmp_path}/second/*"}], l1=stages)

    return write


@pytest.mark.parametrize("kind", ["release", "run"])
def test_documents_like_those_of_an_earlier_release_go(
    kind: str, earlier: Path, second: Callable[..., Path], run: Run, tmp_path: Path
) -> None:
    ids = {row for path in earlier.glob("L1/*/data/*.arrow") for row in read_ids(path)}
    if kind == "release":
        release(Store(str(earlier)), "L1", str(tmp_path / "released"))
        shutil.rmtree(earlier)
    run(second(tmp_path / "released" if kind == "release" else earlier), tmp_path / "out")
    store = Store(str(tmp_path / "out"))
    (dropped,) = [tier["dropped"] for tier in run_status(store)["tiers"] if tier["tier"] == "L1"]

    assert dropped == {"near_duplicates.near_duplicate": 10}
    assert verify(store) == []
    decision = read_table(store, "L1/1-near_duplicates/decision.arrow").to_pylist()
    assert {row["detail"].split()[-1] for row in decision} <= ids
    assert explain(store, decision[0]["id"])[-1].detail == decision[0]["detail"]


def read_ids(path: Path) -> list[str]:
    ids: list[str] = read_table(Store(str(path.parent)), path.name, ["id"])["id"].to_pylist()
    return ids


def test_without_it_they_stay(second: Callable[..., Path], run: Run, tmp_path: Path) -> None:
    run(second(), tmp_path / "out")
    assert run_status(Store(str(tmp_path / "out")))["tiers"][-1]["dropped"] == {}


def test_what_an_earlier_release_holds_is_the_identity_and_not_where_it_lies(
    earlier: Path, second: Callable[..., Path], tmp_path: Path
) -> None:
    for name in ("here", "there"):
        release(Store(str(earlier)), "L1", str(tmp_path / name))
    release(Store(str(earlier)), "L0", str(tmp_path / "other"))
    here, there, other, none = (
        make_plan(load_recipe(second(*against)))
        for against in ((tmp_path / "here",), (tmp_path / "there",), (tmp_path / "other",), ())
    )
    assert here.keys == there.keys
    assert "there" not in json.dumps(there.to_json())
    assert len({plan.decisions["L1/1-near_duplicates"] for plan in (here, other, none)}) == 3


def test_an_earlier_release_that_was_damaged_is_refused(
    earlier: Path, second: Callable[..., Path], run: Run, tmp_path: Path
) -> None:
    released = tmp_path / "released"
    release(Store(str(earlier)), "L1", str(released))
    (file,) = released.glob("data/*.parquet")
    content = bytearray(file.read_bytes())
    content[40] ^= 1
    file.write_bytes(content)
    with pytest.raises(EngineError, match="not what was released"):
        run(second(released), tmp_path / "out")
    with pytest.raises(RecipeError, match="neither a release nor a run"):
        make_plan(load_recipe(second(tmp_path / "nothing")))


@pytest.mark.parametrize("kind", [NearDuplicates, ExactDuplicates, DuplicateLines, DuplicateParagraphs])
def test_the_decision_does_not_depend_on_partitions(kind: type[GlobalStage], context: Context, tmp_path: Path) -> None:
    class Finer(kind):  # type: ignore[misc, valid-type]
        rows_per_partition = 7

    texts = [f"{prose(n % 9)}\n{prose(77)[:90]}\n{n // 18} more" for n in range(60)]
    write_documents(tmp_path / "in", [*texts, *texts[:9]])
    decisions = []
    for stage in (kind(), Finer()):
        recipe = Recipe(name="small", inputs=[{"path": f"{tmp_path}/in/*"}], l1=[stage])
        output, progress = tmp_path / type(stage).__name__, RunProgress(Console(quiet=True), quiet=True)
        run_plan(make_plan(recipe), str(output), LocalEngine(), context, progress)
        decisions.append((output / f"L1/1-{kind.name}/decision.arrow").read_bytes())
    assert decisions[0] == decisions[1]


def test_an_alarm_is_shown_by_status(write_recipe: Write, run: Run, tmp_path: Path) -> None:
    write_documents(tmp_path / "in", [prose(1)] * 240 + [prose(n) for n in range(2, 40)], files=2)
    run(write_recipe(inputs=[{"path": f"{tmp_path}/in/*"}], l1=["near_duplicates"]), tmp_path / "out")
    steps = run_status(Store(str(tmp_path / "out")))["tiers"][-1]["steps"]
    assert [alarm.split()[1] for alarm in steps[0]["alarms"]] == ["loses", "loses", "takes"]
