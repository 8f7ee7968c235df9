"""Synthesis in a run: products in the ledger and the release, gates by name, no passage of a memory from a product."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipelines.artifact import Store, read_table
from pipelines.ledger import explain
from pipelines.recipe import load_recipe
from pipelines.release import release
from pipelines.status import run_status
from pipelines.verify import verify
from tests.pipelines.conftest import paragraphs
from tests.tiers.l3_edited.synthesis.authors import Author, serving
from tests.tiers.l3_edited.synthesis.test_synthesise import BRIDGE, DEEP, TALK, talk
from tiers.errors import RecipeError
from tiers.stage import Context

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def author() -> Iterator[Author]:
    with serving() as author:
        author.rules = [
            ("writer", "Case 1", 400),
            ("writer", "Case 2", (DEEP, "length")),
            ("writer", "in the style", "no"),
            (
                "writer",
                "Case",
                lambda payload: talk(*TALK) if "conversation" in payload["messages"][0]["content"] else DEEP,
            ),
            ("solver", "Case", lambda payload: f"{24 + int('Case 3' in payload['messages'][-1]['content'])} metres"),
            ("solver", "24 metres", "24 metres"),
        ]
        yield author


@pytest.fixture(scope="module")
def output(
    author: Author,
    tmp_path_factory: pytest.TempPathFactory,
    write_recipe: Callable[..., Path],
    run: Callable[..., object],
) -> Path:
    folder = tmp_path_factory.mktemp("synthesis")
    texts = [f"{BRIDGE} Case {n}.\n\n{paragraph}" for n, paragraph in enumerate(paragraphs()[::20][:6])]
    (folder / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    writer, solver = (f"openai:{name}@{author.url}" for name in ("writer", "solver"))
    recipe = write_recipe(
        inputs=[{"path": str(folder / "texts.jsonl"), "license": "CC-BY-4.0"}],
        l1=["exact_duplicates"],
        l2=[{"annotate": {"llm": writer, "rubric": "educational-rating", "share": 1e-9}}],
        l3=[
            {"synthesise": {"family": "qa", "llm": writer, "solver": solver, "share": 1, "max_tokens": 99}},
            {"synthesise": {"family": "conversation", "llm": writer, "share": 1}},
            {"checkable_tasks": {"llm": solver, "rollouts": 2, "max_pass_rate": 1}},
            "near_duplicates",
        ],
        l4=[{"evidence": {"max_chars": 200}}],
        max_failed=0.2,
    )
    out = folder / "out"
    run(recipe, out, context=Context(models=folder))
    return out


def stages(output: Path, store: Callable[[Path], Store]) -> dict[str, dict[str, Any]]:
    (tier,) = (tier for tier in run_status(store(output))["tiers"] if tier["tier"] == "L3")
    return {f"{n}-{one['stage']}": one for n, one in enumerate(one for step in tier["steps"] for one in step["stages"])}


def test_every_stage_balances_what_it_made(output: Path, store: Callable[[Path], Store]) -> None:
    assert verify(store(output)) == []
    counted = stages(output, store)
    qa, conversation, tasks, near = counted.values()
    assert (qa["rows_in"], qa["made"], qa["kept"]) == (6, 6, 9)
    assert qa["dropped"] == {"truncated": 1, "answer_differs": 1}
    assert qa["failed"] == {"model_failed": 1}
    assert (conversation["rows_in"], conversation["made"], conversation["kept"]) == (9, 6, 13)
    assert (tasks["rows_in"], tasks["made"], tasks["kept"]) == (13, 3, 16)
    assert near["dropped"] == {"near_duplicate": 3 + 2 + 2}  # of four equal talks, three questions and their tasks


def test_a_product_that_failed_a_gate_is_explained(output: Path, store: Callable[[Path], Store]) -> None:
    ledgers = [pq_row for path in output.glob("L3/*/ledger/*.arrow") for pq_row in read(store(output), output, path)]
    gone = next(row for row in ledgers if row["reason"] == "answer_differs")
    events = explain(store(output), gone["id"])
    assert [(event.fate, event.reason) for event in events] == [("dropped", "answer_differs"), ("made", "made from")]
    assert events[0].detail.startswith("without 24, '24 metres' against '25 metres'")
    maker = explain(store(output), events[1].detail)
    assert [event.id for event in maker if event.reason == "made from" and event.step.startswith("L3")]


def read(store: Store, output: Path, path: Path) -> list[dict[str, Any]]:
    return read_table(store, str(path.relative_to(output))).to_pylist()


def test_a_release_tells_products_from_documents(output: Path, store: Callable[[Path], Store], tmp_path: Path) -> None:
    release(store(output), "L3", str(tmp_path / "L3"))
    rows = pq.read_table(next((tmp_path / "L3" / "data").glob("*.parquet"))).to_pylist()
    assert {row["synthesis.family"] for row in rows} == {None, "qa", "conversation", "task"}
    ids = {row["id"] for row in rows}
    for row in rows:
        if row["synthesis.family"] == "qa":
            assert row["license"] == "CC-BY-4.0"
            assert row["parents"][-1] in ids
    card = (tmp_path / "L3" / "README.md").read_text()
    assert "## Documents and synthetic rows" in card
    assert "written by a model: `qa`" in card


def test_no_passage_is_evidence_that_a_model_wrote(output: Path, store: Callable[[Path], Store]) -> None:
    rows = [row for path in output.glob("L4/*/data/*.arrow") for row in read(store(output), output, path)]
    assert rows
    assert {row["synthesis.family"] for row in rows} == {None}
    ledger = [row for path in output.glob("L4/*/ledger/*.arrow") for row in read(store(output), output, path)]
    assert {row["detail"] for row in ledger if row["reason"] == "synthetic"} >= {"qa", "task"}


@pytest.mark.parametrize("name", ["synthesis"])
def test_the_recipe_that_comes_with_it_is_one(name: str) -> None:
    assert [stage.name for stage in load_recipe(ROOT / "configs" / f"{name}.yaml").l3].count("synthesise") >= 5


def test_an_unknown_family_is_refused_by_its_key(write_recipe: Callable[..., Path]) -> None:
    with pytest.raises(RecipeError, match=r"there is no family of this name"):
        load_recipe(write_recipe(l2=["distil"], l3=[{"synthesise": {"family": "poem"}}]))
