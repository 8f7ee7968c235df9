"""Word shingles, MinHash signatures and Jaccard similarity, of whole columns of texts.

*Words* are runs of letters, digits and spacing marks, cut at 64, in lower case and without diacritics, so that
neither punctuation nor case nor layout nor accents set two copies apart. In scripts that put no space between words
each character is one. A *shingle* is a run of n words, as a 32-bit hash; a text of fewer than n words has one, a text
without words none.

Arrays carry their shape as a suffix: D documents, S shingles, B bands, P = B times R permutations.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from tiers.l1_filtered.kernels import duplicates as kernels

Hashes = npt.NDArray[np.uint32]
Keys = npt.NDArray[np.uint64]
Numbers = npt.NDArray[np.int64]

_UNSPACED = ((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3040, 0x30FF), (0x3400, 0x9FFF), (0xF900, 0xFAFF))
"""Thai and Lao, Myanmar, Khmer, Kana, Han."""


@lru_cache(maxsize=2)
def folding(digits: bool = False) -> Hashes:
    """What each code point counts as in a word, 0 if it ends one; with `digits`, all digits count as 0."""
    table = np.zeros(kernels.FOLDED, np.uint32)
    for code in range(kernels.FOLDED):
        kind = unicodedata.category(chr(code))
        if kind in ("Mn", "Me"):
            table[code] = kernels.SKIPPED
        elif kind[0] in "LN" or kind == "Mc":
            table[code] = ord("0") if digits and kind == "Nd" else _folded(chr(code))
    for first, last in _UNSPACED:
        part = table[first : last + 1]
        part[(part != 0) & (part != kernels.SKIPPED)] |= kernels.ALONE
    return table


def _folded(character: str) -> int:
    """The lower case of a character without its diacritics."""
    lower = character.lower()
    parts = unicodedata.normalize("NFD", lower)
    return ord(parts[0] if all(unicodedata.category(part)[0] == "M" for part in parts[1:]) else lower[0])


def utf8(texts: pa.ChunkedArray | pa.Array) -> tuple[npt.NDArray[np.uint8], Numbers]:
    """The bytes of a column of text, and where in them its documents begin [D + 1]."""
    array = texts.cast(pa.large_string())
    array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    _, offsets, data = array.buffers()
    if len(array) == 0 or data is None:
        return np.empty(0, np.uint8), np.zeros(len(array) + 1, np.int64)
    return np.frombuffer(data, np.uint8), np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]


@dataclass(frozen=True)
class MinHash:
    """MinHash signatures cut in bands (Broder 1997; Leskovec et al., Mining of Massive Datasets, section 3.4).

    Each permutation is a multiplication by a fixed odd number and an addition, modulo 2^32 (Dietzfelbinger et al.
    1997), so a signature is the same on every machine and in every version.

    Attributes:
        n: Words in a shingle.
        bands: Groups of rows; two documents become candidates where all rows of one group agree.
        rows: Rows in a band.
    """

    n: int
    bands: int
    rows: int

    def keys(self, texts: pa.ChunkedArray | pa.Array) -> tuple[Keys, Numbers]:
        """One 64-bit key for each document and band [D, B], and how many shingles each document has [D].

        A document without shingles has keys of no meaning.
        """
        data, offsets = utf8(texts)
        factors_P, terms_P = _permutations(self.bands * self.rows)
        keys_DB, sizes_D = np.empty((len(texts), self.bands), np.uint64), np.empty(len(texts), np.int64)
        kernels.signatures(data, offsets, folding(), self.n, factors_P, terms_P, keys_DB, sizes_D)
        return keys_DB, sizes_D


@lru_cache(maxsize=8)
def _permutations(count: int) -> tuple[Hashes, Hashes]:
    """`count` odd factors and terms of 32 bits, drawn by hashing their positions [P]."""
    drawn = [xxhash.xxh3_64_intdigest(b"minhash" + i.to_bytes(4, "little")) for i in range(count)]
    return np.array([d >> 32 | 1 for d in drawn], np.uint32), np.array([d & 0xFFFFFFFF for d in drawn], np.uint32)


@dataclass(frozen=True)
class ShingleSets:
    """The distinct shingles of some documents.

    Of a document with more than a limit only those below a bound are there. Hashes being uniform, two documents that
    are both reduced to the smaller of their bounds have the same random sample of their union, and the estimate of
    their similarity is unbiased.

    Attributes:
        shingles: All of them, one document after the other, in no order.
        starts: Where each document's begin [D + 1].
        bounds: What each document's lie below; 2^32 if all are there [D].
    """

    shingles: Hashes
    starts: Numbers
    bounds: Numbers

    @classmethod
    def of(cls, texts: pa.ChunkedArray | pa.Array, n: int, limit: int) -> ShingleSets:
        """The shingles of `n` words of each text, at most about `limit` of each."""
        data, offsets = utf8(texts)
        shingles = np.empty((offsets[-1] - offsets[0]) // 2 + 2 * len(texts), np.uint32)
        sizes, bounds = np.empty(len(texts), np.int64), np.empty(len(texts), np.int64)
        total = kernels.distinct(data, offsets, folding(), n, limit, shingles, sizes, bounds)
        return cls(shingles[:total].copy(), _starts(sizes), bounds)

    @classmethod
    def concat(cls, sets: Sequence[ShingleSets]) -> ShingleSets:
        """The documents of all `sets`, in order."""
        shingles = np.concatenate([part.shingles for part in sets])
        starts = _starts(np.concatenate([np.diff(part.starts) for part in sets]))
        return cls(shingles, starts, np.concatenate([part.bounds for part in sets]))

    def jaccard(self, first: int, second: int) -> float:
        """Shared shingles over all shingles of two documents, in [0, 1]."""
        ours, theirs = (self.shingles[self.starts[d] : self.starts[d + 1]] for d in (first, second))
        bound = min(self.bounds[first], self.bounds[second])
        ours, theirs = ours[ours < bound], theirs[theirs < bound]
        shared = len(np.intersect1d(ours, theirs, assume_unique=True))
        union = len(ours) + len(theirs) - shared
        return shared / union if union else 0.0


def _starts(sizes: Numbers) -> Numbers:
    starts = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=starts[1:])
    return starts
