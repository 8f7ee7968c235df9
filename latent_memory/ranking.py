"""Joins the orders that several searches give."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)

CONSTANT = 60
"""As in the paper, where it was fixed before anything was measured."""


def fuse(orders: Sequence[Sequence[Key]]) -> list[Key]:
    """Reciprocal rank fusion: the sum of ``1 / (60 + rank)`` over the orders that hold a row, greatest first.

    Source: Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning
    Methods" (SIGIR 2009). Ranks count from 1; of equal sums, what an earlier order holds first goes first.
    """
    sums: dict[Key, float] = {}
    for order in orders:
        for rank, key in enumerate(order, 1):
            sums[key] = sums.get(key, 0.0) + 1 / (CONSTANT + rank)
    return sorted(sums, key=lambda key: -sums[key])
