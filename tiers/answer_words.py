"""Answers in words, compared as SQuAD compares them (Rajpurkar et al., arXiv 1606.05250).

That is in small letters, without punctuation and articles, by the F1 of the words. Answers that differ in a number are
different, however many other words they share: "in 1993" isn't "in 1994", nor is "not in 1993" the same as "in 1993".
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

# a letter of a script that parts words by spaces makes it a name, such as x86; a sign behind a word or % is a hyphen
_NUMBER = re.compile(r"(?:(?<![^\s(\[{=<>≤≥≈,;:|$^*×+，（：、])[-−]|(?<![A-Za-zÀ-ÖØ-öø-ԯ\d_.,]))\d+(?:[.,]\d+)*")
_NEGATION = re.compile(r"\b(?:no(?!\.? ?\d)|not|nor|never|none|cannot)\b|n['’]t\b", re.IGNORECASE)
_GROUPED = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_TOKEN = re.compile(r"[\u3400-\u9fff]|[^\W_\u3400-\u9fff]+")

AROUND = 20
"""Words around an answer in a reply that says it in a sentence; one that copies its source holds any answer."""


def answer_words(text: str) -> list[str]:
    """The words that answers are compared by: NFKC, small letters, no punctuation, no English article.

    1,889 is one word.
    """
    normal = _GROUPED.sub("", unicodedata.normalize("NFKC", text).casefold())
    return [word for word in _TOKEN.findall(normal) if word not in ("a", "an", "the")]


def answer_f1(one: str, other: str) -> float:
    """The harmonic mean of the shares of each answer's words that are in the other; 0 to 1."""
    left, right = Counter(answer_words(one)), Counter(answer_words(other))
    common = (left & right).total()
    return 2 * common / (left.total() + right.total()) if common else 0.0


def contains(text: str, answer: str) -> bool:
    """Whether the words of `answer` follow each other somewhere in `text`; an answer without words is nowhere."""
    words = f" {' '.join(answer_words(answer))} "
    return words.strip() != "" and words in f" {' '.join(answer_words(text))} "


def numbers(text: str) -> list[str]:
    """The numbers of `text`, without marks between groups of three digits and without zeros at a decimal part's end.

    A unit may stand directly behind one, and a minus before it; 2020-01-05 is three numbers, 3.11.2 is one.
    """
    return [_plain(found) for found in _NUMBER.findall(_GROUPED.sub("", text))]


def difference(answer: str, other: str, min_f1: float, around: int = AROUND) -> str | None:
    """Why another answer isn't `answer`, if so: a number that it lacks, an English negation, or an F1 below `min_f1`.

    One that holds the answer whole agrees with it, unless more than `around` other words stand there.
    """
    missing = sorted(set(numbers(answer)) - set(numbers(other)))
    if missing:
        return f"without {', '.join(missing)}"
    denials = [found[0] for found in map(_NEGATION.search, (answer, other)) if found]
    if len(denials) == 1:
        return f"{denials[0]!r} in one alone"
    more = len(answer_words(other)) - len(answer_words(answer))
    f1 = 1.0 if more <= around and contains(other, answer) else answer_f1(answer, other)
    return f"F1 {f1:.2f} < {min_f1:g}" if f1 < min_f1 else None


def _plain(number: str) -> str:
    if number.count(".") == 1 and "," not in number:
        number = number.rstrip("0").rstrip(".")
    return number.replace("−", "-")
