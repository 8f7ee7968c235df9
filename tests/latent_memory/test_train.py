import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from latent_memory.corpus import choose_contexts
from latent_memory.pretrained import load_compressor, read_manifest
from latent_memory.train import Trainer, train
from latent_memory.training_recipe import MemoryTraining, Weights, load_recipe
from tiers.errors import ModelError, RecipeError


@pytest.fixture
def recipe(tiny_model: Path, tmp_path: Path) -> MemoryTraining:
    names = ["Ada", "Bob", "Cyd", "Dan", "Eve", "Fay"]
    articles = []
    for number, name in enumerate(names):
        context = f"The tower of {name} was built in {1800 + number} beside the river."
        answer = {"text": str(1800 + number), "answer_start": context.index("18")}
        qas = [{"question": f"When was the tower of {name} built?", "answers": [answer]}]
        articles.append({"paragraphs": [{"context": context, "qas": qas}]})
    (tmp_path / "qa.json").write_text(json.dumps({"data": articles}))
    settings: dict[str, Any] = {
        "compressor_model": str(tiny_model),
        "generator_model": str(tiny_model),
        "data": tmp_path,
        "sources": [{"path": "qa.json", "form": "squad"}],
        "python_documentation": False,
        "held_out": 2,
        "compressor": {"depth": 2, "lora_from": 1, "lora_rank": 2, "heads": 2, "retrieval_dim": 16},
        "weights": {"answer": 1.0},
        "natural": 2,
        "cloze": 2,
        "reconstructed": 2,
        "reconstructed_tokens": 8,
        "evidence_tokens": 100,
        "steps": 6,
        "warmup": 2,
        "checkpoint_every": 3,
        "dtype": "float32",
    }
    return MemoryTraining.model_validate(settings)


