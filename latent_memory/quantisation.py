"""Codes in two or four bits a number.

A slot is a sum of few words' features, whose numbers are about normal with mean zero. Fifteen steps a number keep its
angle to within a few degrees, four levels to within 20; the words of a slot are told apart by far wider ones, but what
was not trained on rounded numbers (`rounded`) is read worse from two bits. What a slot doesn't hold stays exactly zero:
in two bits, where no level is zero, an empty slot is written as numbers that are all the lowest, which no full one is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tiers.errors import SchemaError

if TYPE_CHECKING:
    from latent_memory.compressor import CompressorConfig

MOST = 7
"""Steps of four bits go from -7 to 7."""
LEVELS = torch.tensor([-1.5104, -0.4528, 0.4528, 1.5104])
"""The best four levels for a normal variable of variance 1: Max, "Quantizing for Minimum Distortion" (IRE Transactions
on Information Theory 6(1), 1960), table I."""
BORDERS = (LEVELS[1:] + LEVELS[:-1]) / 2


def quantise(codes: NDArray[np.float32], config: CompressorConfig) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Whole numbers of `config.bits` bits, several to a byte, and a scale for each row.

    Args:
        codes: (N, C).
        config: Of the compressor that made them.

    Returns:
        Packed numbers (N, C bits / 8), the first of a byte in its lowest bits, and scales (N,), each a number that half
        precision holds, so that it can be stored as one and nothing is lost.

    Raises:
        SchemaError: when C doesn't fill whole bytes and slots.
    """
    bits, slot = config.bits, config.slot_size
    if codes.shape[1] * bits % 8 or codes.shape[1] % slot:
        expected = f"a multiple of {8 // bits} and of a slot's {slot}"
        raise SchemaError("a code of this length can't be packed", got=codes.shape[1], expected=expected)
    scale, steps = _steps(torch.from_numpy(np.ascontiguousarray(codes, np.float32)).unflatten(1, (-1, slot)), bits)
    symbols = (steps.flatten(1).numpy().astype(np.uint8) & (2**bits - 1)).reshape(
        len(codes), codes.shape[1] * bits // 8, 8 // bits
    )
    packed = (symbols << np.arange(0, 8, bits, dtype=np.uint8)).sum(-1, dtype=np.uint8)
    return packed.view(np.int8), scale.flatten().numpy()


def dequantise(packed: NDArray[Any], scale: NDArray[Any], config: CompressorConfig) -> NDArray[np.float32]:
    """What `quantise` was given, but for rounding: (N, C) of packed numbers and scales (N,)."""
    bits = config.bits
    raw = np.ascontiguousarray(packed, np.int8).view(np.uint8)
    symbols = (raw[..., None] >> np.arange(0, 8, bits, dtype=np.uint8)) & (2**bits - 1)
    steps = torch.from_numpy(
        symbols.astype(np.int64).reshape(len(raw), raw.shape[1] * 8 // bits // config.slot_size, config.slot_size)
    )
    values = _values(steps, torch.from_numpy(np.asarray(scale, np.float32))[:, None, None], bits)
    whole: NDArray[np.float32] = values.flatten(1).numpy()
    return whole


def rounded(codes: Tensor, config: CompressorConfig) -> Tensor:
    """What is read of codes (N, C) that were stored, with the gradient of those that weren't (the straight-through
    estimator of Bengio, Leonard and Courville, arXiv:1308.3432)."""
    with torch.no_grad():
        scale, steps = _steps(codes.float().unflatten(1, (-1, config.slot_size)), config.bits)
        change = _values(steps, scale, config.bits).flatten(1) - codes
    return codes + change


def _steps(slots: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """The scale of rows of slots (N, S, W), (N, 1, 1), and the step of each number, (N, S, W)."""
    if bits == 4:
        scale = _half(slots.abs().amax((1, 2)) / MOST)
        return scale, (slots / scale).round().clamp(-MOST, MOST).long()
    full = slots.abs().sum(-1, keepdim=True) > 0
    scale = _half((slots.square().sum((1, 2)) / (full.sum((1, 2)) * slots.shape[-1]).clamp(min=1)).sqrt())
    return scale, torch.bucketize(slots / scale, BORDERS) * full


def _half(scale: Tensor) -> Tensor:
    return scale.clamp(min=torch.finfo(torch.float16).tiny).half().float()[:, None, None]


def _values(steps: Tensor, scale: Tensor, bits: int) -> Tensor:
    """What steps stand for; those of four bits may be given as what is left of them in four bits."""
    if bits == 4:
        return torch.where(steps > MOST, steps - 16, steps) * scale
    values = LEVELS[steps] * scale
    values[(steps == 0).all(-1)] = 0
    return values
