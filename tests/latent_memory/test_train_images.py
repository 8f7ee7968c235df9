from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from latent_memory.easy_vqa import ImageQuestion, captions
from latent_memory.evaluate_images import CONDITIONS, evaluate_images
from latent_memory.generator import Generator, Reading
from latent_memory.image_data import ImageSet
from latent_memory.image_model import load_vision
from latent_memory.images import encode_images
from latent_memory.pretrained import load_compressor
from latent_memory.repeated_questions import RepeatedQuestions
from latent_memory.train import run
from latent_memory.train_images import (
    ImageTrainer,
    ImageTraining,
    ImageWeights,
    load_image_recipe,
    names_images,
    train_tower,
)
from pipelines.cli import app
from tiers.errors import ModelError, RecipeError

COLORS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


@pytest.fixture(scope="module")
def images() -> ImageSet:
    """Circles and rectangles, as far as six by six pixels go, in three colours."""
    rng = random.Random(0)
    questions: list[ImageQuestion] = []
    pixels = []
    for number in range(24):
        color, shape = list(COLORS)[number % 3], ("circle", "rectangle")[number // 3 % 2]
        canvas = np.full((8, 8, 3), rng.randint(220, 255), np.uint8)
        rows = slice(1, 7) if shape == "rectangle" else slice(3, 5)
        canvas[rows, 2:6] = COLORS[color]
        pixels.append(canvas)
        questions.append(ImageQuestion("what color is the shape?", color, number, "color"))
        questions.append(ImageQuestion("what shape is present?", shape, number, "shape"))
        questions.append(ImageQuestion("is there a red shape?", "yes" if color == "red" else "no", number, "yes/no"))
    return ImageSet(questions, captions(questions, len(pixels)), pixels)


@pytest.fixture
def recipe(trained: Path) -> ImageTraining:
    settings: dict[str, Any] = {
        "images": "unread",
        "memory": trained,
        "tower": {"size": 8, "patch": 2, "hidden": 16, "layers": 1, "heads": 2, "joined": 2, "place": "<|im_start|>"},
        "held_out": 6,
        "early": 3,
        "early_images": 8,
        "questions": 6,
        "distilled": 4,
        "reconstructed": 2,
        "steps": 6,
        "warmup": 1,
        "checkpoint_every": 2,
    }
    return ImageTraining.model_validate(settings)


def _losses(out: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_a_resumed_run_has_the_losses_and_the_weights_of_an_unbroken_one(
    recipe: ImageTraining, images: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train_tower(recipe, images, tmp_path / "whole")
    step = ImageTrainer.train_step

    def dies_at_the_sixth(trainer: ImageTrainer) -> dict[str, float]:
        if trainer.step == 5:
            raise KeyboardInterrupt
        return step(trainer)

    monkeypatch.setattr(ImageTrainer, "train_step", dies_at_the_sixth)
    with pytest.raises(KeyboardInterrupt):
        train_tower(recipe, images, tmp_path / "broken")
    monkeypatch.undo()
    broken = train_tower(recipe, images, tmp_path / "broken")  # from the checkpoint at step 4
    losses = _losses(tmp_path / "broken")
    assert losses[:4] + losses[-2:] == _losses(tmp_path / "whole")
    assert (broken / "vision.safetensors").read_bytes() == (whole / "vision.safetensors").read_bytes()
    with pytest.raises(RecipeError, match="another recipe"):
        train_tower(recipe.model_copy(update={"seed": 1}), images, tmp_path / "whole")


def test_a_second_run_starts_from_the_tower_of_the_first(
    recipe: ImageTraining, images: ImageSet, tmp_path: Path
) -> None:
    first = train_tower(recipe, images, tmp_path / "first")
    still = {"start": first, "early": 0, "steps": 1, "rate": 1e-12}
    second = train_tower(recipe.model_copy(update=still), images, tmp_path / "second")
    before, after = (load_file(folder / "vision.safetensors") for folder in (first, second))
    assert all(torch.equal(before[name], after[name]) for name in before)
    wider = recipe.tower.model_copy(update={"hidden": 32})
    with pytest.raises(ModelError, match="weights don't fit"):
        train_tower(recipe.model_copy(update=still | {"tower": wider}), images, tmp_path / "third")


@pytest.mark.parametrize("term", ImageWeights.model_fields)
def test_training_on_a_term_lowers_it(
    recipe: ImageTraining, images: ImageSet, tmp_path: Path, term: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the same questions before and after."""
    weights = ImageWeights.model_validate({name: float(name == term) for name in ImageWeights.model_fields})
    steps = 100
    alone = recipe.model_copy(
        update={
            "weights": weights, "steps": steps, "early": steps if term == "early" else 0, "checkpoint_every": steps,
            "questions": 18, "distilled": 18, "reconstructed": 18, "rate": 0.001, "early_images": 18, "rounded": False,
        }
    )  # fmt: skip
    found: list[float] = []
    moved: list[bool] = []

    def look(trainer: ImageTrainer) -> None:
        trainer.vision.eval()
        losses = trainer.early_losses if term == "early" else trainer.losses
        loss = torch.stack([losses(random.Random(seed))[term] for seed in range(8)]).mean()
        found.append(loss.item())
        if loss.requires_grad:
            grads = torch.autograd.grad(loss, list(trainer.vision.parameters()), allow_unused=True)
            moved.append(any(grad is not None and bool(grad.any()) for grad in grads))

    def measured(trainer: ImageTrainer, out: Path) -> None:
        look(trainer)
        run(trainer, out)
        look(trainer)

    monkeypatch.setattr("latent_memory.train_images.run", measured)
    train_tower(alone, images, tmp_path)
    if term == "distillation":
        assert not any(found)  # a teacher with random weights is never right, and then isn't followed
    elif term == "answer":
        assert all(moved)  # too little of a random generator's logits depends on one embedding to be lowered surely
    else:
        assert found[1] < found[0]


def test_training_leaves_the_text_memory_alone(recipe: ImageTraining, images: ImageSet, tmp_path: Path) -> None:
    compressor = load_compressor(recipe.memory)
    before = {name: value.clone() for name, value in compressor.state_dict().items()}
    train_tower(recipe, images, tmp_path)
    assert all(torch.equal(value, before[name]) for name, value in compressor.state_dict().items())


def test_a_trained_tower_is_loaded_for_its_own_memory_alone(
    recipe: ImageTraining, images: ImageSet, tmp_path: Path, trained: Path, other_trained: Path
) -> None:
    folder = train_tower(recipe, images, tmp_path)
    compressor, vision = load_compressor(trained), load_vision(folder, trained)
    pictures = [vision.prepare(pixels, "") for pixels in images.pixels[:2]]
    latents, vectors = encode_images(compressor, vision, pictures)
    assert latents.shape == (2, 40 * (1 + 8))
    assert (vectors**2).sum(1) == pytest.approx([1.0, 1.0], rel=1e-4)
    assert abs(latents[0] - latents[1]).max() > 1e-3
    with pytest.raises(ModelError, match="another memory"):
        load_vision(folder, other_trained)
    with pytest.raises(ModelError, match="no vision tower"):
        load_vision(tmp_path, trained)


def test_the_measures_tell_an_images_own_latent_from_anothers(
    recipe: ImageTraining, images: ImageSet, tmp_path: Path, trained: Path, generator: Generator
) -> None:
    vision = load_vision(train_tower(recipe, images, tmp_path), trained)
    result = evaluate_images(images, images.questions[:30], load_compressor(trained), vision, generator)
    assert [result["kinds"][kind]["questions"] for kind in ("all", "color", "shape", "yes/no")] == [30, 10, 10, 10]
    assert set(result["kinds"]["all"]["exact"]) == set(CONDITIONS)
    tokens = result["context_tokens"]
    assert (tokens["none"], tokens["latent"], tokens["shuffled"], tokens["image features"]) == (0, 1, 1, 4)
    assert tokens["caption"] > 20  # bytes are tokens here
    assert result["caption_at_1"]["captions"] == 6


def test_repeated_questions_read_as_others_do(generator: Generator) -> None:
    repeated = RepeatedQuestions(generator)
    contexts = torch.nn.functional.normalize(torch.randn(3, 2, generator.hidden, generator=torch.Generator()), dim=-1)
    rows = [
        Reading(question, context, generator.answer_ids(answer))
        for question, context, answer in zip(["Is it?", "Why is it so?", "Is it?"], contexts, "abc", strict=True)
    ]
    expected = generator.score(rows)
    assert (repeated.score(rows) - expected).abs().max() < 1e-4
    assert (repeated.score(rows[::-1])[-2:] - expected[:2]).abs().max() < 1e-4  # now from what was kept
    assert repeated.answer(rows) == generator.answer(rows)


def test_captions_say_what_the_questions_tell() -> None:
    asked = [
        ("what color is the triangle?", "teal", 0), ("is there a red shape?", "no", 0),
        ("is there not a circle?", "no", 1), ("is a gray shape present?", "yes", 1),
        ("is there not a circle in the image?", "yes", 2), ("what color is the shape?", "blue", 2),
    ]  # fmt: skip
    questions = [
        ImageQuestion(text, answer, image, "yes/no" if answer in ("yes", "no") else "color")
        for text, answer, image in asked
    ]
    assert captions(questions, 4) == ["The image shows a teal triangle.", "The image shows a gray circle.", "", ""]


def test_a_wrong_key_in_a_recipe_is_named(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("images: x\ntower: {layerz: 3}\n")
    with pytest.raises(RecipeError, match=r"tower\.layerz"):
        load_image_recipe(tmp_path / "r.yaml")


def test_the_command_trains_a_tower_where_the_recipe_names_images(tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text(f"images: {tmp_path / 'nowhere.whl'}\n")
    result = CliRunner().invoke(app, ["train-memory", str(recipe), "--out", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert "the images aren't here" in result.output
    assert not names_images(Path(__file__))
    assert not names_images(tmp_path / "nowhere.yaml")


def test_the_recipe_at_hand_is_valid() -> None:
    assert load_image_recipe(Path(__file__).parents[2] / "configs" / "memory_multimodal.yaml").steps > 0
