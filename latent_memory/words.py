"""Which words of a text its latents hold.

A latent holds words of the generator's vocabulary as they are, so that a number or a name comes out letter for letter,
and a key for each. There are only so many slots: where a text has more words, those that say least go first, by
salience, and the others keep their order.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

NO_WORD = -1
"""Stands in a slot that holds nothing, and behind the last word of a question."""


class Slot(NamedTuple):
    """A word in a latent: a token of the generator's, and the compressor's token that ends it."""

    word: int
    at: int


class Spelling:
    """Spells in the generator's tokens what the compressor's tokens say.

    Args:
        reading: The compressor's tokenizer.
        speaking: The generator's.
    """

    def __init__(self, reading: Any, speaking: Any) -> None:
        self.reading, self.speaking = reading, speaking
        self._same = reading.get_vocab() == speaking.get_vocab()
        self._marks: Collection[int] = {*reading.all_special_ids, *reading.get_added_vocab().values()}

    def slots(self, ids: Sequence[int]) -> list[Slot]:
        """Every word of a text, in order; marks, such as those that keep an image's places, are none."""
        if self._same:
            return [Slot(token, at) for at, token in enumerate(ids) if token not in self._marks]
        kept = [(at, token) for at, token in enumerate(ids) if token not in self._marks]
        shown = [self.reading.decode([token for _, token in kept[: n + 1]]) for n in range(len(kept))]
        ends = [len(text.rstrip("\N{REPLACEMENT CHARACTER}")) for text in shown]
        spelled = self.speaking(shown[-1] if shown else "", add_special_tokens=False, return_offsets_mapping=True)
        found, number = [], 0
        for word, (_, end) in zip(spelled["input_ids"], spelled["offset_mapping"], strict=True):
            while number < len(ends) - 1 and ends[number] < end:
                number += 1
            found.append(Slot(word, kept[number][0]))
        return found


def most_salient(slots: Sequence[Slot], weights: Sequence[float], count: int) -> list[Slot]:
    """The `count` slots of the highest weights, in their order; of equals the first."""
    order = sorted(range(len(slots)), key=lambda n: -weights[slots[n].at])
    return [slots[n] for n in sorted(order[:count])]


def standing(words: Sequence[int], answer: str, tokenizer: Any) -> list[range]:
    """Where an answer stands among words, which are token ids: each time the slots that cover it, if any do.

    A word that is left out of the latent is left out of the answer too: articles, most of the time.
    """
    text, ends = "", []
    for count in range(1, len(words) + 1):
        text = str(tokenizer.decode(words[:count]))
        ends.append(len(text))
    found, begin = [], text.find(answer) if answer else -1
    while begin >= 0:
        end = begin + len(answer)
        inside = [n for n, last in enumerate(ends) if last > begin and (ends[n - 1] if n else 0) < end]
        if inside:
            found.append(range(inside[0], inside[-1] + 1))
        begin = text.find(answer, begin + 1)
    return found
