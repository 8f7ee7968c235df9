from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tiers.document import documents
from tiers.errors import ModelError, RecipeError, SourceError
from tiers.l3_edited.edit_program import parse_program
from tiers.l3_edited.editor_training import EditorTraining, Pair, lessons, load_recipe, read_pairs, train
from tiers.l3_edited.program_editor import EditByProgram
from tiers.llm import Message
from tiers.stage import Context, check_outcome

PAGES = [
    *(
        Pair(f"page {n}", f"Home | About {n}\nCats of house {n} purr.\n© {n}", f"Cats of house {n} purr.")
        for n in range(9)
    ),
    *(Pair(f"good {n}", f"Dogs of house {n} bark.\nAll day.", f"Dogs of house {n} bark.\nAll day.") for n in range(30)),
    *(Pair(f"list {n}", f"Home {n} | About\nContact", "") for n in range(4)),
]


def write(path: Path, pairs: list[Pair]) -> Path:
    path.write_bytes(gzip.compress("\n".join(json.dumps(pair._asdict()) for pair in pairs).encode()))
    return path


@pytest.fixture
def recipe(tiny_model: Path, tmp_path: Path) -> EditorTraining:
    settings: dict[str, Any] = {"windows": [400], "rank": 2, "batch_tokens": 3500, "rate": 1e-2, "looked_at": 4}
    file = write(tmp_path / "pairs.jsonl.gz", PAGES)
    return EditorTraining(llm=str(tiny_model), pairs=(file,), held_out=0.2, steps=4, checkpoint_every=2, **settings)


def test_windows_and_verdicts_are_learned(recipe: EditorTraining):
    trained, held = lessons(read_pairs(recipe.pairs), recipe)
    assert {lesson.id for lesson in trained}.isdisjoint(lesson.id for lesson in held)
    assert len(held) == 4
    replies = {lesson.id: lesson.reply for lesson in trained if lesson.reply not in ("keep", "drop")}
    page, junk = (next(reply for name, reply in replies.items() if name.startswith(kind)) for kind in ("page", "list"))
    assert page == '[{"op":"remove_lines","start":1,"end":1},{"op":"remove_lines","start":3,"end":3}]'
    assert junk == '[{"op":"remove_all"}]'
    assert all(isinstance(parse_program(reply), tuple) for reply in replies.values())
    edits = sum("keep_all" not in reply for reply in replies.values())
    assert len(replies) - edits == int(edits * 0.3 / 0.7)
    verdicts = [(lesson.id.split()[0], lesson.reply) for lesson in trained if lesson.reply in ("keep", "drop")]
    assert {reply for name, reply in verdicts if name == "list"} == {"drop"}
    assert {reply for name, reply in verdicts if name != "list"} == {"keep"}
    assert len([name for name, _ in verdicts if name == "list"]) * 2 == len(verdicts)


def test_nothing_is_learned_of_a_text_with_a_lone_surrogate(recipe: EditorTraining):
    broken = [Pair("drop", "Home \ud800 | About", ""), Pair("keep", "Teh \udfff cat", "The \udfff cat")]
    assert lessons([*PAGES, *broken], recipe) == lessons(PAGES, recipe)


def test_equal_texts_are_all_trained_on_or_all_held_out(recipe: EditorTraining):
    copies = [pair._replace(id=f"{pair.id}, copy {n}") for pair in PAGES for n in range(5)]
    trained, held = lessons(copies, recipe.model_copy(update={"looked_at": 1000, "unchanged": 1.0}))
    assert held
    assert {lesson.messages for lesson in trained}.isdisjoint(lesson.messages for lesson in held)


def test_lessons_are_what_the_stage_asks(recipe: EditorTraining):
    trained, _ = lessons(read_pairs(recipe.pairs), recipe)
    stage = EditByProgram(llm="any")
    texts = {pair.id: pair.raw for pair in PAGES}
    for lesson in trained:
        if lesson.reply not in ("keep", "drop"):
            assert lesson.messages == stage.request(texts[lesson.id]).messages
    assert all(isinstance(turn, Message) for lesson in trained for turn in lesson.messages)


