"""Scores of answers and of searches, and how sure they are."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


def normalise(answer: str) -> str:
    """Lower case, no punctuation, no articles, single blanks: SQuAD's evaluation (Rajpurkar et al., EMNLP 2016)."""
    bare = "".join(c for c in answer.lower() if c not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", bare).split())


def token_f1(answer: str, accepted: Sequence[str]) -> float:
    """Harmonic mean of token precision and recall, the best over the accepted answers (SQuAD)."""
    return max(_f1(normalise(answer).split(), normalise(gold).split()) for gold in accepted)


def _f1(answer: list[str], gold: list[str]) -> float:
    if not answer or not gold:
        return float(answer == gold)
    common = sum((Counter(answer) & Counter(gold)).values())
    return 2 * common / (len(answer) + len(gold))


def exact_match(answer: str, accepted: Sequence[str]) -> float:
    """1 where the normalised answer equals an accepted one (SQuAD)."""
    return float(normalise(answer) in {normalise(gold) for gold in accepted})


def recall(found: Sequence[int], gold: Sequence[int]) -> float:
    """The share of the gold evidence that is among what was found."""
    return len({*found} & {*gold}) / len({*gold})


def holds_answer(texts: Sequence[str], accepted: Sequence[str]) -> float:
    """1 where a text holds an accepted answer: the top-k accuracy of Karpukhin et al. (DPR, EMNLP 2020)."""
    normal = [f" {normalise(text)} " for text in texts]
    return float(any(f" {normalise(answer)} " in text for answer in accepted for text in normal))


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % percentile bootstrap interval over questions."""

    mean: float
    low: float
    high: float


def bootstrap(values: Sequence[float], rounds: int = 10_000, seed: int = 0) -> Interval:
    """Mean and 95 % interval of values, one for each question; of paired differences where they are differences."""
    array = np.asarray(values, float)
    rng = np.random.default_rng(seed)
    means = [array[rng.integers(0, len(array), len(array))].mean() for _ in range(rounds)]
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(float(array.mean()), float(low), float(high))
