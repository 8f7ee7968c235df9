"""A trained compressor on disk, and what it was trained with.

A folder holds `memory.json` (sizes, the base and the generator with a hash of their weights), `adapter.safetensors`
(both adapters, the memory token and the heads in half precision) and a model card. It belongs to one base and one
generator: with others its latents mean nothing, so that loading it with them is an error.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import xxhash

from latent_memory.compressor import Compressor, CompressorConfig
from latent_memory.generator import Generator
from tiers.errors import ModelError
from tiers.llm.adapter import Identity, model_identity
from tiers.llm.models import default_models, load_causal_lm, load_tokenizer

FORMAT = "latent-memory/7"
PACKAGED = Path(__file__).parent / "pretrained"


@dataclass(frozen=True)
class Manifest:
    """What `memory.json` says.

    Attributes:
        compressor: Sizes of the compressor.
        base: The compressor's frozen base.
        generator: The generator that reads its latents.
        generator_hidden: Size of a token that the generator reads.
        adapter: Hash of the trained weights.
    """

    compressor: CompressorConfig
    base: Identity
    generator: Identity
    generator_hidden: int
    adapter: str

    @property
    def latent_dim(self) -> int:
        """Bytes of a stored latent."""
        return self.compressor.stored_bytes

    def stamp(self) -> dict[str, str]:
        """What latents and tables made with it carry in their metadata, to be compared as a whole."""
        return {
            "format": FORMAT,
            "compressor": f"{self.base.name} {self.base.hash} {self.adapter}",
            "generator": f"{self.generator.name} {self.generator.hash}",
        }


def save_pretrained(compressor: Compressor, base: Identity, generator: Identity, folder: Path) -> None:
    """Writes `memory.json` and `adapter.safetensors`."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.to(torch.float16).contiguous() for name, value in compressor.trained_state().items()}
    save_file(state, folder / "adapter.safetensors")
    told = {
        "format": FORMAT,
        "base": asdict(base),
        "generator": asdict(generator),
        "generator_hidden": compressor.generator_head.out_features,
        "compressor": compressor.config.model_dump(),
    }
    (folder / "memory.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def read_manifest(folder: Path = PACKAGED) -> Manifest:
    """Reads what a trained compressor says about itself.

    Raises:
        ModelError: when there is none, or it was written in another format.
    """
    path = folder / "memory.json"
    if not path.is_file():
        raise ModelError("there is no trained compressor", where=str(folder), hint="Train one: tierline train-memory")
    told = json.loads(path.read_text(encoding="utf-8"))
    if told.get("format") != FORMAT:
        raise ModelError("the compressor has another format", where=str(path), got=told.get("format"), expected=FORMAT)
    return Manifest(
        compressor=CompressorConfig.model_validate(told["compressor"]),
        base=Identity(**told["base"]),
        generator=Identity(**told["generator"]),
        generator_hidden=told["generator_hidden"],
        adapter=xxhash.xxh3_128_hexdigest((folder / "adapter.safetensors").read_bytes()),
    )


def _checked(expected: Identity, models: Path, dtype: str) -> tuple[Any, Any]:
    model, tokenizer = load_causal_lm(expected.name, models, dtype=dtype)
    got = model_identity(expected.name, model, tokenizer)
    if got != expected:
        raise ModelError(
            "the model isn't the one that the memory was trained with",
            where=expected.name,
            got=got.hash,
            expected=expected.hash,
            hint="Fetch the recorded weights, or train a memory with these",
        )
    return model, tokenizer


def load_weights(compressor: Compressor, folder: Path) -> None:
    """Puts the trained weights in `folder` into a compressor of the same sizes.

    Raises:
        ModelError: when they don't fit.
    """
    from safetensors.torch import load_file

    state = {name: value.float() for name, value in load_file(folder / "adapter.safetensors").items()}
    expected = compressor.trained_state().keys()
    if state.keys() != expected:
        raise ModelError("the trained weights don't fit", where=str(folder), got=sorted(state.keys() ^ expected))
    compressor.load_state_dict(state, strict=False)


@lru_cache(maxsize=2)
def load_compressor(folder: Path = PACKAGED, models: Path | None = None) -> Compressor:
    """The trained compressor in `folder`, in float32; one copy for each process.

    Raises:
        ModelError: when its base isn't there, or isn't the one that it was trained on.
    """
    manifest = read_manifest(folder)
    base, tokenizer = _checked(manifest.base, models or default_models(), "float32")
    speaking = load_tokenizer(manifest.generator.name, models or default_models())
    compressor = Compressor(base, tokenizer, manifest.compressor, manifest.generator_hidden, 1.0, speaking)
    load_weights(compressor, folder)
    compressor.eval().requires_grad_(False)
    return compressor


@lru_cache(maxsize=2)
def load_generator(folder: Path = PACKAGED, models: Path | None = None) -> Generator:
    """The generator that the compressor in `folder` was trained for; one copy for each process.

    Raises:
        ModelError: when it isn't there, or isn't that one.
    """
    return Generator(*_checked(read_manifest(folder).generator, models or default_models(), "bfloat16"))