def test_an_interrupted_run_ends_as_an_unbroken_one(recipe: EditorTraining, tmp_path: Path, monkeypatch):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(recipe, whole)
    from tiers.l3_edited.fine_tuning import Tuner

    with monkeypatch.context() as patch:
        step = Tuner.step

        def step_or_die(self: Tuner, progress: float) -> dict[str, float]:
            if self.steps == 3:
                raise KeyboardInterrupt
            return step(self, progress)

        patch.setattr(Tuner, "step", step_or_die)
        with pytest.raises(KeyboardInterrupt):
            train(recipe, broken)
    train(recipe, broken)
    for name in ("adapter_model.safetensors", "adapter_config.json", "base.json"):
        assert (whole / "adapter" / name).read_bytes() == (broken / "adapter" / name).read_bytes()
    read = [json.loads(line) for line in (broken / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in read] == [1, 2, 3, 3, 4]
    unbroken = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    assert [read[0], read[1], *read[3:]] == unbroken
    assert "held_out" in unbroken[-1]


def test_a_checkpoint_of_another_recipe_is_refused(recipe: EditorTraining, tmp_path: Path):
    train(recipe, tmp_path / "out")
    with pytest.raises(RecipeError, match="another recipe"):
        train(recipe.model_copy(update={"rate": 1e-3}), tmp_path / "out")


def test_the_stage_edits_with_the_adapter(recipe: EditorTraining, tiny_model: Path, tmp_path: Path):
    adapter = train(recipe, tmp_path / "out")
    stage = EditByProgram(llm=str(tiny_model), adapter=str(adapter), max_tokens=24)
    table = documents([{"text": pair.raw, "source": pair.id} for pair in PAGES[:3]])
    outcome = stage.prepare(Context(models=tiny_model.parent))(table)
    check_outcome(stage, table, outcome)
    assert outcome.kept.num_rows == 3
    assert outcome.usage.completion_tokens > 0


def test_an_adapter_is_known_by_its_content(recipe: EditorTraining, tmp_path: Path):
    adapter = train(recipe, tmp_path / "out")
    here = EditByProgram(llm="a", adapter=str(adapter)).identity()
    moved = adapter.rename(tmp_path / "moved")
    assert EditByProgram(llm="a", adapter=str(moved)).identity() == here
    (moved / "adapter_model.safetensors").write_bytes(b"other")
    assert EditByProgram(llm="a", adapter=str(moved)).identity() != here


def test_an_adapter_of_another_model_is_refused(recipe: EditorTraining, models_dir: Path, tmp_path: Path):
    adapter = train(recipe, tmp_path / "out")
    stage = EditByProgram(llm="smollm2-135m", adapter=str(adapter))
    with pytest.raises(ModelError, match="isn't the one that the adapter was trained on"):
        stage.prepare(Context(models=models_dir))


@pytest.mark.parametrize(
    ("line", "told"),
    [('{"id": "a"}', "KeyError"), ("nonsense", "JSONDecodeError"), ('{"id": 1, "raw": "a", "refined": ""}', "text")],
)
def test_a_line_that_is_no_pair_is_named(line: str, told: str, tmp_path: Path):
    (tmp_path / "pairs.jsonl").write_text(f'{{"id": "a", "raw": "b", "refined": ""}}\n{line}\n')
    with pytest.raises(SourceError, match=told) as error:
        list(read_pairs([tmp_path / "pairs.jsonl"]))
    assert "pairs.jsonl:2" in str(error.value)


def test_missing_pairs_are_told(tmp_path: Path):
    with pytest.raises(SourceError, match=r"none\.jsonl"):
        list(read_pairs([tmp_path / "none.jsonl"]))


def test_pairs_without_a_label_are_told(recipe: EditorTraining, tmp_path: Path):
    file = write(tmp_path / "bad.jsonl.gz", [Pair("a", "    code\n    more code", "x")])
    with pytest.raises(SourceError, match="no pair has a label"):
        train(recipe.model_copy(update={"pairs": (file,), "held_out": 0.0}), tmp_path / "out")


def test_a_recipe_names_what_is_wrong(tmp_path: Path):
    (tmp_path / "editor.yaml").write_text("llm: a\npairs: [x.jsonl]\nrat: 1\n")
    with pytest.raises(RecipeError, match="rat"):
        load_recipe(tmp_path / "editor.yaml")


def test_the_recipe_in_the_project_is_valid():
    recipe = load_recipe(Path(__file__).parents[3] / "configs" / "editor.yaml")
    assert recipe.llm == "qwen2.5-coder-0.5b"
