"""Images as evidence: an image, with or without a caption, becomes one latent like a text does.

An image-text model of transformers is a vision tower, a projector and a language model. The language model becomes
the compressor's base; tower and projector stand beside it, frozen unless they are trained, and give the embeddings
that stand where the text has an image's places. Nothing here knows a model by its name. What counts is what it can do:

- `get_image_features` gives the embeddings (LLaVA, Gemma 3, Qwen2-VL and Qwen2.5-VL, Idefics3, SmolVLM, ...);
- where there is `get_rope_index`, positions are the model's own three axes over an image's patches (M-RoPE: Wang et
  al., Qwen2-VL, arXiv:2409.12191, section 2.1), counted from the first real token of a row;
- where the model takes `token_type_ids`, an image's tokens see each other in both directions by the model's own mask
  (Gemma 3, arXiv:2503.19786); elsewhere they see what stands in front of them, as those models were trained.

Legend of shape suffixes: B batch, T tokens, H hidden size of the compressor.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from latent_memory.compressor import Compressor, Encoded, _single_thread
from tiers.errors import ModelError, StageError

SHARP = 20.0
"""Inverse temperature of a place's names."""
Pixels = NDArray[np.uint8]
"""An image: (height, width, 3), RGB."""


@dataclass(frozen=True)
class Picture:
    """An image, ready for a model.

    Attributes:
        ids: Token ids, with a place for each of the image's embeddings, and its caption.
        pixels: What the vision tower is given, with one image on the first axis.
    """

    ids: list[int]
    pixels: Mapping[str, Tensor]


Prepare = Callable[[Pixels, str], Picture]


class Vision(nn.Module):  # type: ignore[misc]
    """The image half of an image-text model.

    Attributes:
        names: Tokens of the compressor's that an image's places may be called by, (n,); all where there is none. A
            latent holds words, and those of an image are the ones that its embeddings are nearest to.

    Args:
        core: The model without its output head; its language model is left out of this module's parameters.
        text: That language model.
        place: Id of the token that keeps a place for an image's embedding.
        prepare: Makes a picture of an image and its caption.
    """

    def __init__(self, core: Any, text: nn.Module, place: int, prepare: Prepare) -> None:
        super().__init__()
        object.__setattr__(self, "core", core)  # not a submodule: the language model in it belongs to the compressor
        self.parts = nn.ModuleDict({name: part for name, part in core.named_children() if part is not text})
        self.place, self.prepare = place, prepare
        self.names: Tensor | None = None
        self.requires_grad_(False)
        self._typed = "token_type_ids" in inspect.signature(core.forward).parameters

    def features(self, pictures: Sequence[Picture]) -> list[Tensor]:
        """The embeddings of each image, (n, H).

        Raises:
            ModelError: an image has not as many embeddings as places.
        """
        shapes = [{name: value.shape for name, value in picture.pixels.items()} for picture in pictures]
        if len(pictures) > 1 and any(shape != shapes[0] for shape in shapes):
            return [self.features([picture])[0] for picture in pictures]  # sizes differ: padding would be seen
        device = next(self.parameters()).device
        pixels = {name: torch.cat([p.pixels[name] for p in pictures]).to(device) for name in pictures[0].pixels}
        output = self.core.get_image_features(**pixels, return_dict=True)
        rows = torch.cat([part.reshape(-1, part.shape[-1]) for part in output.pooler_output])
        places = [picture.ids.count(self.place) for picture in pictures]
        if len(rows) != sum(places):
            raise ModelError("an image has other places than embeddings", got=sum(places), expected=len(rows))
        return list(rows.split(places))

    def look(self, pictures: Sequence[Picture]) -> Images:
        """The images of a batch, one for each of its rows."""
        grids = [picture.pixels["image_grid_thw"] for picture in pictures if "image_grid_thw" in picture.pixels]
        features = torch.cat(self.features(pictures))
        return Images(self, features, torch.cat(grids).to(features.device) if grids else None)

    def see(self, compressor: Compressor, pictures: Sequence[Picture]) -> Encoded:
        """What a latent and a retrieval vector are made of, for each picture; `compressor` has this model's text."""
        encoded: Encoded = compressor([picture.ids for picture in pictures], "evidence", self.look(pictures))
        return encoded


