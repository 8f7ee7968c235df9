"""What the quality rules measure of texts, and how C4 edits them: the kernels' work, from Arrow and to Arrow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tiers.l1_filtered.kernels.cleaning import Edited, LineRules, clean, edit
from tiers.l1_filtered.kernels.lines import line_quality, repeated_lines, sentences, text_quality
from tiers.l1_filtered.kernels.runs import repeated_runs
from tiers.l1_filtered.kernels.text import Characters, Text, decode, encode
from tiers.l1_filtered.kernels.words import Words, split_words
from tiers.l1_filtered.rules import C4, GopherRepetition
from tiers.l1_filtered.words import characters, entries, special_chunks
from tiers.text_buffers import text_buffers

if TYPE_CHECKING:
    from tiers.l1_filtered.quality_rules import QualityRules

_BATCH = 1 << 18
"""Bytes of text that are looked at together, if they are of more than one text: what the kernels make of them fits a
processor's cache."""

Figures = npt.NDArray[np.float64] | npt.NDArray[np.int64]


class Edits(NamedTuple):
    """Attributes:
    texts: What is left of each text.
    details: What went, in lines and characters; `None` if nothing but white space did.
    """

    texts: pa.ChunkedArray
    details: list[str | None]


class Measuring:
    """Measures texts.

    Args:
        stage: Tells the families of rules that are on; where C4 edits, FineWeb's see what it leaves.
    """

    def __init__(self, stage: QualityRules) -> None:
        self._stage = stage
        self._characters, self._special = characters(stage.unspaced == "characters"), special_chunks()
        self._stop_words = entries(stage.gopher_quality.stop_words if stage.gopher_quality else ())

    def __call__(self, texts: pa.ChunkedArray) -> pa.Table:
        """One row of signals for each text."""
        figures = [np.hstack(self._measure(batch)) for batch in _batches(texts, self._characters)]
        columns = np.concatenate(figures) if figures else np.empty((0, len(self._stage.signals)))
        arrays = [
            pa.array(column, from_pandas=True).cast(field.type)
            for column, field in zip(columns.T, self._stage.signals, strict=True)
        ]
        return pa.table(arrays, schema=pa.schema(self._stage.signals))

    def _measure(self, text: Text) -> list[Figures]:
        """The signals of each family that is on [texts, signals]."""
        stage = self._stage
        figures: list[Figures] = []
        edits = stage.c4 is not None and stage.c4.edit
        if stage.gopher_repetition or stage.gopher_quality or not edits:
            words = split_words(text, self._special)
        if stage.gopher_repetition:
            figures += _repetition(text, words, stage.gopher_repetition)
        if stage.gopher_quality:
            figures.append(text_quality(text, words, self._stop_words))
        if stage.c4:
            left = clean(text, line_rules(stage.c4))
            words_left = split_words(left.lines, self._special)
            figures += [left.stops, sentences(words_left, left.first_lines)[:, None]]
        if stage.fineweb and edits:
            counts = np.diff(words_left.bounds[left.first_lines])
            figures.append(line_quality(left.lines, left.begins, left.ends, counts, stage.fineweb.short_line))
        elif stage.fineweb:
            counts = np.diff(words.bounds)
            figures.append(line_quality(text, text.bounds[:-1], text.bounds[1:], counts, stage.fineweb.short_line))
        return figures


def _repetition(text: Text, words: Words, family: GopherRepetition) -> list[Figures]:
    sizes = np.diff(text.bounds)
    top, duplicate = ([n for n, _ in runs] for runs in (family.top_n_grams, family.duplicate_n_grams))
    runs = repeated_runs(words, sizes, np.array(top, np.int64), np.array(duplicate, np.int64))
    return [sizes[:, None], repeated_lines(text), *runs]


def line_rules(family: C4) -> LineRules:
    """Which lines fall away, for the kernels."""
    return LineRules(
        longest_word=family.max_word_length or np.iinfo(np.int64).max,
        fewest_words=family.min_words_per_line or 0,
        terminal_punctuation=family.terminal_punctuation,
        citations=family.citations,
        lorem_ipsum=family.lorem_ipsum,
        javascript=family.javascript,
        curly_bracket=family.curly_bracket,
        policies=family.policies,
    )


def edited(texts: pa.ChunkedArray, family: C4, unspaced: bool) -> Edits:
    """What C4 leaves of texts."""
    chunks: list[pa.Array] = []
    details: list[str | None] = []
    for batch in _batches(texts, characters(unspaced)):
        left = edit(batch, line_rules(family))
        data, offsets = encode(left.text)
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
        chunks.append(pa.Array.from_buffers(pa.large_string(), len(left.lines), buffers))
        details += _details(batch, left)
    return Edits(pa.chunked_array(chunks, pa.large_string()), details)


def _details(before: Text, after: Edited) -> Iterator[str | None]:
    sizes = (np.diff(text.bounds).tolist() for text in (before, after.text))
    for (first, last, cut), size, left in zip(after.lines.tolist(), *sizes, strict=True):
        yield f"{first - last} of {first} lines, {size - left} of {size} characters" if cut else None


def _batches(texts: pa.ChunkedArray, table: Characters) -> Iterator[Text]:
    """Texts as the kernels see them, in order, about `_BATCH` bytes at a time."""
    for data, offsets in text_buffers(texts, _BATCH):
        yield decode(data, offsets, table)
