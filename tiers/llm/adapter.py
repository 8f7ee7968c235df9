"""LoRA adapters on disk: peft's files, and beside them `base.json`, which says what model they were trained on.

An adapter means nothing to another model than its base, so that loading it with one is an error. It is added to the
base's weights (Hu et al., arXiv 2106.09685, section 4.1), so that it costs nothing when the model runs.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import xxhash

from tiers.errors import ModelError

BASE = "base.json"


@dataclass(frozen=True)
class Identity:
    """A model's name, and the hash of what it computes with."""

    name: str
    hash: str


def model_identity(name: str, model: Any, tokenizer: Any) -> Identity:
    """xxh3-128 over the vocabulary and the weights, whatever file they came from.

    Weights are hashed as bfloat16, in which known models are stored, so that the dtype they run in doesn't matter.
    """
    import torch

    digest = xxhash.xxh3_128(json.dumps(sorted(tokenizer.get_vocab().items())).encode())
    for key, weight in sorted(model.named_parameters()):
        digest.update(f"{key}{tuple(weight.shape)}".encode())
        digest.update(weight.detach().to(torch.bfloat16).view(torch.uint8).numpy())
    return Identity(name, digest.hexdigest())


def write_base(base: Identity, folder: Path) -> None:
    """Says beside an adapter what it was trained on."""
    (folder / BASE).write_text(json.dumps(asdict(base), indent=2) + "\n", encoding="utf-8")


def adapter_hash(folder: Path) -> str:
    """xxh3-128 over an adapter's configuration and weights."""
    digest = xxhash.xxh3_128()
    for path in sorted(folder.glob("adapter_*")):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def adapted(name: str, model: Any, tokenizer: Any, folder: Path) -> Any:
    """The model `name` with the adapter in `folder` added to its weights.

    Raises:
        ModelError: There is no adapter, it can't be read, or it was trained on another model.
    """
    try:
        expected = Identity(**json.loads((folder / BASE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        hint = "Train one: tierline train-editor"
        raise ModelError("there is no adapter", where=str(folder), got=str(error), hint=hint) from error
    got = model_identity(name, model, tokenizer)
    if got.hash != expected.hash:
        raise ModelError(
            "the model isn't the one that the adapter was trained on",
            where=str(folder),
            got=f"{got.name} ({got.hash})",
            expected=f"{expected.name} ({expected.hash})",
            hint="Name the adapter's base, or train an adapter of this model",
        )
    from peft import PeftModel
    from safetensors import SafetensorError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # what peft asks transformers for is about to be renamed
            return PeftModel.from_pretrained(model, str(folder)).merge_and_unload()
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelError("the adapter can't be loaded", where=str(folder), got=str(error)) from error
