"""Pictures by the processors of transformers themselves, which need Pillow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latent_memory.compressor import Compressor, CompressorConfig
from latent_memory.image_model import load_image_text_model
from latent_memory.images import encode_images, image_marks, with_processor
from tests.latent_memory.test_images import TEXT, TOWER
from tiers.errors import ModelError

pytest.importorskip("PIL")

IMAGE = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)


def _tokenizer(tokens: list[str], **named: str) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = ["<pad>", "<eos>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE({token: number for number, token in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<eos>", pad_token="<pad>", extra_special_tokens=named
    )
    fast.add_special_tokens({"additional_special_tokens": tokens})
    return fast


def _llava() -> Any:
    from transformers import LlavaProcessor
    from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

    images = LlavaImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    return LlavaProcessor(
        images, _tokenizer(["<image>"]), patch_size=4, vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )  # fmt: skip


def _gemma3() -> Any:
    from transformers import Gemma3Processor
    from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil

    marks = {"image_token": "<image_soft_token>", "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"}
    images = Gemma3ImageProcessorPil(size={"height": 16, "width": 16})
    return Gemma3Processor(images, _tokenizer([], **marks), image_seq_length=4)


def _idefics3() -> Any:
    from transformers import Idefics3Processor
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

    marks = {
        "image_token": "<image>", "fake_image_token": "<fake_token_around_image>", "global_image_token": "<global-img>",
        "end_of_utterance_token": "<end_of_utterance>",
    }  # fmt: skip
    images = Idefics3ImageProcessorPil(size={"longest_edge": 32}, max_image_size={"longest_edge": 16})
    return Idefics3Processor(images, _tokenizer([], **marks), image_seq_len=4)


@pytest.mark.parametrize(
    ("make", "marks", "token", "places"),
    [
        (_llava, "<image>", "<image>", 16),
        (_gemma3, "<start_of_image>", "<image_soft_token>", 4),
        (_idefics3, "<image>", "<image>", 20),  # four tiles and the whole
    ],
)
def test_a_processor_says_where_an_image_is(make: Any, marks: str, token: str, places: int) -> None:
    processor = make()
    assert image_marks(processor) == marks
    picture = with_processor(processor, 20)(IMAGE, "a cat")
    place = processor.tokenizer.convert_tokens_to_ids(token)
    assert picture.ids.count(place) == places
    assert picture.ids[-6:] == processor.tokenizer(" a cat")["input_ids"]
    assert picture.pixels["pixel_values"].shape[-2:] == (16, 16)


def test_what_the_chat_template_puts_around_an_image_belongs_to_it() -> None:
    processor = _llava()
    item = "{% for i in m.content %}{{ '<see><image></see>' if i.type == 'image' else i.text }}{% endfor %}"
    processor.chat_template = "{% for m in messages %}U: " + item + "{% endfor %}"
    assert image_marks(processor) == "<see><image></see>"


def test_a_model_with_its_processor_is_loaded_from_a_folder(tmp_path: Path) -> None:
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    processor = _llava()
    place = processor.tokenizer.convert_tokens_to_ids("<image>")
    config = LlavaConfig(vision_config=CLIPVisionConfig(**TOWER), text_config=LlamaConfig(**TEXT), image_token_id=place)
    LlavaForConditionalGeneration(config).save_pretrained(tmp_path / "tiny")
    processor.save_pretrained(tmp_path / "tiny")
    base, tokenizer, vision = load_image_text_model("tiny", tmp_path, "float32")
    sizes = CompressorConfig(depth=1, lora_from=0, lora_rank=2, retrieval_dim=16)
    compressor = Compressor(base, tokenizer, sizes, 24, 1.0).eval()
    latents, _ = encode_images(compressor, vision, [vision.prepare(IMAGE, ""), vision.prepare(255 - IMAGE, "a cat")])
    assert np.isfinite(latents).all()
    assert abs(latents[0] - latents[1]).max() > 1e-3


def test_a_folder_without_an_image_text_model_is_an_error(tiny_model: Path) -> None:
    with pytest.raises(ModelError, match="can't be loaded"):
        load_image_text_model(str(tiny_model), tiny_model)
