"""From documents to answers with real models: the same bytes however it runs, and nothing recomputed without need."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.artifact import Store, read_table
from pipelines.build_memory import open_memory
from pipelines.cli import app
from pipelines.engine import RayEngine
from pipelines.ledger import explain
from pipelines.verify import verify
from tests.pipelines.conftest import paragraphs
from tiers.stage import Context

MODEL = "smollm2-135m"
TIERS = {
    "l1": ["exact_duplicates"],
    "l2": [
        {"annotate": {"llm": MODEL, "share": 1.0, "excerpt_chars": 120}},
        {"distil": {"least": 10, "folds": 2}},
        {"select": {"keep_share": 0.5}},
    ],
    "l3": [{"edit": {"llm": MODEL, "window": 1}}],
    "l4": ["evidence", {"claims": {"llm": MODEL, "share": 0.3}}, {"check": {"llm": MODEL}}],
    "memory": {},
}


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files of eight short documents each."""
    folder = tmp_path_factory.mktemp("few")
    texts = [text for text in paragraphs() if 250 < len(text) < 500 and not re.search(r"\n {2,}", text)][:16]
    for number in range(2):
        lines = [json.dumps({"text": text}) for text in texts[number::2]]
        (folder / f"part-{number}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def with_models(memory_models: Path) -> Context:
    """The models, and no request cache: every run asks them anew."""
    return Context(models=memory_models)


@pytest.fixture(scope="module")
def recipe(few: Path, write_recipe: Callable[..., Path]) -> Callable[..., Path]:
    return lambda **changes: write_recipe(inputs=[{"path": f"{few}/*.jsonl"}], **{**TIERS, **changes})


@pytest.fixture(scope="module")
def road(
    recipe: Callable[..., Path], run: Callable, with_models: Context, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    output = tmp_path_factory.mktemp("road")
    run(recipe(), output, context=with_models)
    return output


def latents(output: Path) -> list[str]:
    return open_memory(Store(str(output))).ids()


@pytest.mark.parametrize("workers", [1, 2])
def test_model_stages_give_the_same_bytes_on_ray(
    workers: int, road: Path, recipe: Callable[..., Path], run: Callable, with_models: Context, bytes_of: Callable,
    tmp_path: Path,
) -> None:  # fmt: skip
    with RayEngine(workers=workers) as engine:
        run(recipe(), tmp_path, engine, context=with_models)
    assert bytes_of(tmp_path) == bytes_of(road)
    assert latents(tmp_path) == latents(road)


def test_every_step_balances_and_the_memory_holds_every_latent(road: Path, tmp_path: Path) -> None:
    store = Store(str(shutil.copytree(road, tmp_path / "copy")))
    assert verify(store) == []
    assert len(latents(road)) == store.read_json("memory/manifest.json")["rows"] > 0
    open_memory(store).forget(store_document(store))
    assert any("memory/lance" in fault for fault in verify(store))


def store_document(store: Store) -> str:
    """A document that evidence was taken from."""
    folder = store.read_json("L4/manifest.json")["steps"][0]["folder"]
    for name in store.list(f"{folder}/data", ".arrow"):
        table = read_table(store, f"{folder}/data/{name}", ["parents"])
        if table.num_rows:
            return str(table["parents"][0].as_py()[0])
    raise AssertionError("no evidence")


def test_a_changed_cut_recomputes_l2_onward_and_asks_no_judge_again(
    road: Path, recipe: Callable[..., Path], run: Callable, with_models: Context, tmp_path: Path
) -> None:
    run(recipe(), tmp_path, goal="L2", context=with_models)
    before = {path: path.read_bytes() for path in tmp_path.rglob("commits/*.json")}
    l2 = [*TIERS["l2"][:2], {"select": {"keep_share": 0.25}}]
    run(recipe(l2=l2), tmp_path, goal="L2", context=with_models)
    assert {path.parent.parent.name for path in before if path.read_bytes() != before[path]} == {"3-select"}


def test_a_document_that_became_evidence_can_be_explained(road: Path) -> None:
    store = Store(str(road))
    events = explain(store, store_document(store))
    assert [event.step.split("/")[0] for event in events if event.fate == "kept"][:4] == ["L0", "L1", "L2", "L2"]
    assert any(event.fate == "made" and event.stage == "evidence" for event in events)


def test_questions_are_answered_from_latents_and_from_text(road: Path) -> None:
    question = "What is an expression?"
    told = [
        json.loads(CliRunner().invoke(app, ["ask", str(road), question, "-k", "2", "--json", *raw]).stdout)[0]
        for raw in ([], ["--raw"])
    ]
    assert [len(answer["evidence"]) for answer in told] == [2, 2]
    assert told[0]["context_tokens"] == 2
    assert told[1]["context_tokens"] > 20
    assert all(answer["answer"] for answer in told)
