"""Where texts and benchmarks share words: n-grams of benchmarks as hashes, and their search in a batch of texts.

A word is a run of letters and digits in lower case, so that neither case nor punctuation nor layout hides a copy; in
scripts without spaces each character is one. Arrays carry their shape as a suffix: W words of all texts of a batch.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xxhash

from tiers.errors import SourceError
from tiers.l1_filtered.benchmark_items import Item, read_items
from tiers.l1_filtered.hash_index import HashIndex
from tiers.l1_filtered.word_hashes import WORD, Hashes, hash_runs, hash_words
from tiers.reference import Reference


@dataclass(frozen=True)
class Span:
    """Words of a text that are a benchmark's.

    Attributes:
        start: The first character.
        end: The character behind the last one.
        words: How many words they are.
        item: The number of the item where the first of them stand.
    """

    start: int
    end: int
    words: int
    item: int


def composed(text: str) -> str:
    """`text` in NFC, to which the positions of spans refer."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _folded(text: str) -> str:
    """`text` in lower case, of the same length."""
    lower = text.lower()
    if len(lower) == len(text):
        return lower
    return "".join(low if len(low := character.lower()) == 1 else character for character in text)


def _words(text: str) -> Hashes:
    return hash_words(WORD.findall(_folded(text)))


class BenchmarkIndex:
    """The n-grams of benchmarks, ready to be searched for.

    An item of fewer than `n` words is found where all of them stand in a row; its first `min_words` words lead to it.
    It takes 14 bytes for each n-gram, and the places of the items.

    Args:
        benchmarks: Files by the names of the benchmarks.
        fields: The keys whose strings count; all do where there are none.
        n: Words in an n-gram.
        min_words: Items of fewer words are passed over.
        max_items: An n-gram that stands in more items of one benchmark is passed over.

    Raises:
        SourceError: a benchmark can't be read, or has no item to look for.
    """

    def __init__(
        self,
        benchmarks: Mapping[str, Reference],
        fields: tuple[str, ...],
        n: int,
        min_words: int,
        max_items: int | None,
    ) -> None:
        self._n, self._anchor = n, min_words
        self.places: list[tuple[str, str]] = []
        self._short: list[tuple[int, Hashes]] = []
        grams, owners = [np.empty(0, np.uint64)], [np.empty(0, np.int32)]
        for name in sorted(benchmarks):
            known = len(self.places)
            some = list(self._add(read_items(name, benchmarks[name], fields)))
            if len(self.places) == known:
                raise SourceError(
                    f"the benchmark has no string of {min_words} words or more",
                    where=name,
                    expected=fields or None,
                    hint="Are `fields` those of this file?",
                )
            found = np.concatenate([np.empty(0, np.uint64), *(runs for _, runs in some)])
            items = np.repeat(np.array([item for item, _ in some], np.int32), [len(runs) for _, runs in some])
            if max_items is not None:
                _, at, counts = np.unique(found, return_inverse=True, return_counts=True)
                rare = counts[at] <= max_items
                found, items = found[rare], items[rare]
            grams.append(found)
            owners.append(items)
        self._long = HashIndex(np.concatenate(grams), np.concatenate(owners))
        anchors = np.array([hash_runs(words[:min_words], min_words)[0] for _, words in self._short], np.uint64)
        self._anchors = HashIndex(anchors, np.arange(len(anchors), dtype=np.int32))
        self._same_anchor: dict[int, list[int]] = {}
        for number, first in zip(range(len(anchors)), self._anchors.find(anchors)[1].tolist(), strict=True):
            self._same_anchor.setdefault(first, []).append(number)

    def _add(self, items: Iterable[Item]) -> Iterator[tuple[int, Hashes]]:
        """Takes up items, each text once; gives the distinct n-grams of the long ones."""
        known: set[bytes] = set()
        for item in items:
            words = _words(composed(item.text))
            digest = xxhash.xxh3_128_digest(words.tobytes())
            if len(words) < self._anchor or digest in known:
                continue
            known.add(digest)
            number = len(self.places)
            self.places.append((item.benchmark, item.place))
            if len(words) < self._n:
                self._short.append((number, words))
            else:
                yield number, np.unique(hash_runs(words, self._n))

    def search(self, texts: Sequence[str]) -> dict[int, list[Span]]:
        """The spans that are a benchmark's, in order and apart, for each of `texts` (in NFC) that has any."""
        folded = [_folded(text) for text in texts]
        words_of = [hash_words(WORD.findall(text)) for text in folded]
        counts = [len(words) for words in words_of]
        words_W = np.concatenate([np.empty(0, np.uint64), *words_of])
        rows_W = np.repeat(np.arange(len(texts)), counts)
        starts = np.cumsum([0, *counts])
        hits: dict[int, list[tuple[int, int, int]]] = {}
        for first, last, item in self._hits(words_W):
            if rows_W[first] == rows_W[last]:
                row = int(rows_W[first])
                hits.setdefault(row, []).append((first - int(starts[row]), last - int(starts[row]), item))
        return {row: _spans(folded[row], hits[row]) for row in sorted(hits)}

    def _hits(self, words_W: Hashes) -> Iterator[tuple[int, int, int]]:
        """(first word, last word, item) of each match; some cross from one text to the next."""
        places, items = self._long.find(hash_runs(words_W, self._n))
        for place, item in zip(places.tolist(), items.tolist(), strict=True):
            yield place, place + self._n - 1, item
        if not self._short:
            return
        places, firsts = self._anchors.find(hash_runs(words_W, self._anchor))
        for place, first in zip(places.tolist(), firsts.tolist(), strict=True):
            for number in self._same_anchor[first]:
                item, words = self._short[number]
                if np.array_equal(words_W[place : place + len(words)], words):
                    yield place, place + len(words) - 1, item


def _spans(folded: str, hits: list[tuple[int, int, int]]) -> list[Span]:
    """Hits that overlap, joined."""
    joined: list[list[int]] = []
    for first, last, item in sorted(hits):
        if joined and first <= joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], last)
        else:
            joined.append([first, last, item])
    characters = [match.span() for match in WORD.finditer(folded)]
    return [Span(characters[first][0], characters[last][1], last - first + 1, item) for first, last, item in joined]
