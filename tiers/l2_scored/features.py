"""What the distilled scorer sees of a text: hashed words and pairs of neighbours, or a vector that stands for it.

No model and no vocabulary: a token's place follows from its hash, so any worker computes the same features without
having seen the corpus (feature hashing: Weinberger et al. 2009, section 2). A feature counts once in a document,
however often it is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tiers.l2_scored import kernels
from tiers.text_buffers import text_buffers

BITS = 17
"""Hashed features fall into 2**BITS places."""
BATCH = 1 << 22
"""Bytes of text whose features are found at once, if they are of more than one text."""
Bytes = npt.NDArray[np.uint8]
Counts = npt.NDArray[np.int64]


class Reading(NamedTuple):
    """How the kernels read bytes: the kind of each, and its folded form."""

    kinds: Bytes
    folded: Bytes


@dataclass(frozen=True)
class Features:
    """Features of N texts.

    Attributes:
        starts: int64, N + 1: text i has the places from `starts[i]` to `starts[i + 1]`.
        places: uint32, below 2**BITS, distinct in each text.
        vectors: float64, (N, V); V is 0 where there are places.
    """

    starts: Counts
    places: npt.NDArray[np.uint32]
    vectors: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def take(self, rows: npt.NDArray[np.int64]) -> Features:
        """The features of some of the texts, in the order given."""
        counts = np.diff(self.starts)[rows]
        starts = np.concatenate([[0], np.cumsum(counts)])
        at = np.arange(starts[-1]) + np.repeat(self.starts[rows] - starts[:-1], counts)
        return Features(starts, self.places[at], self.vectors[rows])


def features(texts: pa.ChunkedArray, limit: int) -> Features:
    """The features of the first `limit` bytes of each text."""
    counts, places = [np.zeros(0, np.int64)], [np.zeros(0, np.uint32)]
    for data, offsets in text_buffers(texts, BATCH, limit):
        found = np.empty(2 * int(np.minimum(np.diff(offsets), limit).sum()), np.uint32)
        count = np.empty(len(offsets) - 1, np.int64)
        total = kernels.see(data, offsets, limit, *reading(), 1 << BITS, found, count)
        counts, places = [*counts, count], [*places, found[:total].copy()]
    starts = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
    return Features(starts, np.concatenate(places), np.zeros((len(starts) - 1, 0)))


@lru_cache(maxsize=1)
def reading() -> Reading:
    """How bytes are read.

    A letter or digit goes on a word, whatever the script: of UTF-8, the first byte of two to four tells all that the
    kernels need. Those of Latin-1's and general punctuation (C2, E2), of kana and ideographs (E3 to E9), of wide forms
    (EF) and of what lies beyond the first plane, emoji say (F0 on), begin a token of one character. Letters are
    folded in ASCII alone.
    """
    kinds, folded = np.zeros(256, np.uint8), np.arange(256).astype(np.uint8)
    for byte in range(0x21, 0x7F):
        kinds[byte] = kernels.WORD if chr(byte).isalnum() or chr(byte) == "_" else kernels.SIGN
        folded[byte] = ord(chr(byte).lower())
    kinds[0x80:0xC0] = kernels.WORD | kernels.INSIDE
    kinds[0xC0:] = kernels.WORD
    kinds[[0xC2, 0xE2, 0xEF]] = kinds[0xE3:0xEA] = kinds[0xF0:] = kernels.SIGN
    return Reading(kinds, folded)


def joined(first: Features, second: Features) -> Features:
    """The features of the texts of both, in their order."""
    return Features(
        np.concatenate([first.starts, first.starts[-1] + second.starts[1:]]),
        np.concatenate([first.places, second.places]),
        np.concatenate([first.vectors, second.vectors]),
    )


def dense(vectors: pa.ChunkedArray) -> Features:
    """Features that are given vectors."""
    rows = vectors.combine_chunks()
    flat = pc.list_flatten(rows).to_numpy(zero_copy_only=False).astype(np.float64)
    return Features(np.zeros(len(rows) + 1, np.int64), np.zeros(0, np.uint32), _matrix(flat, len(rows)))


def columns_of(seen: Features) -> dict[str, pa.Array]:
    """Features as two columns of a table."""
    starts = np.arange(len(seen) + 1) * seen.vectors.shape[1]
    return {
        "places": pa.LargeListArray.from_arrays(pa.array(seen.starts), pa.array(seen.places)),
        "vectors": pa.LargeListArray.from_arrays(pa.array(starts), pa.array(seen.vectors.reshape(-1))),
    }


def features_in(table: pa.Table) -> Features:
    """The features in a table that has these columns."""
    places, vectors = (table[name].combine_chunks() for name in ("places", "vectors"))
    starts = np.concatenate([[0], np.cumsum(pc.list_value_length(places).to_numpy())]).astype(np.int64)
    return Features(starts, places.flatten().to_numpy(), _matrix(vectors.flatten().to_numpy(), len(vectors)))


def _matrix(flat: npt.NDArray[np.float64], rows: int) -> npt.NDArray[np.float64]:
    return flat.reshape(rows, len(flat) // max(1, rows))
