"""Fine-tunes a LoRA adapter of a causal language model on prompts and the replies that they are to get.

It knows tokens only, and needs nothing but torch and peft, so that the file alone trains on any machine that has them.
The loss is that of the reply's tokens (Hu et al., arXiv 2106.09685, for LoRA; its targets are all linear layers, as in
QLoRA, arXiv 2305.14314, section 4). Batches hold examples of similar length, padded on the right, where causal
attention never looks; the vocabulary is wide, so that logits are computed for the reply's positions alone.

A step's batch follows from the seed and the step's number, so that a run that goes on sees what an unbroken one would
have seen.

Legend of shape suffixes: B batch, T tokens, N tokens of replies, D hidden size.
"""

from __future__ import annotations

import json
import math
import random
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

POOL = 32
"""Batches that are parted by length together; among more, lengths fit better and batches are less random."""


class Example(NamedTuple):
    """Tokens of a prompt, and of the reply with the token that ends it."""

    prompt: Sequence[int]
    reply: Sequence[int]


@dataclass(frozen=True)
class Tuning:
    """How an adapter is trained.

    Attributes:
        rank: Of the update to each weight.
        alpha: The update's scale is `alpha / rank`.
        rate: Peak learning rate; a cosine to a twentieth of it follows the warm-up.
        warmup: Share of the run that warms up.
        batch_tokens: Tokens of a batch, padding counted; a longer example is a batch of its own.
        clip: Largest norm of the gradient.
        seed: Of the adapter's start and the order of examples.
    """

    rank: int = 8
    alpha: int = 16
    rate: float = 5e-4
    warmup: float = 0.05
    batch_tokens: int = 4096
    clip: float = 1.0
    seed: int = 0

    def rate_at(self, progress: float) -> float:
        """The learning rate when `progress` of the run, from 0 to 1, is done."""
        if progress < self.warmup:
            return self.rate * (progress / self.warmup + 0.05)
        behind = min(1.0, (progress - self.warmup) / (1 - self.warmup))
        return self.rate * (0.05 + 0.95 * (1 + math.cos(math.pi * behind)) / 2)


class Look(NamedTuple):
    """What a model makes of examples.

    Attributes:
        loss: Nats a token of the replies.
        exact: Share of the replies that greedy decoding would write exactly.
    """

    loss: float
    exact: float


def with_adapter(model: Any, tuning: Tuning) -> Any:
    """`model`, frozen, with a fresh adapter that changes nothing yet."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(tuning.seed)
    config = LoraConfig(r=tuning.rank, lora_alpha=tuning.alpha, target_modules="all-linear", task_type="CAUSAL_LM")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # what peft asks transformers for is about to be renamed
        return get_peft_model(model, config)


def batches(examples: Sequence[Example], tokens: int, seed: int) -> Iterator[list[int]]:
    """Batches, as numbers of examples, without end; each example comes once an epoch."""
    lengths = [len(prompt) + len(reply) for prompt, reply in examples]
    epoch = 0
    while True:
        rng = random.Random(f"{seed} {epoch}")
        order = rng.sample(range(len(lengths)), len(lengths))
        pool = max(1, POOL * tokens * len(lengths) // sum(lengths))
        for at in range(0, len(order), pool):
            found = list(_by_length(order[at : at + pool], lengths, tokens))
            yield from rng.sample(found, len(found))
        epoch += 1


def _by_length(numbers: Sequence[int], lengths: Sequence[int], tokens: int) -> Iterator[list[int]]:
    batch: list[int] = []
    for number in sorted(numbers, key=lambda number: lengths[number]):
        if batch and (len(batch) + 1) * lengths[number] > tokens:
            yield batch
            batch = []
        batch.append(number)
    yield batch


class Tuner:
    """A model with an adapter in training.

    Args:
        model: See `with_adapter`, on the device where it is to be trained.
        examples: What to learn.
        tuning: How.
    """

    def __init__(self, model: Any, examples: Sequence[Example], tuning: Tuning) -> None:
        self.model, self.examples, self.tuning = model, examples, tuning
        self.trained = [weight for weight in model.parameters() if weight.requires_grad]
        self.device = self.trained[0].device
        self.optimizer = torch.optim.AdamW(self.trained, lr=tuning.rate, weight_decay=0.0)
        self.steps = 0
        self._batches = batches(examples, tuning.batch_tokens, tuning.seed)

    def step(self, progress: float) -> dict[str, float]:
        """One step of the optimiser, at `progress` (0 to 1) of the run; returns its figures."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.tuning.rate_at(progress)
        batch = [self.examples[number] for number in next(self._batches)]
        self.model.train()
        logits_NV, replies_N = reply_logits(self.model, batch, self.device)
        loss = F.cross_entropy(logits_NV, replies_N)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.trained, self.tuning.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.steps += 1
        tokens = sum(len(prompt) + len(reply) for prompt, reply in batch)
        figures = {"loss": round(loss.item(), 5), "norm": round(float(norm), 4), "rate": self.tuning.rate_at(progress)}
        return {"step": self.steps, **figures, "examples": len(batch), "tokens": tokens}

    def save(self, path: Path) -> None:
        """Replaces the checkpoint in `path` as a whole."""
        weights = {name: weight for name, weight in self.model.named_parameters() if weight.requires_grad}
        state = {"weights": weights, "optimizer": self.optimizer.state_dict(), "steps": self.steps}
        partial = path.with_name(f"{path.name}.tmp")
        torch.save(state, partial)
        partial.replace(path)

    def load(self, path: Path) -> None:
        """Goes on from a checkpoint of the same examples and tuning, in a tuner that has made no step."""
        state: dict[str, Any] = torch.load(path, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["weights"], strict=False)
        self.optimizer.load_state_dict(state["optimizer"])
        self._batches = islice(self._batches, state["steps"], None)
        self.steps = state["steps"]


