"""Where an answer's words stand in its evidence: what a reader that points at slots is taught by.

The gold answer alone tells a reader what to say. That its words stand in the evidence, and where, is known as well, and
teaches far more with each question: as in extractive question answering, where the span is what is learned (Wang and
Jiang, "Machine Comprehension Using Match-LSTM and Answer Pointer", ICLR 2017, section 2.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from latent_memory.slots import Words


class Held(NamedTuple):
    """Where a token of an answer stands.

    Attributes:
        position: Its place in the answer.
        rest: 0 where it begins a word, 1 where it goes on with one.
        words: Numbers of the evidence's words that it may be a part of.
    """

    position: int
    rest: int
    words: tuple[int, ...]


def held(reading: Words, evidence: Sequence[int], saying: Words, answer: Sequence[int]) -> list[Held]:
    """The tokens of an answer that stand in the evidence, word for word and in one piece; none where they do not.

    Args:
        reading: Words of the compressor's tokenizer.
        evidence: Token ids of the evidence, by it.
        saying: Words of the generator's tokenizer.
        answer: Token ids of the answer, by it, without its end.
    """
    said, read = saying.written(answer), reading.written(evidence)
    length = len(said)
    begins = [at for at in range(len(read) - length + 1) if read[at : at + length] == said] if said else []
    if not begins:
        return []
    places, numbers = saying.layout(answer)
    return [
        Held(position, int(place > 0), tuple(begin + word for begin in begins))
        for position, (place, word) in enumerate(zip(places, numbers, strict=True))
    ]
