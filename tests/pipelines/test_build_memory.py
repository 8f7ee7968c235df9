"""The memory of a run follows its inputs: what changed is compressed and merged, what vanished goes, all else stays."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import latent_memory.compression
from latent_memory.store import Store as LatentStore
from pipelines.artifact import Store
from pipelines.build_memory import open_memory
from pipelines.verify import verify
from tests.latent_memory.conftest import save_tiny
from tests.pipelines.conftest import paragraphs
from tiers.errors import SourceError

TEXTS = [text for text in paragraphs() if 250 < len(text) < 700][:12]


@pytest.fixture(scope="module")
def trained(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tiny_model, tmp_path_factory.mktemp("trained"), seed=0)


def write_inputs(folder: Path, texts: list[str]) -> None:
    """Three files with lines of one length, so that a text keeps its offset; an empty one leaves a blank line."""
    folder.mkdir(exist_ok=True)
    lines = [(json.dumps({"text": text}) if text else "").ljust(1000) for text in texts]
    for number in range(3):
        (folder / f"part-{number}.jsonl").write_text("\n".join(lines[number::3]) + "\n")


@pytest.fixture
def recipe(
    write_recipe: Callable[..., Path], trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Path]:
    """A recipe of the tiers that need no language model."""
    monkeypatch.setattr("pipelines.plan.TIERS", ("L0", "L4", "memory"))

    def write(compressor: Path = trained) -> Path:
        inputs = [{"path": f"{tmp_path}/in/*.jsonl"}]
        return write_recipe(inputs=inputs, l1=[], l4=["evidence"], memory={"compressor": str(compressor)})

    return write


CHANGED = ["A new sentence stands here about lambda expressions, and it is long enough to be taken. " * 3, *TEXTS[1:7]]
CHANGED += ["", *TEXTS[8:], "Another document was added at the end, and it says something of its own as well. " * 2]


def rows(output: Path, tag: str | None = None) -> list[dict[str, Any]]:
    memory = open_memory(Store(str(output)), tag=tag)
    return memory.read().sort_by("evidence_id").to_pylist()


def test_changed_inputs_are_merged_and_the_result_is_that_of_a_new_run(
    recipe: Callable[..., Path], run: Callable, bytes_of: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    encode = latent_memory.compression._encode
    monkeypatch.setattr(
        latent_memory.compression, "_encode", lambda c, texts: (seen.extend(texts), encode(c, texts))[1]
    )
    write_inputs(tmp_path / "in", TEXTS)
    run(recipe(), tmp_path / "out")
    first, compressed = rows(tmp_path / "out"), len(seen)
    tag = Store(str(tmp_path / "out")).read_json("memory/committed.json")["tag"]
    assert compressed == len(first) > len(TEXTS)
    write_inputs(tmp_path / "in", CHANGED)
    run(recipe(), tmp_path / "out")
    new = {row["text"] for row in rows(tmp_path / "out")} - {row["text"] for row in first}
    assert new <= set(seen[compressed:])
    assert len(seen) - compressed < len(first) // 2
    run(recipe(), tmp_path / "fresh")
    assert rows(tmp_path / "out") == rows(tmp_path / "fresh") != first
    assert bytes_of(tmp_path / "out") == bytes_of(tmp_path / "fresh")
    assert verify(Store(str(tmp_path / "out"))) == []
    assert rows(tmp_path / "out", tag) == first
    with pytest.raises(SourceError, match="no such tag"):
        rows(tmp_path / "out", "run-0")


class Killed(BaseException):
    """What stands for the end of the process: nothing in the way catches it."""


@pytest.mark.parametrize(
    ("owner", "name"), [(LatentStore, "_changes"), (LatentStore, "_index"), (LatentStore, "tag"), (Store, "write_json")]
)
def test_a_commit_that_was_cut_off_ends_the_same(
    owner: type, name: str, recipe: Callable[..., Path], run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_inputs(tmp_path / "in", TEXTS)
    run(recipe(), tmp_path / "out")
    write_inputs(tmp_path / "in", CHANGED)
    whole = getattr(owner, name)

    def cut(self: Any, *arguments: Any) -> Any:
        if name != "write_json" or arguments[0] == "memory/committed.json":
            raise Killed
        return whole(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, cut)
        with pytest.raises(Killed):
            run(recipe(), tmp_path / "out")
    run(recipe(), tmp_path / "out")
    run(recipe(), tmp_path / "fresh")
    assert rows(tmp_path / "out") == rows(tmp_path / "fresh")
    assert Store(str(tmp_path / "out")).read_json("memory/committed.json")["rows"] == len(rows(tmp_path / "fresh"))


def test_a_table_that_cannot_be_used_is_made_anew(
    recipe: Callable[..., Path], run: Callable, tiny_model: Path, tmp_path: Path
) -> None:
    write_inputs(tmp_path / "in", TEXTS)
    run(recipe(), tmp_path / "out")
    first = rows(tmp_path / "out")
    (tmp_path / "out" / "memory" / "committed.json").unlink()
    for path in (tmp_path / "out" / "memory" / "lance" / "evidence.lance" / "_versions").iterdir():
        path.unlink()  # as a kill amid the making of the table leaves it
    run(recipe(), tmp_path / "out")
    assert rows(tmp_path / "out") == first
    other = save_tiny(tiny_model, tmp_path / "other", seed=1)
    run(recipe(other), tmp_path / "out")
    run(recipe(other), tmp_path / "fresh")
    assert rows(tmp_path / "out") == rows(tmp_path / "fresh") != first
