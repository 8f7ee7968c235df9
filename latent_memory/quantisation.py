"""Codes in half a byte a number.

A slot is a sum of few words' features, whose numbers are about normal: fifteen steps a number keep its angle to within
a few degrees, and the words of a slot are told apart by far wider ones. What a slot doesn't hold stays exactly zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiers.errors import SchemaError

MOST = 7


def quantise(codes: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Symmetric four-bit numbers with one scale for each row, two to a byte.

    Args:
        codes: (N, C), C even.

    Returns:
        Packed numbers (N, C / 2), the first of two in the low half, and scales (N,). A scale is a number that half
        precision holds, so that it can be stored as one and nothing is lost.

    Raises:
        SchemaError: when C is odd.
    """
    if codes.shape[1] % 2:
        raise SchemaError("a code of an odd length can't be packed", got=codes.shape[1], expected="an even number")
    least = float(np.finfo(np.float16).tiny)
    scale = np.maximum(np.abs(codes).max(axis=1) / MOST, least).astype(np.float16).astype(np.float32)
    steps = np.rint(codes / scale[:, None]).clip(-MOST, MOST).astype(np.int8)
    return (steps[:, ::2] & 15) | (steps[:, 1::2] << 4), scale


def dequantise(packed: NDArray[Any], scale: NDArray[Any]) -> NDArray[np.float32]:
    """What `quantise` was given, but for rounding: (N, C) of packed numbers (N, C / 2) and scales (N,)."""
    packed = np.asarray(packed, np.int8)
    steps = np.stack([packed << 4 >> 4, packed >> 4], -1).reshape(len(packed), -1)
    values: NDArray[np.float32] = steps.astype(np.float32) * np.asarray(scale, np.float32)[:, None]
    return values
