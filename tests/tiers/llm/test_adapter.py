from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tiers.errors import ModelError
from tiers.l3_edited.fine_tuning import Tuning, save_adapter, with_adapter
from tiers.llm import Message, Request, open_llm
from tiers.llm.adapter import adapted, model_identity, write_base
from tiers.llm.models import load_causal_lm


@pytest.fixture
def adapter(tiny_model: Path, tmp_path: Path) -> Path:
    """An adapter of random weights."""
    model, tokenizer = load_causal_lm(str(tiny_model), tiny_model, dtype="float32")
    base = model_identity("tiny", model, tokenizer)
    trained = with_adapter(model, Tuning(rank=2))
    with torch.no_grad():
        for name, weight in trained.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.3, generator=torch.Generator().manual_seed(0))
    save_adapter(trained, tmp_path / "adapter")
    write_base(base, tmp_path / "adapter")
    torch.save(trained(input_ids=torch.arange(9)[None]).logits, tmp_path / "logits.pt")
    return tmp_path / "adapter"


def test_the_weights_with_an_adapter_are_what_was_trained(tiny_model: Path, adapter: Path):
    model, tokenizer = load_causal_lm(str(tiny_model), tiny_model, dtype="float32")
    before = model(input_ids=torch.arange(9)[None]).logits
    after = adapted("tiny", model, tokenizer, adapter)(input_ids=torch.arange(9)[None]).logits
    torch.testing.assert_close(after, torch.load(adapter.parent / "logits.pt"), rtol=0, atol=0.1)  # half precision
    assert (after - before).abs().max() > 1


def test_a_model_with_an_adapter_is_another_model(tiny_model: Path, adapter: Path):
    plain = open_llm(str(tiny_model), tiny_model.parent)
    changed = open_llm(str(tiny_model), tiny_model.parent, adapter=adapter)
    assert plain.name != changed.name
    asked = [Request((Message("user", "Say something."),), max_tokens=12)]
    assert plain.complete(asked)[0].text != changed.complete(asked)[0].text


def test_the_base_must_be_the_one_that_was_trained_on(tiny_model: Path, adapter: Path):
    model, tokenizer = load_causal_lm(str(tiny_model), tiny_model)
    with torch.no_grad():
        model.get_output_embeddings().weight[0, 0] += 1
    with pytest.raises(ModelError, match="isn't the one") as error:
        adapted("changed", model, tokenizer, adapter)
    assert "changed" in str(error.value)
    assert "tiny" in str(error.value)


@pytest.mark.parametrize("missing", ["base.json", "adapter_config.json", "adapter_model.safetensors"])
def test_a_folder_that_lacks_a_file_is_no_adapter(tiny_model: Path, adapter: Path, missing: str):
    (adapter / missing).unlink()
    with pytest.raises(ModelError, match="adapter"):
        open_llm(str(tiny_model), tiny_model.parent, adapter=adapter)


def test_damaged_weights_are_refused(tiny_model: Path, adapter: Path):
    content = (adapter / "adapter_model.safetensors").read_bytes()
    (adapter / "adapter_model.safetensors").write_bytes(content[:-100])
    with pytest.raises(ModelError, match="can't be loaded"):
        open_llm(str(tiny_model), tiny_model.parent, adapter=adapter)


def test_a_server_takes_no_adapter(adapter: Path, tmp_path: Path):
    with pytest.raises(ModelError, match="takes no adapter"):
        open_llm("openai:model@http://127.0.0.1:1/v1", tmp_path, adapter=adapter)
