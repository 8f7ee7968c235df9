"""What is paid for is paid for once, and the budget holds, through kills and resumed runs."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pipelines.artifact import Store
from pipelines.cli import BUDGET_EXIT, app
from pipelines.cli.runs import QUARANTINE_EXIT
from pipelines.spending import run_spending
from pipelines.verify import verify
from tests.pipelines.conftest import paragraphs
from tests.served_model import Served, serving
from tiers.llm.openai_server import CONCURRENCY
from tiers.llm.spending import total
from tiers.llm.transformers_llm import TransformersLLM

DOCUMENTS, FILES = 60, 3
RUBRIC = {"kind": "answer", "instruction": "Rate.", "question": "How good?", "answers": {"1": 1.0, "2": 2.0}}
PRICE = {"prompt": 1000.0, "completion": 5000.0}


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return list(dict.fromkeys(text[:80] for text in paragraphs()))[:DOCUMENTS]


@pytest.fixture(scope="module")
def inputs(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("paid")
    for number in range(FILES):
        rows = [json.dumps({"text": text}) for text in texts[number::FILES]]
        (folder / f"part-{number}.jsonl").write_text("\n".join(rows))
    return folder


@pytest.fixture
def served(tiny_model: Path) -> Iterator[Served]:
    with serving(TransformersLLM(str(tiny_model), tiny_model.parent)) as served:
        yield served


@pytest.fixture
def recipe(served: Served, inputs: Path, write_recipe: Callable[..., Path]) -> Callable[..., Path]:
    """A recipe that has the server judge every document; keyword arguments are its budget."""

    def write(**budget: float) -> Path:
        judge = {"llm": f"openai:tiny@{served.url}", "rubric": RUBRIC, "share": 1.0, "excerpt_chars": 80}
        judge["again"] = 0  # what is asked twice on purpose is sent twice
        return write_recipe(
            inputs=[{"path": f"{inputs}/*.jsonl"}],
            l1=["exact_duplicates"],
            l2=[{"annotate": judge}],
            prices={"openai:tiny": PRICE},
            budget=budget,
        )

    return write


def run(recipe: Path, output: Path) -> Result:
    return CliRunner().invoke(app, ["run", str(recipe), "--out", str(output), "--engine", "local", "--quiet"])


def commits(output: Path) -> set[Path]:
    return set(output.glob("L2/*/commits/*.json"))


def test_killed_and_resumed_it_pays_for_no_answer_twice(served: Served, recipe: Callable, tmp_path: Path) -> None:
    """What had no answer yet at the kill is asked again; nothing else is."""
    answered = 2 * DOCUMENTS // FILES - CONCURRENCY  # all of a shard, and of the next one all but what fills the slots
    served.holds_after = answered
    arguments = ["run", str(recipe()), "--out", str(tmp_path), "--engine", "local", "--quiet"]
    process = subprocess.Popen([sys.executable, "-c", "from pipelines.cli import app; app()", *arguments])
    served.wait_until_held(CONCURRENCY)  # every slot is taken, so every earlier answer has been dealt with
    process.send_signal(signal.SIGKILL)
    process.wait()
    lost = served.asked().total() - answered
    served.release()

    assert run(recipe(), tmp_path).exit_code == 0
    asked = served.asked()
    assert len(asked) == DOCUMENTS
    assert lost == CONCURRENCY
    assert asked.total() == DOCUMENTS + lost
    spent = total(run_spending(Store(str(tmp_path))))
    assert spent.requests == DOCUMENTS
    assert verify(Store(str(tmp_path))) == []

    assert run(recipe(), tmp_path).exit_code == 0
    assert served.asked() == asked


def test_after_a_failure_of_the_server_the_same_command_goes_on(
    served: Served, recipe: Callable, tmp_path: Path
) -> None:
    served.failures = [400] * 30  # all of a shard, and half of another
    failed = run(recipe(), tmp_path)
    assert failed.exit_code == 1
    told = " ".join(failed.output.split())
    assert f"30 of {DOCUMENTS} rows failed" in told
    assert "Most often: judge_failed: http://127.0.0.1" in told
    assert len(commits(tmp_path)) == 1
    assert run(recipe(), tmp_path).exit_code == 0
    assert served.asked().total() == DOCUMENTS + 30


def test_few_failures_are_asked_about_again_when_it_is_wanted(served: Served, recipe: Callable, tmp_path: Path) -> None:
    served.failures = [400] * 2
    assert run(recipe(), tmp_path).exit_code == QUARANTINE_EXIT
    assert run(recipe(), tmp_path).exit_code == QUARANTINE_EXIT
    assert served.asked().total() == DOCUMENTS
    again = ["run", str(recipe()), "--out", str(tmp_path), "--engine", "local", "--quiet", "--retry"]
    assert CliRunner().invoke(app, again).exit_code == 0
    assert served.asked().total() == DOCUMENTS + 2
    assert verify(Store(str(tmp_path))) == []


def test_where_the_server_is_changes_nothing(served: Served, recipe: Callable, tmp_path: Path) -> None:
    first = recipe()
    assert run(first, tmp_path).exit_code == 0
    moved = tmp_path / "moved.yaml"
    moved.write_text(re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:1", first.read_text()))
    assert run(moved, tmp_path).exit_code == 0


def test_a_budget_stops_at_a_commit_and_a_higher_one_goes_on(served: Served, recipe: Callable, tmp_path: Path) -> None:
    free = tmp_path / "free"
    assert run(recipe(), free).exit_code == 0
    everything = total(run_spending(Store(str(free))))
    assert everything.cost == pytest.approx(everything.prompt_tokens * PRICE["prompt"] / 1e6)
    each = everything.cost / DOCUMENTS
    served.seen.clear()

    limit, out = round(21.5 * each, 6), tmp_path / "out"
    stopped = run(recipe(max_cost=limit), out)
    assert stopped.exit_code == BUDGET_EXIT
    told = " ".join(stopped.output.split())
    assert "the budget for language models is spent" in told
    assert "raise max_cost in the recipe's budget and run again" in told
    spent = total(run_spending(Store(str(out))))
    assert limit <= spent.cost < limit + (CONCURRENCY + 1) * 1.5 * each
    assert spent.requests == len(served.seen)
    assert len(commits(out)) == 1  # of three shards with 20 documents each
    assert verify(Store(str(out))) == []

    assert run(recipe(max_cost=limit), out).exit_code == BUDGET_EXIT
    assert spent.requests == len(served.seen)  # nothing more was asked

    assert run(recipe(max_cost=2 * everything.cost), out).exit_code == 0
    assert served.asked().total() == len(served.asked()) == DOCUMENTS
    assert total(run_spending(Store(str(out)))).cost == pytest.approx(everything.cost)
    shown = CliRunner().invoke(app, ["status", str(out)]).output
    assert re.search(rf"annotate .* {DOCUMENTS} .* {everything.prompt_tokens:,} .* USD", shown)
    assert "budget: " in shown
    page = Path(CliRunner().invoke(app, ["report", str(out)]).output.strip()).read_text()
    assert f"<td>{everything.prompt_tokens:,}</td>" in page
    assert "Budget: " in page


def test_a_budget_in_tokens(served: Served, recipe: Callable, tmp_path: Path) -> None:
    stopped = run(recipe(max_tokens=1000), tmp_path)
    assert stopped.exit_code == BUDGET_EXIT
    spent = total(run_spending(Store(str(tmp_path))))
    assert 1000 <= spent.tokens < 1000 + (CONCURRENCY + 1) * 500
    assert spent.requests == len(served.seen)


UNKNOWN = "openai:unknown@http://host/v1"


@pytest.mark.parametrize(
    "tiers",
    [
        {"l2": [{"annotate": {"llm": UNKNOWN, "rubric": RUBRIC}}]},
        {"l3": [{"synthesise": {"family": "qa", "solver": UNKNOWN}}]},
        {"l3": [{"synthesise": {"family": "qa", "judge": UNKNOWN}}]},
        {"l3": [{"preference_pairs": {"llms": ["smollm2-135m", UNKNOWN]}}]},
    ],
)
def test_money_without_a_price_cannot_be_bounded(
    tiers: dict, write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    before = {"l2": [{"annotate": {"share": 1.0}}, "distil"]}
    refused = run(write_recipe(**{**before, **tiers}, budget={"max_cost": 1}), tmp_path)
    assert refused.exit_code == 1
    assert "there is no price for openai:unknown@http://host/v1" in " ".join(refused.output.split())
