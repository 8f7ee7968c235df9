import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pipelines.cli import app
from tests.latent_memory.conftest import save_tiny
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
    "command",
    [
        "run",
        "status",
        "verify",
        "explain",
        "ask",
        "search",
        "add",
        "forget",
        "serve",
        "report",
        "release",
        "sample",
        "train-memory",
        "train-editor",
        "models",
        "eval",
        "train-xrag",
    ],
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
        (["search", "nowhere", "why?"], "the file is missing"),
        (["forget", "nowhere", "0" * 32], "the file is missing"),
        (["add", "nowhere", "none.jsonl"], "no file matches"),
        (["explain", "abc", "--at", "nowhere"], "the file is missing"),
        (["models", "pull", "no-such-model"], "no-such-model"),
    ],
)
def test_errors_are_one_message_and_exit_status_1(arguments: list[str], told: str, tmp_path: Path) -> None:
    failed = call(*arguments)
    assert failed.exit_code == 1
    assert told in failed.output
    assert "Traceback" not in failed.output


def test_a_memory_is_made_searched_asked_and_made_to_forget(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("latent_memory.pretrained.PACKAGED", save_tiny(tiny_model, tmp_path / "trained", seed=0))
    folder, file = tmp_path / "memory", tmp_path / "a.jsonl"
    file.write_text('{"text": "The tower was built in 1889."}\n{"text": "It stands in Paris."}\nbroken\n')
    added = json.loads(call("add", folder, file, "--tag", "first", "--json").stdout)
    assert added == {"documents": 2, "latents": 2, "unread": 1}
    found = json.loads(call("search", folder, "Where is Paris?", "-k", "2", "--json").stdout)
    assert [len(found), found[0]["text"]] == [2, "It stands in Paris."]
    assert json.loads(call("forget", folder, found[0]["documents"][0], "--json").stdout) == {found[0]["id"]: 1}
    (answer,) = json.loads(call("ask", folder, "Where?", "--min-confidence", "1", "--json").stdout)
    assert [e["text"] for e in answer["evidence"]] == ["The tower was built in 1889."]
    assert answer["abstained"]
    assert "(not known)" in call("ask", folder, "Where?", "--min-confidence", "1").stdout
    assert "no such tag" in call("ask", folder, "Where?", "--tag", "second").output
    page = tmp_path / "page.html"
    page.write_text("<p>Text</p>")
    assert "a memory takes text" in call("add", folder, page).output
