from dataclasses import replace
from pathlib import Path

import pytest
import torch

from latent_memory.baselines.xrag import Projector, XRagTraining, load, save, train
from latent_memory.data import Question
from latent_memory.evaluation.answers import answer_loss
from latent_memory.generator import Generator, Prompt
from tiers.errors import ModelError, RecipeError
from tiers.llm.models import load_causal_lm

QUESTIONS = [
    Question("Where?", (place,), (f"It is in {place}.",)) for place in ("Rome", "Oslo", "Bern", "Kyiv", "Lima", "Bonn")
]
QUICK = XRagTraining(steps=60, asked=6, distilled=2, repeated=2, repeated_tokens=2, answer_tokens=2, rate=3e-2)


@pytest.fixture(scope="module")
def listener(tiny_model: Path) -> Generator:
    """The tiny model with smaller weights and a short prompt, so that one token among few bytes tells it something."""
    model, tokenizer = load_causal_lm(str(tiny_model), tiny_model, dtype="float32")
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter *= 0.5
    return Generator(model, tokenizer, Prompt("", ()))


def vectors(texts: list[str]) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.arange(len(texts)), 8).float()


def test_a_projector_learns_what_the_texts_say(listener: Generator) -> None:
    losses: list[float] = []
    train(listener, QUESTIONS, ["It rains."], vectors, QUICK, lambda step, loss: losses.append(loss))
    assert len(losses) == QUICK.steps
    assert sum(losses[-10:]) < 0.85 * sum(losses[:10])


def test_the_same_seed_gives_the_same_weights(listener: Generator) -> None:
    short = QUICK.model_copy(update={"steps": 3})
    first, again = (train(listener, QUESTIONS, ["It rains."], vectors, short) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    other = train(listener, QUESTIONS, ["It rains."], vectors, short.model_copy(update={"seed": 1}))
    assert not torch.equal(first.layers[0].weight, other.layers[0].weight)


def test_a_token_tells_its_own_question_s_answer(listener: Generator) -> None:
    quick = QUICK.model_copy(update={"repeated": 0, "distilled": 0, "answer_tokens": 1, "steps": 60})
    projector = train(listener, QUESTIONS, [], vectors, quick)
    tokens = list(projector(vectors([q.evidence[0] for q in QUESTIONS]))[:, None])
    own, others = (
        answer_loss(listener, [replace(q, answers=(q.answers[0][0],)) for q in QUESTIONS], contexts)
        for contexts in (tokens, tokens[3:] + tokens[:3])
    )
    assert sum(own) < sum(others)


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


def test_only_texts_that_are_drawn_are_encoded(listener: Generator) -> None:
    seen: list[str] = []
    texts = [f"Text {n}." for n in range(50)]
    quick = QUICK.model_copy(update={"steps": 2, "asked": 2})

    def encode(given: list[str]) -> torch.Tensor:
        seen.extend(given)
        return torch.ones(len(given), 8)

    train(listener, QUESTIONS, texts, encode, quick)
    assert 2 <= len(seen) == len(set(seen)) <= 2 * (2 + 2)


def test_questions_without_one_evidence_can_not_be_trained_on(generator: Generator) -> None:
    with pytest.raises(RecipeError, match="one evidence"):
        train(generator, [Question("Who?", ("me",), ())], [], vectors)
