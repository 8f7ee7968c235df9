"""Text made shorter by leaving out the tokens that could have been guessed.

Selective Context (Li et al., "Compressing Context to Enhance Inference Efficiency of Large Language Models", EMNLP
2023) keeps the lexical units whose self-information ``-log2 p(x_t | x_<t)`` under a causal language model is highest.
Here a unit is a token, which is the finest of the three that they try; each piece of evidence is scored by itself,
so that what a piece keeps doesn't depend on those beside it; and a fixed number of tokens is kept where they keep those
above a percentile, so that methods can be compared at the same number of tokens. LLMLingua (Jiang et al., EMNLP 2023)
prunes tokens by the same figure, inside a budget controller and segment by segment under what it kept before: neither
of that is here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from latent_memory.generator import Generator

BATCH = 8


class Weighed(NamedTuple):
    """A text's tokens and the self-information of each, in bits."""

    ids: list[int]
    bits: list[float]


@torch.inference_mode()  # type: ignore[untyped-decorator]
def self_information(generator: Generator, texts: Sequence[str]) -> list[Weighed]:
    """Weighs the tokens of each text under the frozen generator, which sees nothing but the text in front of them.

    A text's first token is given the end-of-text token. Texts are tokenised with a blank in front, as they stand in
    running text.
    """
    rows = [generator.token_ids(f" {text.strip()}") for text in texts]
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    found: list[Weighed | None] = [None] * len(rows)
    for begin in range(0, len(order), BATCH):
        part = order[begin : begin + BATCH]
        for index, bits in zip(part, _bits(generator, [rows[i] for i in part]), strict=True):
            found[index] = Weighed(rows[index], bits)
    return [weighed for weighed in found if weighed is not None]


def _bits(generator: Generator, rows: list[list[int]]) -> list[list[float]]:
    length = max(len(row) for row in rows)
    start = generator.tokenizer.eos_token_id
    ids = torch.tensor([[start, *row[:-1], *[start] * (length - len(row))] for row in rows])  # causal: pads are unseen
    states = generator.model.model(input_ids=ids, use_cache=False).last_hidden_state
    logits = generator.logits(torch.cat([state[: len(row)] for state, row in zip(states, rows, strict=True)]))
    targets = torch.tensor([token for row in rows for token in row])
    nats: Tensor = logits.logsumexp(-1) - logits.gather(1, targets[:, None])[:, 0]
    return [part.tolist() for part in (nats / math.log(2)).split([len(row) for row in rows])]


def most_informative(pieces: Sequence[Weighed], budget: int) -> list[int]:
    """The `budget` tokens of highest self-information over all pieces, in their order; at least one."""
    ids = [token for piece in pieces for token in piece.ids]
    bits = [bit for piece in pieces for bit in piece.bits]
    kept = sorted(range(len(ids)), key=lambda i: (-bits[i], i))[: max(1, budget)]
    return [ids[i] for i in sorted(kept)]
