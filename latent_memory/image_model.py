"""A small vision tower of our own for any causal LM, and trained image memories on disk.

Where no image-text model is at hand, a vision transformer is put in front of the compressor's base by the classes of
Idefics3 (Laurençon et al., arXiv:2408.12637): patches, transformer, and a connector that joins neighbouring patches
(pixel shuffle) before it projects them. It reads images of one small size, with the whole image stretched to it.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch.nn import functional as F

from latent_memory.images import Picture, Pixels, Prepare, Vision, caption_ids, take_apart
from latent_memory.pretrained import PACKAGED, load_compressor, read_manifest
from tiers.errors import ModelError
from tiers.llm.models import default_models, model_folder

FORMAT = "latent-memory-vision/2"
PACKAGED_VISION = Path(__file__).parent / "pretrained_images"


class TowerConfig(BaseModel):
    """What a vision tower is made of.

    Attributes:
        size: Height and width that images are brought to, in pixels.
        patch: Height and width of a patch.
        hidden: Size of a patch's state.
        layers: Of the transformer.
        heads: Of its attention.
        joined: Height and width, in patches, of what becomes one embedding.
        place: Token of the base's tokenizer that keeps a place for an embedding.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(default=64, ge=8)
    patch: int = Field(default=8, ge=2)
    hidden: int = Field(default=128, ge=8)
    layers: int = Field(default=4, ge=1)
    heads: int = Field(default=4, ge=1)
    joined: int = Field(default=2, ge=1)
    place: str = "<|image_pad|>"

    @property
    def places(self) -> int:
        """Embeddings of an image."""
        return (self.size // self.patch // self.joined) ** 2


def load_image_text_model(
    name: str, models: Path, dtype: str = "bfloat16", longest: int = 128
) -> tuple[Any, Any, Vision]:
    """Loads an image-text model: a base for `Compressor`, its tokenizer, and its image half.

    Args:
        name: As for `tiers.llm.models.model_folder`.
        models: The folder of model weights.
        dtype: Of the weights and the arithmetic.
        longest: Longest caption in tokens.

    Raises:
        ModelError: it isn't there, can't be loaded, or reads no images.
    """
    folder = model_folder(name, models)
    from transformers import AutoModelForImageTextToText, AutoProcessor

    try:
        processor = AutoProcessor.from_pretrained(folder)
        model = AutoModelForImageTextToText.from_pretrained(folder, dtype=getattr(torch, dtype))
    except (ImportError, OSError, ValueError, KeyError) as error:  # some processors want torchvision
        raise ModelError("the image-text model can't be loaded", where=str(folder), got=str(error)) from error
    base, vision = take_apart(model.eval(), processor, longest)
    return base, processor.tokenizer, vision


def make_tower(text: Any, tokenizer: Any, config: TowerConfig, longest: int = 128) -> Vision:
    """A tower with random weights in front of a language model's body.

    Raises:
        ModelError: the tokenizer lacks the token that keeps places, or the sizes don't divide.
    """
    from transformers import Idefics3Config, Idefics3Model, LlamaConfig

    place = tokenizer.convert_tokens_to_ids(config.place)
    if place is None or place == tokenizer.unk_token_id:
        raise ModelError("the tokenizer has no such token", where="place", got=config.place)
    if config.size % (config.patch * config.joined):
        raise ModelError("sizes don't divide", where="tower", got=config.size, expected=config.patch * config.joined)
    hidden = text.config.hidden_size
    idle = LlamaConfig(  # stands where the real one goes
        vocab_size=2, hidden_size=hidden, intermediate_size=1, num_hidden_layers=1, num_attention_heads=1, head_dim=2,
        pad_token_id=None, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    vision = {
        "image_size": config.size,
        "patch_size": config.patch,
        "hidden_size": config.hidden,
        "intermediate_size": 3 * config.hidden,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
    }
    core = Idefics3Model(
        Idefics3Config(vision_config=vision, text_config=idle, scale_factor=config.joined, image_token_id=place)
    )
    core.text_model = text
    tower = Vision(core, text, place, square(tokenizer, config, longest))
    with torch.no_grad():  # embeddings as large as the text's own
        weight = core.connector.modality_projection.proj.weight
        weight.mul_(text.get_input_embeddings().weight.float().std() / 0.02)
    return tower


def square(tokenizer: Any, config: TowerConfig, longest: int) -> Prepare:
    """Pictures for such a tower: the whole image at its size, pixels from -1 to 1, and the caption behind it."""
    place = tokenizer.convert_tokens_to_ids(config.place)

    def prepare(image: Pixels, caption: str = "") -> Picture:
        pixels = torch.tensor(image, device="cpu").permute(2, 0, 1)[None].float() / 127.5 - 1
        if pixels.shape[2:] != (config.size, config.size):
            pixels = F.interpolate(pixels, (config.size, config.size), mode="bilinear", antialias=True)
        ids = [place] * config.places + caption_ids(tokenizer, caption, longest)
        return Picture(ids, {"pixel_values": pixels[None]})

    return prepare


def save_vision(vision: Vision, config: TowerConfig, memory: Path, folder: Path) -> None:
    """Writes `vision.json` and `vision.safetensors`: a tower and the name of the text memory that it belongs to."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.to(torch.float16).contiguous() for name, value in vision.state_dict().items()}
    save_file(state, folder / "vision.safetensors")
    names = None if vision.names is None else vision.names.tolist()
    told = {"format": FORMAT, "memory": read_manifest(memory).stamp(), "tower": config.model_dump(), "names": names}
    (folder / "vision.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


@lru_cache(maxsize=2)
def load_vision(folder: Path, memory: Path = PACKAGED, models: Path | None = None) -> Vision:
    """The tower in `folder`, in front of the compressor of the text memory that it was trained for.

    Raises:
        ModelError: there is none, or it was trained for another memory.
    """
    path = folder / "vision.json"
    if not path.is_file():
        raise ModelError("there is no vision tower", where=str(folder), hint="Train one: tierline train-memory")
    told = json.loads(path.read_text(encoding="utf-8"))
    expected = {"format": FORMAT, "memory": read_manifest(memory).stamp()}
    got = {key: told.get(key) for key in expected}
    if got != expected:
        raise ModelError("the tower was trained for another memory", where=str(path), got=got, expected=expected)
    compressor = load_compressor(memory, models or default_models())
    vision = make_tower(compressor.base, compressor.tokenizer, TowerConfig.model_validate(told["tower"]))
    load_tower(vision, folder)
    vision.names = None if told["names"] is None else torch.tensor(told["names"])
    vision.eval()
    return vision


def load_tower(vision: Vision, folder: Path) -> None:
    """Puts the trained weights in `folder` into a tower of the same sizes, whatever memory they were trained for.

    Raises:
        ModelError: there are none, or they don't fit.
    """
    from safetensors.torch import load_file

    path = folder / "vision.safetensors"
    if not path.is_file():
        raise ModelError("there is no vision tower", where=str(folder), hint="Train one: tierline train-memory")
    state, own = load_file(path), vision.state_dict()
    wrong = [name for name in own if name not in state or state[name].shape != own[name].shape]
    if wrong or state.keys() != own.keys():
        raise ModelError(
            "the tower's weights don't fit", where=str(path), got=wrong or sorted(state.keys() - own.keys())
        )
    vision.load_state_dict({name: value.float() for name, value in state.items()})