def _losses(out: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_a_resumed_run_has_the_losses_and_the_weights_of_an_unbroken_one(
    recipe: MemoryTraining, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(recipe, tmp_path / "whole")
    step = Trainer.train_step

    def dies_at_the_fifth(trainer: Trainer) -> dict[str, float]:
        if trainer.step == 4:
            raise KeyboardInterrupt
        return step(trainer)

    monkeypatch.setattr(Trainer, "train_step", dies_at_the_fifth)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "broken")
    monkeypatch.undo()
    broken = train(recipe, tmp_path / "broken")  # from the checkpoint at step 3
    losses = _losses(tmp_path / "broken")
    assert losses[:3] + losses[-3:] == _losses(tmp_path / "whole")
    assert (broken / "adapter.safetensors").read_bytes() == (whole / "adapter.safetensors").read_bytes()


@pytest.mark.parametrize("term", ["answer", "read", "words", "reconstruction", "distillation", "contrastive"])
def test_training_on_a_term_lowers_it(recipe: MemoryTraining, tmp_path: Path, term: str) -> None:
    weights = Weights.model_validate({name: float(name == term) for name in Weights.model_fields})
    same = {"natural": 4, "cloze": 0, "reconstructed": 4, "distracted": 0.0}  # every batch holds all there is
    alone = recipe.model_copy(
        update={**same, "weights": weights, "steps": 20, "head_rate": 3e-3, "checkpoint_every": 20}
    )
    folder = train(alone, tmp_path / "out")
    rows = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    assert sum(row[term] for row in rows[-4:]) < sum(row[term] for row in rows[:4])
    assert rows[-1].keys() >= {"held_out", "held_out_shuffled", "held_out_recall_at_1"}
    assert read_manifest(folder).compressor == recipe.compressor
    assert load_compressor(folder).trained_state()["memory_token"].dtype == torch.float32


def test_early_steps_train_on_words_alone_and_lower_their_loss(recipe: MemoryTraining, tmp_path: Path) -> None:
    early = recipe.model_copy(update={"early": 20, "early_sentences": 6, "steps": 22, "head_rate": 3e-3, "warmup": 0})
    train(early, tmp_path / "out")
    rows = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    assert all("answer" not in row for row in rows[:20])
    assert all("answer" in row for row in rows[20:])
    assert sum(row["words"] for row in rows[16:20]) < sum(row["words"] for row in rows[:4])


def test_the_strength_of_the_reader_is_the_one_that_helps_held_out_questions_most(
    recipe: MemoryTraining, tmp_path: Path
) -> None:
    folder = train(recipe.model_copy(update={"steps": 2}), tmp_path / "out")
    told = json.loads((tmp_path / "out" / "strength.json").read_text())
    assert told["losses"][str(told["strength"])] == min(told["losses"].values())
    assert len(set(told["losses"].values())) > 3
    assert float(load_compressor(folder).reader.strength) == pytest.approx(told["strength"], abs=1e-3)


def test_two_processes_train_as_one_does_on_both_parts(recipe: MemoryTraining, tmp_path: Path) -> None:
    both = recipe.model_copy(update={"parts": 2, "steps": 3, "checkpoint_every": 3, "drafted": 4})
    alone = train(both, tmp_path / "alone")
    path = tmp_path / "recipe.yaml"
    path.write_text(both.model_dump_json())  # JSON is YAML
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", "--no-python"]
    program = "from pipelines.cli import app; app()"
    arguments = ["train-memory", str(path), "--out", str(tmp_path / "together")]
    subprocess.run([*command, sys.executable, "-c", program, *arguments], check=True, capture_output=True)
    states = [load_compressor(folder).trained_state() for folder in (alone, tmp_path / "together" / "memory")]
    for name, value in states[0].items():
        assert torch.allclose(value, states[1][name], atol=2e-3), name
    assert len(_losses(tmp_path / "together")) == 3
    drafts = [(folder / "drafted.jsonl").read_text() for folder in (tmp_path / "alone", tmp_path / "together")]
    assert drafts[0] == drafts[1]  # written once, not by each process
    assert drafts[0].count("\n") == 4


def test_contexts_hold_their_own_evidence_and_sometimes_others() -> None:
    contexts = choose_contexts(40, 0.5, random.Random(0))
    assert all(own in context and len(set(context)) == len(context) <= 3 for own, context in enumerate(contexts))
    assert 10 < sum(len(context) > 1 for context in contexts) < 30
    assert choose_contexts(3, 0.0, random.Random(0)) == [[0], [1], [2]]


def test_a_second_run_starts_from_the_weights_of_the_first(recipe: MemoryTraining, tmp_path: Path) -> None:
    first = train(recipe.model_copy(update={"stop": 2}), tmp_path / "first")
    assert len(_losses(tmp_path / "first")) == 2
    second = recipe.model_copy(update={"start": first, "stop": 1, "head_rate": 1e-12, "lora_rate": 1e-12})
    then = load_compressor(train(second, tmp_path / "second")).trained_state()
    for name, value in load_compressor(first).trained_state().items():
        assert torch.allclose(value, then[name], atol=1e-5), name


def test_a_checkpoint_of_another_recipe_is_refused(recipe: MemoryTraining, tmp_path: Path) -> None:
    short = recipe.model_copy(update={"steps": 3})
    train(short, tmp_path / "out")
    with pytest.raises(RecipeError, match="another recipe"):
        train(short.model_copy(update={"seed": 1}), tmp_path / "out")


def test_an_unknown_key_and_a_wrong_value_are_named(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("compressor_model: a\ngenerator_model: b\ndata: .\nsources: []\nstepz: 3\n")
    with pytest.raises(RecipeError) as error:
        load_recipe(path)
    assert "stepz" in str(error.value)
    assert "sources" in str(error.value)
    path.write_text("a: [")
    with pytest.raises(RecipeError, match="can't be read"):
        load_recipe(path)


def test_the_recipe_of_the_packaged_memory_is_valid() -> None:
    recipe = load_recipe(Path(__file__).parents[2] / "configs" / "memory_text.yaml")
    spans = {source.path: (source.first, source.last) for source in recipe.sources}
    assert spans["xquad.en.json.gz"] == (0, 24)  # what is reported on stays out
    assert spans["qed-dev.jsonlines.gz"] == (0, 1000)
    assert not {"hotpotqa", "musique"} & {source.form for source in recipe.sources}


def test_a_missing_model_is_an_error_before_anything_is_written(recipe: MemoryTraining, tmp_path: Path) -> None:
    lacking = recipe.model_copy(update={"generator_model": "no-such-model"})
    with pytest.raises(ModelError, match="no-such-model"):
        train(lacking, tmp_path / "out", models=tmp_path)
    assert not (tmp_path / "out").exists()
