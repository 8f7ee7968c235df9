"""Each family by a tiny model with random weights, made from its configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from latent_memory.compressor import Compressor, CompressorConfig
from latent_memory.image_model import TowerConfig, make_tower
from latent_memory.images import Picture, Vision, take_apart
from tiers.errors import ModelError, StageError

SIZES = CompressorConfig(depth=2, lora_from=0, lora_rank=2, lora_alpha=4, slots=12, key=8, retrieval_dim=16)
PLACE = 250
TEXT = {
    "vocab_size": 300, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 16, "pad_token_id": 0, "bos_token_id": None, "eos_token_id": None,
}  # fmt: skip
TOWER = {
    "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 16,
    "patch_size": 4,
}  # fmt: skip


def _llava() -> Any:
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    config = LlavaConfig(vision_config=CLIPVisionConfig(**TOWER), text_config=LlamaConfig(**TEXT), image_token_id=PLACE)
    return LlavaForConditionalGeneration(config)


def _gemma3() -> Any:
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration, Gemma3TextConfig, SiglipVisionConfig

    text = Gemma3TextConfig(**TEXT, sliding_window=6, layer_types=["sliding_attention", "full_attention"])
    vision = SiglipVisionConfig(**TOWER, vision_use_head=False)
    config = Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4, image_token_id=PLACE)
    return Gemma3ForConditionalGeneration(config)


def _idefics3() -> Any:
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration, LlamaConfig

    config = Idefics3Config(vision_config=TOWER, text_config=LlamaConfig(**TEXT), image_token_id=PLACE)
    return Idefics3ForConditionalGeneration(config)


def _smolvlm() -> Any:
    from transformers import LlamaConfig, SmolVLMConfig, SmolVLMForConditionalGeneration

    config = SmolVLMConfig(vision_config=TOWER, text_config=LlamaConfig(**TEXT), image_token_id=PLACE, scale_factor=2)
    return SmolVLMForConditionalGeneration(config)


ROPE = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]}


def _qwen2_vl() -> Any:
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    vision = {"depth": 1, "embed_dim": 16, "hidden_size": 32, "num_heads": 2, "patch_size": 4, "mlp_ratio": 2}
    config = Qwen2VLConfig(text_config={**TEXT, "rope_parameters": ROPE}, vision_config=vision, image_token_id=PLACE)
    return Qwen2VLForConditionalGeneration(config)


def _qwen2_5_vl() -> Any:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    vision = {
        "depth": 2, "hidden_size": 16, "intermediate_size": 24, "num_heads": 2, "patch_size": 4, "out_hidden_size": 32,
        "window_size": 16, "fullatt_block_indexes": [1],
    }  # fmt: skip
    config = Qwen2_5_VLConfig(text_config={**TEXT, "rope_parameters": ROPE}, vision_config=vision, image_token_id=PLACE)
    return Qwen2_5_VLForConditionalGeneration(config)


FAMILIES = {
    "llava": _llava,
    "gemma3": _gemma3,
    "idefics3": _idefics3,
    "smolvlm": _smolvlm,
    "qwen2-vl": _qwen2_vl,
    "qwen2.5-vl": _qwen2_5_vl,
}
PLACES = {"llava": 16, "gemma3": 4, "idefics3": 4, "smolvlm": 4}


class Bytes:
    """A tokenizer whose tokens are characters."""

    all_special_ids = (PLACE,)
    eos_token_id = 0

    @staticmethod
    def get_vocab() -> dict[str, int]:
        return {chr(number): number + 1 for number in range(200)}

    @staticmethod
    def get_added_vocab() -> dict[str, int]:
        return {}

    def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
        return {"input_ids": [1 + ord(character) for character in text]}

    def decode(self, ids: list[int]) -> str:
        return "".join(map(self.convert_ids_to_tokens, ids))

    @staticmethod
    def convert_ids_to_tokens(token: int) -> str:
        return chr(token - 1)


class Processor:
    """What is asked of a model's processor, for the tiny models: one byte is one token."""

    image_token = chr(PLACE)

    def __init__(self, family: str) -> None:
        self.family = family

    tokenizer = Bytes()

    def __call__(self, text: str, images: list[np.ndarray], **_: Any) -> dict[str, torch.Tensor]:
        pixels = torch.from_numpy(images[0]).permute(2, 0, 1)[None].float() / 127.5 - 1
        made: dict[str, torch.Tensor] = {}
        if self.family.startswith("qwen"):
            rows, columns = (size // 4 for size in pixels.shape[2:])
            patches = pixels.unfold(2, 4, 4).unfold(3, 4, 4).permute(0, 2, 3, 1, 4, 5).reshape(-1, 48)
            made["pixel_values"] = patches.repeat(1, 2)  # two frames of a still image
            made["image_grid_thw"] = torch.tensor([[1, rows, columns]])
            places = rows * columns // 4
        else:
            made["pixel_values"] = pixels[None] if self.family in ("idefics3", "smolvlm") else pixels
            places = PLACES[self.family]
        ids = [i for c in text for i in ([PLACE] * places if c == self.image_token else [1 + ord(c)])]
        return {**made, "input_ids": torch.tensor([ids])}


def _image(seed: int, height: int = 16, width: int = 16) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def _make(family: str) -> tuple[Compressor, Vision, Any]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = FAMILIES[family]().eval()
        for parameter in model.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.3)
        base, vision = take_apart(model, Processor(family))
        compressor = Compressor(base, Processor.tokenizer, SIZES, generator_hidden=24, latent_norm=2.0)
        for name, parameter in compressor.named_parameters():
            if "lora_B" in name or name.startswith("retrieval_residual"):
                torch.nn.init.normal_(parameter, std=0.2)
    return compressor.eval(), vision.eval(), model


