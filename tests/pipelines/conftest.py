"""A small real corpus and the runs over it that several tests look at."""

from __future__ import annotations

import gzip
import json
import pydoc_data.topics
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from pipelines.artifact import Store
from pipelines.dataflow import RunSummary, run_plan
from pipelines.engine import Engine, LocalEngine
from pipelines.plan import Plan, make_plan
from pipelines.progress import RunProgress
from pipelines.recipe import load_recipe
from tiers.stage import Context

RULES = {
    "name": "small",
    "l1": ["language", "quality_rules", "exact_duplicates", "near_duplicates"],
}


def paragraphs() -> list[str]:
    """Prose of every machine that has Python: the paragraphs of the language reference."""
    texts = (re.sub(r"[*`]{1,2}", "", text) for _, text in sorted(pydoc_data.topics.topics.items()))
    return [
        part
        for text in texts
        for part in re.split(r"\n{3,}|(?<=\.)\n\n(?=[A-Z][a-z]+ [a-z]+)", text)
        if len(part) > 200
    ]


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six JSONL files of documents, with exact copies across files."""
    folder = tmp_path_factory.mktemp("corpus")
    texts = paragraphs()
    texts += texts[:40]
    for number in range(6):
        rows = [json.dumps({"text": text}) for text in texts[number::6]]
        with gzip.GzipFile(folder / f"part-{number}.jsonl.gz", "wb", mtime=0) as stream:
            stream.write("\n".join(rows).encode() + b"\n")
    return folder


@pytest.fixture(scope="session")
def write_recipe(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Callable[..., Path]:
    """Writes a recipe over the small corpus; keyword arguments replace its top-level keys."""

    def write(**changes: object) -> Path:
        path = tmp_path_factory.mktemp("recipe") / "recipe.yaml"
        path.write_text(yaml.safe_dump({**RULES, "inputs": [{"path": f"{corpus}/*.jsonl.gz"}], **changes}))
        return path

    return write


@pytest.fixture(scope="session")
def context() -> Context:
    return Context(models=Path("no-models"))


@pytest.fixture(scope="session")
def run(context: Context) -> Callable[..., tuple[Plan, RunSummary]]:
    """Runs a recipe in this process and gives its plan and summary."""

    def call(
        recipe: Path, output: Path, engine: Engine | None = None, goal: str | None = None, context: Context = context
    ) -> tuple[Plan, RunSummary]:
        plan = make_plan(load_recipe(recipe))
        progress = RunProgress(Console(quiet=True), quiet=True)
        return plan, run_plan(plan, str(output), engine or LocalEngine(), context, progress, goal)

    return call


@pytest.fixture(scope="session")
def finished(
    tmp_path_factory: pytest.TempPathFactory, write_recipe: Callable[..., Path], run: Callable[..., object]
) -> Path:
    """The output of an uninterrupted run; tests that change something work on a copy."""
    output = tmp_path_factory.mktemp("finished")
    run(write_recipe(), output)
    return output


REPRODUCIBLE = ("**/data/*.arrow", "**/ledger/*.arrow", "**/decision.*", "**/manifest.json", "plan.json")


def reproducible_bytes(output: Path) -> dict[str, bytes]:
    """Every file of a run whose bytes must not depend on how it ran."""
    files = (path for pattern in REPRODUCIBLE for path in output.glob(pattern))
    return {str(path.relative_to(output)): path.read_bytes() for path in files}


@pytest.fixture(scope="session")
def bytes_of() -> Callable[[Path], dict[str, bytes]]:
    return reproducible_bytes


@pytest.fixture(scope="session")
def store() -> Callable[[Path], Store]:
    return lambda path: Store(str(path))
