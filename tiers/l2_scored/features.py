"""What the distilled scorer sees of a text: hashed word n-grams and a few measures of its form.

No model and no vocabulary: a word's place follows from its hash, so any worker computes the same features without
having seen the corpus.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow.compute as pc
import xxhash

BITS = 12
"""Hashed features fall into 2**BITS places."""

_TOKEN = r"\p{Han}|[\p{L}\p{N}\p{M}_]+|[^\p{L}\p{N}\p{M}_\s]"
_STOP_WORDS = (
    "a an and are as at be because been but by can could do does each for from had has have he if in into is it its "
    "may more not of on one or other she so such than that the their then there these they this to was we were what "
    "when where which while who why will with would you your"
).split()
_ODD = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio: spreads what it multiplies over the high bits

FORMS = (
    "log_words", "word_chars", "distinct", "stop_words", "digits", "upper", "symbols", "line_words", "sentence_words",
)  # fmt: skip
"""The measures of form, in the order of their columns."""


@dataclass(frozen=True)
class Features:
    """Features of N texts.

    Attributes:
        offsets: int64, N + 1: text i has the hashed features from `offsets[i]` to `offsets[i + 1]`.
        places: uint32, below 2**BITS.
        weights: float32; the weights of one text have the Euclidean norm 1.
        forms: float32, (N, len(FORMS)).
    """

    offsets: npt.NDArray[np.int64]
    places: npt.NDArray[np.uint32]
    weights: npt.NDArray[np.float32]
    forms: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def owners(self) -> npt.NDArray[np.int64]:
        """For each hashed feature, the number of its text."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))


def features(texts: Sequence[str], chars: int) -> Features:
    """The features of the first `chars` characters of each text."""
    frame = pl.DataFrame({"text": pl.Series(texts, dtype=pl.String).str.slice(0, chars)})
    frame = frame.with_columns(tokens=pl.col("text").str.to_lowercase().str.extract_all(_TOKEN))
    lengths = frame["tokens"].list.len().to_numpy().astype(np.int64)
    words = frame["tokens"].explode(empty_as_null=False)
    offsets, places, weights = _hashed(words, lengths)
    return Features(offsets, places, weights, _forms(frame))


def _hashed(
    words: pl.Series, lengths: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint32], npt.NDArray[np.float32]]:
    """Offsets, places and weights of single words and pairs; a weight grows as log(1 + count)."""
    encoded = pc.dictionary_encode(words.to_arrow())
    known = [xxhash.xxh3_64_intdigest(word.encode()) for word in encoded.dictionary.to_pylist()]
    single = np.array(known, np.uint64)[encoded.indices.to_numpy()]
    owner = np.repeat(np.arange(len(lengths), dtype=np.int64), lengths)
    adjacent = owner[1:] == owner[:-1]
    pairs = ((single[:-1] * _ODD) ^ (single[1:] >> np.uint64(7)))[adjacent] * _ODD
    place = np.concatenate([single, pairs]) >> np.uint64(64 - BITS)
    key = (np.concatenate([owner, owner[1:][adjacent]]) << BITS) | place.astype(np.int64)
    key, count = np.unique(key, return_counts=True)
    owner, weight = key >> BITS, np.log1p(count)
    norm = np.sqrt(np.bincount(owner, weight**2, minlength=len(lengths)))
    offsets = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=len(lengths)))]).astype(np.int64)
    return offsets, (key & ((1 << BITS) - 1)).astype(np.uint32), (weight / norm[owner]).astype(np.float32)


def _forms(frame: pl.DataFrame) -> npt.NDArray[np.float32]:
    """The measures of form; shares are of characters or of words, and a text without words gets zeros."""
    text, tokens = pl.col("text"), pl.col("tokens")
    words = tokens.list.len().clip(lower_bound=1)
    size = text.str.len_chars().clip(lower_bound=1)
    measures = [
        tokens.list.len().log1p(),
        text.str.count_matches(r"[\p{L}\p{N}\p{M}_]") / words,
        tokens.list.n_unique() / words,
        tokens.list.eval(pl.element().is_in(_STOP_WORDS)).list.sum() / words,
        text.str.count_matches(r"\p{N}") / size,
        text.str.count_matches(r"\p{Lu}") / size,
        text.str.count_matches(r"[^\p{L}\p{N}\p{M}_\s]") / size,
        (words / (text.str.count_matches("\n") + 1)).log1p(),
        (words / (text.str.count_matches(r"[.!?。！？]\s") + 1)).log1p(),
    ]
    columns = [measure.cast(pl.Float32).alias(name) for measure, name in zip(measures, FORMS, strict=True)]
    return frame.select(columns).to_numpy().astype(np.float32)
