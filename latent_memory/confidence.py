"""How sure an answer is: a number in 0…1 that says how often answers like it are right.

The signal is the mean log-probability that the generator gave the tokens that it chose. A logistic curve with two
numbers, fitted on questions with known answers, makes it a probability (Platt, "Probabilistic Outputs for Support
Vector Machines", 1999); one curve for answers from latents and one for those from text. Without a curve it is the
geometric mean probability of the tokens, which puts answers in the same order.

On 120 questions that training saw it told right answers from wrong ones with an AUROC of .825 (latents) and .705
(text); the sum had .857 and .670, the least of the tokens .832 and .666, the best evidence's score .570 and .545, and
its margin .624 and .561; neither of the two helped the mean (`benchmarks/confidence.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import exp
from pathlib import Path

import numpy as np

FILE = "confidence.json"


@dataclass(frozen=True)
class Curve:
    """``1 / (1 + exp(-(slope * x + intercept)))`` of a mean log-probability x, in nats."""

    slope: float
    intercept: float

    def __call__(self, log_probability: float) -> float:
        """How likely an answer with this mean log-probability is right."""
        return 1 / (1 + exp(-max(-500.0, min(500.0, self.slope * log_probability + self.intercept))))


def confidence(log_probability: float, curve: Curve | None) -> float:
    """How sure an answer is, in 0…1."""
    return exp(log_probability) if curve is None else curve(log_probability)


def fit(signals: Sequence[float], right: Sequence[bool], rounds: int = 50) -> Curve:
    """The likeliest curve, by Newton's method.

    Targets are Platt's: (n₊ + 1) / (n₊ + 2) for right answers and 1 / (n₋ + 2) for wrong ones, so that the curve stays
    finite where the two sides don't overlap.
    """
    x = np.column_stack([np.asarray(signals, float), np.ones(len(signals))])
    good = np.asarray(right, bool)
    targets = np.where(good, (good.sum() + 1) / (good.sum() + 2), 1 / ((~good).sum() + 2))
    weights = np.zeros(2)
    for _ in range(rounds):
        said = 1 / (1 + np.exp(-np.clip(x @ weights, -500, 500)))
        curvature = x.T @ (x * (said * (1 - said))[:, None]) + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, x.T @ (targets - said))
        weights += step
        if np.abs(step).max() < 1e-10:
            break
    return Curve(float(weights[0]), float(weights[1]))


def auroc(signals: Sequence[float], right: Sequence[bool]) -> float:
    """How often a right answer has the greater signal than a wrong one; ties count half (Mann and Whitney, 1947)."""
    good = np.asarray(right, bool)
    values = np.asarray(signals, float)
    difference = values[good][:, None] - values[~good][None]
    return float((difference > 0).mean() + 0.5 * (difference == 0).mean()) if difference.size else float("nan")


def save_curves(folder: Path, curves: Mapping[str, Curve], adapter: str) -> None:
    """Keeps the curves, one for each mode, with the trained compressor that they were measured with."""
    told = {"adapter": adapter, "curves": {mode: asdict(curve) for mode, curve in curves.items()}}
    (folder / FILE).write_text(json.dumps(told, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def read_curves(folder: Path, adapter: str) -> dict[str, Curve]:
    """The curves by mode; none where there are none or they belong to other trained weights."""
    path = folder / FILE
    told = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if told.get("adapter") != adapter:
        return {}
    return {mode: Curve(**curve) for mode, curve in told["curves"].items()}