def reply_logits(model: Any, batch: Sequence[Example], device: Any) -> tuple[Tensor, Tensor]:
    """The logits (N, vocabulary) at the places of all replies' tokens, and these tokens (N)."""
    from peft.helpers import disable_input_dtype_casting

    longest = max(len(prompt) + len(reply) for prompt, reply in batch)
    rows = [[*prompt, *reply] for prompt, reply in batch]
    ids_BT = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows], device=device)
    asked_BT = torch.zeros_like(ids_BT, dtype=torch.bool)
    for number, (prompt, reply) in enumerate(batch):
        asked_BT[number, len(prompt) - 1 : len(prompt) + len(reply) - 1] = True
    causal = model.get_base_model()
    half = causal.dtype == torch.bfloat16
    # the adapter's weights are float32: peft would cast all that they read, autocast casts them instead
    with disable_input_dtype_casting(model, half), torch.autocast(ids_BT.device.type, torch.bfloat16, enabled=half):
        states_BTD = causal.base_model(input_ids=ids_BT, use_cache=False).last_hidden_state
        logits_NV = causal.get_output_embeddings()(states_BTD[asked_BT])
    return logits_NV.float(), torch.tensor([token for _, reply in batch for token in reply], device=device)


@torch.no_grad()  # type: ignore[untyped-decorator]
def look(model: Any, examples: Sequence[Example], batch_tokens: int) -> Look:
    """What the model makes of `examples`, each read once with its own reply; nothing is decoded."""
    model.eval()
    device = next(model.parameters()).device
    lengths = [len(prompt) + len(reply) for prompt, reply in examples]
    loss = tokens = exact = 0.0
    for numbers in _by_length(range(len(examples)), lengths, batch_tokens):
        batch = [examples[number] for number in numbers]
        logits_NV, replies_N = reply_logits(model, batch, device)
        loss += F.cross_entropy(logits_NV, replies_N, reduction="sum").item()
        tokens += len(replies_N)
        right = (logits_NV.argmax(-1) == replies_N).split([len(reply) for _, reply in batch])
        exact += sum(bool(each.all()) for each in right)
    return Look(loss / tokens, exact / len(examples))


def save_adapter(model: Any, folder: Path) -> None:
    """Writes the adapter as peft does, in half precision."""
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    state = {name: weight.half().cpu().contiguous() for name, weight in get_peft_model_state_dict(model).items()}
    save_file(state, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    told = model.peft_config["default"].to_dict()
    told |= {"target_modules": sorted(told["target_modules"]), "base_model_name_or_path": None, "inference_mode": True}
    (folder / "adapter_config.json").write_text(json.dumps(told, indent=2, sort_keys=True) + "\n", encoding="utf-8")
