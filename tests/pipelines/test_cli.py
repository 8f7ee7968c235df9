import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pipelines.cli import app
from tests.pipelines.conftest import paragraphs

HEAVY = ["torch", "transformers", "peft", "lancedb", "ray", "pyarrow", "polars", "datasets"]


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_help_loads_nothing_heavy() -> None:
    program = f"""
import sys
from typer.testing import CliRunner
from pipelines.cli import app
shown = CliRunner().invoke(app, ["--help"]).output
assert "explain" in shown, shown
print([name for name in {HEAVY} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "command", ["run", "status", "verify", "explain", "ask", "report", "release", "sample", "train-memory", "models"]
)
def test_every_command_has_help(command: str) -> None:
    assert call(command, "--help").exit_code == 0


def test_run_status_verify_and_explain_tell_the_same(write_recipe: Callable[..., Path], tmp_path: Path) -> None:
    recipe = write_recipe(l1=["exact_duplicates"])
    ran = call("run", recipe, "--out", tmp_path, "--engine", "local", "--json")
    assert ran.exit_code == 0, ran.output
    told = json.loads(ran.stdout)
    assert told == json.loads(call("status", tmp_path, "--json").stdout)
    texts = paragraphs()
    copies = len(texts) + 40 - len({" ".join(text.split()) for text in texts})
    assert told["tiers"][1]["dropped"] == {"exact_duplicates.exact_duplicate": copies}
    assert json.loads(call("verify", tmp_path, "--json").stdout) == {"faults": []}
    assert f"{copies} exact_duplicate" in call("status", tmp_path).stdout


def test_verify_exits_with_1_where_something_is_wrong(finished: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(finished, tmp_path / "copy"))
    next(copy.glob("L0/*/data/*.arrow")).unlink()
    verified = call("verify", copy)
    assert verified.exit_code == 1
    assert "the file is missing" in verified.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "none.yaml", "--out", "x"], "no such recipe"),
        (["status", "nowhere"], "the file is missing"),
        (["ask", "nowhere", "why?"], "the file is missing"),
        (["explain", "abc", "--at", "nowhere"], "the file is missing"),
        (["models", "pull", "no-such-model"], "no-such-model"),
    ],
)
def test_errors_are_one_message_and_exit_status_1(arguments: list[str], told: str, tmp_path: Path) -> None:
    failed = call(*arguments)
    assert failed.exit_code == 1
    assert told in failed.output
    assert "Traceback" not in failed.output
