"""Codes in few bytes: words in three bytes each, their keys in two to four bits a number.

The numbers of a key have mean zero and variance one, and are about normal. Fifteen steps a number keep its direction to
within a few degrees, eight levels to within 11, four to within 20. What a slot doesn't hold is written as no word and
the lowest numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latent_memory.reader import WORD_BYTES
from latent_memory.words import NO_WORD
from tiers.errors import SchemaError

if TYPE_CHECKING:
    from latent_memory.compressor import CompressorConfig

LEVELS = {
    2: torch.tensor([-1.5104, -0.4528, 0.4528, 1.5104]),
    3: torch.tensor([-2.152, -1.344, -0.7560, -0.2451, 0.2451, 0.7560, 1.344, 2.152]),
    4: torch.arange(-7.5, 8) * 0.3352,
}
"""The best levels for a normal variable of variance 1 (of four bits the best that are equally spaced): Max, "Quantizing
for Minimum Distortion" (IRE Transactions on Information Theory 6(1), 1960), tables I and II."""
BYTE = 256


def quantise(codes: NDArray[np.float32], config: CompressorConfig) -> NDArray[np.int8]:
    """What is stored of codes (N, C): (N, `config.stored_bytes`), words first, lowest bytes and bits first.

    Raises:
        SchemaError: when codes are of other sizes than `config` says.
    """
    if codes.shape[1] != config.code_size:
        raise SchemaError("a code of this length can't be packed", got=codes.shape[1], expected=config.code_size)
    words = codes[:, : config.words].round().astype(np.int64) - NO_WORD  # none is 0
    spelled = words[..., None] // BYTE ** np.arange(WORD_BYTES) % BYTE
    steps = _steps(torch.from_numpy(np.ascontiguousarray(codes[:, config.words :], np.float32)), config.bits)
    symbols = steps.numpy().astype(np.uint8)[..., None]
    bits = np.unpackbits(symbols, axis=-1, count=config.bits, bitorder="little")
    bits = bits.reshape(len(codes), config.words * config.key * config.bits)
    packed = np.packbits(bits, axis=1, bitorder="little")
    spelled = spelled.reshape(len(codes), config.words * WORD_BYTES).astype(np.uint8)
    return np.concatenate([spelled, packed], 1).view(np.int8)


def dequantise(packed: NDArray[Any], config: CompressorConfig) -> NDArray[np.float32]:
    """What `quantise` was given, but for the rounding of keys: (N, C)."""
    raw = np.ascontiguousarray(packed, np.int8).view(np.uint8)
    border = config.words * WORD_BYTES
    spelled = raw[:, :border].reshape(len(raw), config.words, WORD_BYTES).astype(np.int64)
    words = (spelled * BYTE ** np.arange(WORD_BYTES)).sum(-1) + NO_WORD
    bits = np.unpackbits(raw[:, border:], axis=1, bitorder="little")
    symbols = bits.reshape(len(raw), config.words, config.key, config.bits) @ 2 ** np.arange(config.bits)
    keys = LEVELS[config.bits].numpy()[symbols]
    keys = keys * (words != NO_WORD)[..., None]
    return np.concatenate([words, keys.reshape(len(raw), config.words * config.key)], 1).astype(np.float32)


def rounded(codes: Tensor, config: CompressorConfig) -> Tensor:
    """What is read of codes (N, C) that were stored, with the gradient of those that weren't (the straight-through
    estimator of Bengio, Leonard and Courville, arXiv:1308.3432)."""
    words, keys = codes[:, : config.words], codes[:, config.words :]
    with torch.no_grad():
        held = (words != NO_WORD).repeat_interleave(config.key, 1)
        levels = LEVELS[config.bits].to(keys.device)
        change = (levels[_steps(keys.float(), config.bits)] - keys) * held
    return torch.cat([words, keys + change], 1)


def _steps(numbers: Tensor, bits: int) -> Tensor:
    """The number of each one's level."""
    levels = LEVELS[bits].to(numbers.device)
    return torch.bucketize(numbers.contiguous(), (levels[1:] + levels[:-1]) / 2)
