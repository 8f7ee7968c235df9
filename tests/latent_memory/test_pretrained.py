import json
from pathlib import Path
from statistics import fmean

import pytest
import torch

from latent_memory.compressor import encode
from latent_memory.data import Question
from latent_memory.evaluation.answers import answer_loss
from latent_memory.pretrained import PACKAGED, load_compressor, load_generator, read_manifest
from latent_memory.quantisation import dequantise, quantise
from tiers.errors import ModelError
from tiers.llm.adapter import model_identity
from tiers.llm.models import load_causal_lm

FACTS = {
    "When did the bridge open?": "The stone bridge over the river Aller opened in 1742 after nine years of work.",
    "Who wrote the opera Alceste?": "The opera Alceste was written by Christoph Willibald Gluck in Vienna.",
    "What does the module shutil offer?": "The module shutil offers high-level operations on files and folders.",
    "How many legs does a spider have?": "A spider has eight legs, two body segments and no antennae.",
    "Where do emperor penguins live?": "Emperor penguins live on the ice of Antarctica and eat fish and krill.",
    "Which metal is liquid at room temperature?": "Mercury is the only metal that is liquid at room temperature.",
}
ANSWERS = ("1742", "Christoph Willibald Gluck", "operations on files", "eight", "Antarctica", "Mercury")


def test_a_loaded_compressor_gives_the_latents_that_were_saved(trained: Path) -> None:
    from safetensors.torch import load_file

    compressor = load_compressor(trained)
    saved = load_file(trained / "adapter.safetensors")
    assert all(torch.equal(saved[name].float(), value) for name, value in compressor.trained_state().items())


def test_a_base_with_other_weights_is_refused(trained: Path, tiny_model: Path, tmp_path: Path) -> None:
    told = json.loads((trained / "memory.json").read_text())
    told["base"]["hash"] = "0" * 32
    (tmp_path / "memory.json").write_text(json.dumps(told))
    (tmp_path / "adapter.safetensors").write_bytes((trained / "adapter.safetensors").read_bytes())
    with pytest.raises(ModelError, match="trained with") as error:
        load_compressor(tmp_path)
    assert error.value.expected == "0" * 32


def test_another_format_is_refused(trained: Path, tmp_path: Path) -> None:
    told = json.loads((trained / "memory.json").read_text())
    (tmp_path / "memory.json").write_text(json.dumps(told | {"format": "latent-memory/9"}))
    with pytest.raises(ModelError, match="latent-memory/9"):
        read_manifest(tmp_path)


def test_an_identity_knows_weights_but_not_their_dtype(tiny_model: Path) -> None:
    model, tokenizer = load_causal_lm(str(tiny_model), tiny_model, dtype="bfloat16")
    first = model_identity("tiny", model, tokenizer)
    wide, _ = load_causal_lm(str(tiny_model), tiny_model, dtype="float32")
    assert model_identity("tiny", wide, tokenizer) == first
    with torch.no_grad():
        next(model.parameters())[0, 0] += 1
    assert model_identity("tiny", model, tokenizer) != first


def test_the_packaged_memory_is_read_and_found(memory_models: Path) -> None:
    """Real weights: a latent helps with its own question more than others do, and is found by it."""
    compressor, generator = load_compressor(PACKAGED, memory_models), load_generator(PACKAGED, memory_models)
    codes, vectors = encode(compressor, list(FACTS.values()), "evidence")
    _, sought = encode(compressor, list(FACTS), "query")
    assert (sought @ vectors.T).argmax(1).tolist() == list(range(len(FACTS)))
    questions = [Question(q, (a,), (text,)) for (q, text), a in zip(FACTS.items(), ANSWERS, strict=True)]
    with torch.inference_mode():
        contexts = compressor.latents(
            torch.from_numpy(dequantise(quantise(codes, compressor.config), compressor.config))
        )

    def loss(shift: int) -> float:
        return fmean(answer_loss(generator, questions, contexts[shift:] + contexts[:shift], compressor.reader))

    assert loss(0) < fmean(loss(shift) for shift in range(1, len(FACTS))) - 2


def test_the_packaged_memory_is_small() -> None:
    assert sum(path.stat().st_size for path in PACKAGED.iterdir()) < 20_000_000
