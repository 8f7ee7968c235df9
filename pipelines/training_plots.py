"""What a training run's metrics look like."""

from __future__ import annotations

import json
from pathlib import Path

from pipelines.plots import Course, courses, standalone

LOSSES = ("loss", "read", "answer", "distillation", "reconstruction", "contrastive", "early")
SMOOTH = 20
"""Steps that a point of a loss is the mean of."""


def plot_metrics(folder: Path) -> None:
    """Draws a run's `metrics.jsonl`: `losses.svg` of training, and `held_out.svg` of what was looked at on the way.

    A step that was done twice, behind a checkpoint of an interrupted run, counts as it was last.
    """
    path = folder / "metrics.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    by_step = sorted({row["step"]: row for row in rows}.items())
    losses = [Course(name, _smooth([(x, row[name]) for x, row in by_step if name in row])) for name in LOSSES]
    others = dict.fromkeys(name for _, row in by_step for name in row if name.startswith("held_out"))
    looks = [Course(name, [(x, row[name]) for x, row in by_step if name in row]) for name in others]
    for name, lines in (("losses", losses), ("held_out", looks)):
        if some := [line for line in lines if line.points]:
            (folder / f"{name}.svg").write_text(standalone(courses(some, f"{name} by step", "step")), encoding="utf-8")


def _smooth(points: list[tuple[int, float]]) -> list[tuple[float, float]]:
    parts = [points[begin : begin + SMOOTH] for begin in range(0, len(points), SMOOTH)]
    return [(sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)) for part in parts]
