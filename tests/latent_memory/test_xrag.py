from pathlib import Path

import pytest
import torch

from latent_memory.baselines.xrag import Projector, XRagTraining, load, save, train
from latent_memory.data import Question
from latent_memory.generator import Generator
from tiers.errors import ModelError, RecipeError

QUESTIONS = [
    Question("Where?", (place,), (f"It is in {place}.",)) for place in ("Rome", "Oslo", "Bern", "Kyiv", "Lima", "Bonn")
]
QUICK = XRagTraining(steps=40, asked=6, distilled=2, repeated=2, repeated_tokens=4, answer_tokens=4, rate=1e-2)


def vectors(texts: list[str]) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.arange(len(texts)), 8).float()


def test_a_projector_learns_what_the_texts_say_and_the_same_way_each_time(generator: Generator) -> None:
    losses: list[float] = []
    first = train(generator, QUESTIONS, ["It rains."], vectors, QUICK, lambda step, loss: losses.append(loss))
    assert len(losses) == QUICK.steps
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    again = train(generator, QUESTIONS, ["It rains."], vectors, QUICK)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    other = train(generator, QUESTIONS, ["It rains."], vectors, QUICK.model_copy(update={"seed": 1}))
    assert not torch.equal(first.layers[0].weight, other.layers[0].weight)


def test_training_leaves_the_generator_and_the_random_state_alone(generator: Generator) -> None:
    before, state = generator.embedding.clone(), torch.get_rng_state()
    train(generator, QUESTIONS, [], vectors, QUICK.model_copy(update={"steps": 1}))
    assert torch.equal(generator.embedding, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in generator.model.parameters())


def test_untrained_tokens_have_the_norm_of_embeddings() -> None:
    projector, given = Projector(8, 32), torch.eye(8)
    projector.start(given, 3.0)
    assert projector(given).norm(dim=-1).mean().item() == pytest.approx(3.0, rel=1e-4)


def test_a_projector_is_read_back_for_its_own_models_only(tmp_path: Path) -> None:
    projector = Projector(8, 32)
    save(projector, "generator", "encoder", tmp_path / "new" / "xrag.safetensors")
    read = load(tmp_path / "new" / "xrag.safetensors", "generator", "encoder")
    assert read(torch.eye(8)).tolist() == [pytest.approx(row, abs=1e-2) for row in projector(torch.eye(8)).tolist()]
    with pytest.raises(ModelError, match="another generator"):
        load(tmp_path / "new" / "xrag.safetensors", "another generator", "encoder")
    with pytest.raises(ModelError, match="train-xrag"):
        load(tmp_path / "nowhere", "generator", "encoder")
    (tmp_path / "broken").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="broken"):
        load(tmp_path / "broken", "generator", "encoder")


def test_questions_without_one_evidence_can_not_be_trained_on(generator: Generator) -> None:
    with pytest.raises(RecipeError, match="one evidence"):
        train(generator, [Question("Who?", ("me",), ())], [], vectors)
