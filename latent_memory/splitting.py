"""Cuts long text into pieces for one latent each."""

from __future__ import annotations

from collections.abc import Callable

from latent_memory.data import sentences

Length = Callable[[str], int]
"""Counts the tokens of a text."""


def split(text: str, most: int, length: Length) -> list[str]:
    """Pieces of at most `most` tokens: cut at sentence ends, else between words, else inside one.

    Nothing is lost: the pieces hold every character but the blanks between them.
    """
    pieces: list[str] = []
    for _, sentence in sentences(text):
        joined = f"{pieces[-1]} {sentence}" if pieces else sentence
        if pieces and length(joined) <= most:
            pieces[-1] = joined
        else:
            pieces += _split_words(sentence, most, length)
    return pieces


def _split_words(sentence: str, most: int, length: Length) -> list[str]:
    pieces: list[str] = []
    for word in (piece for whole in sentence.split() for piece in _split_characters(whole, most, length)):
        joined = f"{pieces[-1]} {word}" if pieces else word
        if pieces and length(joined) <= most:
            pieces[-1] = joined
        else:
            pieces.append(word)
    return pieces


def _split_characters(word: str, most: int, length: Length) -> list[str]:
    if length(word) <= most:
        return [word]
    longest = most // 4  # characters; even one of four bytes is at most four tokens
    return [word[at : at + longest] for at in range(0, len(word), longest)]
