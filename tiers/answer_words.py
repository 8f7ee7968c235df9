"""Answers in words, compared as SQuAD compares them (Rajpurkar et al., arXiv 1606.05250).

That is in small letters, without punctuation and articles, by the F1 of the words.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

_TOKEN = re.compile(r"[\u3400-\u9fff]|[^\W_\u3400-\u9fff]+")


def answer_words(text: str) -> list[str]:
    """The words that answers are compared by: NFKC, small letters, no punctuation, no English article."""
    normal = unicodedata.normalize("NFKC", text).casefold()
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