@torch.no_grad()
def _latents(compressor: Compressor, vision: Vision, pictures: list[Picture]) -> torch.Tensor:
    encoded = vision.see(compressor, pictures)
    return torch.cat([encoded.code, compressor.vectors(encoded)], 1)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_latent_does_not_depend_on_its_batch(family: str) -> None:
    compressor, vision, _ = _make(family)
    captions = ["", "a red triangle", "blue"]
    sizes = [(16, 16), (16, 24), (8, 16)] if family.startswith("qwen") else [(16, 16)] * 3
    pictures = [vision.prepare(_image(n, *size), c) for n, (c, size) in enumerate(zip(captions, sizes, strict=True))]
    together = _latents(compressor, vision, pictures)
    for row, picture in enumerate(pictures):
        assert (together[row] - _latents(compressor, vision, [picture])[0]).abs().max() < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_the_image_and_its_caption_both_count(family: str) -> None:
    compressor, vision, _ = _make(family)
    shown = [(0, "a cat"), (1, "a cat"), (0, "a dog")]
    latents = _latents(compressor, vision, [vision.prepare(_image(seed), caption) for seed, caption in shown])
    assert (latents[0] - latents[1]).abs().max() > 1e-3
    assert (latents[0] - latents[2]).abs().max() > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_states_are_those_of_the_whole_model(family: str) -> None:
    """With silent adapters the memory token's state is what the model itself says behind its own inputs."""
    compressor, vision, model = _make(family)
    for name, parameter in compressor.named_parameters():
        if "lora_B" in name:
            torch.nn.init.zeros_(parameter)
    scale = TEXT["hidden_size"] ** 0.5 if family == "gemma3" else 1.0  # Gemma multiplies what it looks up
    model.get_input_embeddings().weight.data[7] = compressor.memory_token.data / scale
    picture = vision.prepare(_image(0), "a red triangle")
    ids = torch.tensor([[compressor.tokenizer.eos_token_id, *picture.ids, 7]])
    kinds = (ids == PLACE).long()
    own = {"gemma3": {"token_type_ids": kinds}, "qwen2-vl": {"mm_token_type_ids": kinds}}
    own["qwen2.5-vl"] = own["qwen2-vl"]
    with torch.no_grad():
        whole = model.model(input_ids=ids, **picture.pixels, **own.get(family, {})).last_hidden_state
        memory = compressor.states([picture.ids], "evidence", vision.look([picture])).memory
    assert (memory[0] - whole[0, -1]).abs().max() < 1e-4


@pytest.mark.parametrize("family", FAMILIES)
def test_text_goes_through_the_same_compressor_whatever_it_has_seen(family: str) -> None:
    compressor, vision, _ = _make(family)
    with torch.no_grad():
        before = compressor([[3, 4, 5], [6]], "query").code
        vision.see(compressor, [vision.prepare(_image(0), "x")])
        after = compressor([[6]], "query").code
    assert (before[1] - after[0]).abs().max() < 1e-5
    assert (before[0] - before[1]).abs().max() > 1e-3


def test_adapters_leave_the_vision_tower_alone() -> None:
    compressor, vision, _ = _make("llava")
    assert not any("lora_" in name for name, _ in vision.named_parameters())
    assert {id(p) for p in vision.parameters()}.isdisjoint(id(p) for p in compressor.parameters())
    vision.see(compressor, [vision.prepare(_image(0), "x")]).memory.sum().backward()
    assert all(p.grad is None for p in vision.parameters())
    vision.requires_grad_(True)
    vision.see(compressor, [vision.prepare(_image(0), "x")]).memory.sum().backward()
    assert sum(float(p.grad.abs().sum()) for p in vision.parameters() if p.grad is not None) > 0


def test_places_that_do_not_match_the_image_are_an_error() -> None:
    compressor, vision, _ = _make("llava")
    picture = vision.prepare(_image(0), "x")
    with pytest.raises(ModelError, match="other places"):
        vision.see(compressor, [Picture(picture.ids[1:], picture.pixels)])


def test_a_text_model_reads_no_images(tiny_model: Path) -> None:
    from tiers.llm.models import load_causal_lm

    with pytest.raises(ModelError, match="reads no images"):
        take_apart(load_causal_lm(str(tiny_model), tiny_model)[0], Processor("llava"))


def test_a_caption_that_does_not_fit_is_an_error() -> None:
    _, vision, _ = _make("llava")
    with pytest.raises(StageError, match="caption") as error:
        vision.prepare(_image(0), "x" * 200)
    assert error.value.got == 201


def test_our_own_tower_reads_any_size_and_no_latent_depends_on_its_batch(compressor: Compressor) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tower = TowerConfig(size=16, patch=4, hidden=16, layers=1, joined=2, place="<|im_start|>")
        vision = make_tower(compressor.base, compressor.tokenizer, tower).eval()
    pictures = [vision.prepare(_image(n, 16 + 5 * n, 16), caption) for n, caption in enumerate(["", "a cat", "no"])]
    assert [picture.ids.count(vision.place) for picture in pictures] == [4, 4, 4]
    together = _latents(compressor, vision, pictures)
    for row, picture in enumerate(pictures):
        assert (together[row] - _latents(compressor, vision, [picture])[0]).abs().max() < 1e-5
    assert (together[0] - together[1]).abs().max() > 1e-3