@dataclass(frozen=True)
class Images:
    """The embeddings of a batch's images, in the order of its rows.

    Attributes:
        vision: What made them.
        features: All of them, (sum of places, H).
        grids: For each image its patches in time, height and width, where the model's positions need them.
    """

    vision: Vision
    features: Tensor
    grids: Tensor | None = None

    def alike(self, table: Tensor) -> Tensor:
        """How well each name fits each place: cosines with the embeddings in `table` (V, H), sharpened; (places, n)."""
        centre = table.float().mean(0)
        names = table if self.vision.names is None else table[self.vision.names]
        return (
            SHARP * F.normalize(self.features.float() - centre, dim=-1) @ F.normalize(names.float() - centre, dim=-1).T
        )

    def named(self, ids: Sequence[Sequence[int]], table: Tensor) -> list[list[int]]:
        """The batch's rows with a word in each place."""
        best = self.alike(table).argmax(1)
        names = iter((best if self.vision.names is None else self.vision.names[best]).tolist())
        return [[next(names) if token == self.vision.place else token for token in row] for row in ids]

    def place(self, ids_BT: Tensor, mask_BT: Tensor, embedded_BTH: Tensor) -> Tensor:
        """`embedded_BTH` with the images in their places."""
        places_BT1 = (mask_BT & (ids_BT == self.vision.place))[..., None]
        return embedded_BTH.masked_scatter(places_BT1, self.features.to(embedded_BTH.dtype))

    def run(self, ids_BT: Tensor, attention_mask: Tensor, position_ids: Tensor, **rest: Any) -> Any:
        """Runs the model over embeddings with one token more, the memory token, at the end."""
        core = self.vision.core
        kinds = F.pad((ids_BT == self.vision.place).long(), (0, 1)) * attention_mask
        if self.grids is not None and hasattr(core, "get_rope_index"):
            position_ids, _ = core.get_rope_index(
                F.pad(ids_BT, (0, 1)), mm_token_type_ids=kinds, image_grid_thw=self.grids, attention_mask=attention_mask
            )
        if self.vision._typed:
            rest["token_type_ids"] = kinds
        return core(attention_mask=attention_mask, position_ids=position_ids, **rest)


def encode_images(
    compressor: Compressor, vision: Vision, pictures: Sequence[Picture], batch: int = 16
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Codes (N, C) and retrieval vectors (N, R) of pictures in their order, as `compressor.encode` has of texts."""
    order = sorted(range(len(pictures)), key=lambda i: len(pictures[i].ids))
    codes = np.zeros((len(pictures), compressor.config.code_size), np.float32)
    vectors = np.zeros((len(pictures), compressor.config.retrieval_dim), np.float32)
    with torch.inference_mode(), _single_thread():
        for begin in range(0, len(order), batch):
            part = order[begin : begin + batch]
            encoded = vision.see(compressor, [pictures[i] for i in part])
            codes[part] = encoded.code.cpu().numpy()
            vectors[part] = compressor.vectors(encoded).cpu().numpy()
    return codes, vectors


def take_apart(model: Any, processor: Any, longest: int = 128) -> tuple[Any, Vision]:
    """An image-text model as a base for `Compressor`, and its image half.

    Args:
        model: What `AutoModelForImageTextToText` loads.
        processor: What `AutoProcessor` loads.
        longest: Longest caption in tokens.

    Raises:
        ModelError: it can't give images' embeddings.
    """
    core, place = model.model, getattr(model.config, "image_token_id", None)
    if place is None or not hasattr(core, "get_image_features"):
        raise ModelError("the model reads no images", where=type(model).__name__, expected="an image-text model")
    text = core.get_decoder()
    return SimpleNamespace(model=text), Vision(core, text, place, with_processor(processor, longest))


def image_marks(processor: Any) -> str:
    """The text that a processor wants where an image is: its token, with what the chat template puts around it."""
    token = str(getattr(processor, "boi_token", None) or processor.image_token)
    if getattr(processor, "chat_template", None):
        content = [{"type": "text", "text": "\x00"}, {"type": "image"}, {"type": "text", "text": "\x01"}]
        shown = processor.apply_chat_template([{"role": "user", "content": content}])
        between = shown.partition("\x00")[2].partition("\x01")[0].strip()
        if token in between:
            return str(between)
    return token


def with_processor(processor: Any, longest: int) -> Prepare:
    """Pictures by a model's own processor, which says how many places an image needs."""
    marks = image_marks(processor)

    def prepare(image: Pixels, caption: str = "") -> Picture:
        caption_ids(processor.tokenizer, caption, longest)
        text = f"{marks} {caption.strip()}" if caption.strip() else marks
        made = processor(text=text, images=[image], return_tensors="pt", add_special_tokens=False)
        names = ("pixel_values", "image_grid_thw", "pixel_attention_mask", "image_sizes")
        return Picture(made["input_ids"][0].tolist(), {name: made[name] for name in names if name in made})

    return prepare


def caption_ids(tokenizer: Any, caption: str, longest: int) -> list[int]:
    """Token ids of a caption, which may be empty; one of more than `longest` tokens is an error, never cut."""
    ids: list[int] = tokenizer(f" {caption.strip()}", add_special_tokens=False)["input_ids"] if caption.strip() else []
    if len(ids) > longest:
        raise StageError(
            "a caption doesn't fit into one latent", where=repr(caption[:40]), got=len(ids), expected=f"≤ {longest}"
        )
    return ids
