"""A distilled scorer: a linear model, calibrated, and what was measured on texts that it wasn't fitted to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tiers.document import add_column
from tiers.l2_scored.agreement import report
from tiers.l2_scored.calibration import Calibration, Isotonic, Platt, calibrate
from tiers.l2_scored.features import Features
from tiers.l2_scored.linear import Floats, Linear

QUALITY = pa.field("score.quality", pa.float32(), nullable=False)
QUALITY_BY = pa.field("score.quality_by", pa.map_(pa.string(), pa.float32()), nullable=False)

MODEL = pa.schema(
    [pa.field("name", pa.string(), nullable=False), pa.field("values", pa.list_(pa.float64()), nullable=False)]
)
"""A scorer as a table: the numbers of its model, `isotonic.NAME` or `platt.NAME` for each of its outputs, and what was
measured, under `report.NAME`. The overall score has the empty name."""

Rows = npt.NDArray[np.int64]
Train = Callable[[Rows], Linear]
"""Fits a model to some of the labelled texts, by their numbers."""


@dataclass(frozen=True)
class Scorer:
    """Gives texts their quality, and the same for each dimension of a rubric that has several.

    Attributes:
        model: Has one output for each calibration.
        calibrations: By the dimension's name; the first one, named by the empty string, is the overall quality.
    """

    model: Linear
    calibrations: Mapping[str, Calibration]

    def add_quality(self, table: pa.Table, raw: Floats) -> pa.Table:
        """`table` with `score.quality` and `score.quality_by`, from the model's scores (rows, K)."""
        columns = [
            calibration(column).astype(np.float32)
            for calibration, column in zip(self.calibrations.values(), raw.T, strict=True)
        ]
        names = list(self.calibrations)[1:]
        keys = pa.array(names * table.num_rows, pa.string())
        values = np.stack(columns[1:], axis=1).reshape(-1) if names else np.empty(0, np.float32)
        offsets = pa.array(np.arange(table.num_rows + 1, dtype=np.int32) * len(names))
        by = pa.MapArray.from_arrays(offsets, keys, pa.array(values))
        return add_column(add_column(table, QUALITY, pa.array(columns[0])), QUALITY_BY, by)

    def table(self, measured: Mapping[str, Sequence[float]]) -> pa.Table:
        """The scorer and what was measured of it, in the form of `MODEL`."""
        rows = self.model.numbers()
        for name, calibration in self.calibrations.items():
            rows[f"{'platt' if isinstance(calibration, Platt) else 'isotonic'}.{name}"] = calibration.numbers()
        rows |= {f"report.{name}": np.array(values, np.float64) for name, values in measured.items()}
        return pa.table([pa.array(rows), pa.array(rows.values(), pa.list_(pa.float64()))], schema=MODEL)

    @classmethod
    def from_table(cls, table: pa.Table) -> Scorer:
        """The scorer in a table that `table` made."""
        rows = {str(name): numbers.values.to_numpy() for name, numbers in zip(*table.columns, strict=True)}
        calibrations: dict[str, Calibration] = {}
        for key, numbers in rows.items():
            kind, _, name = key.partition(".")
            if kind in ("platt", "isotonic"):
                calibrations[name] = (Platt if kind == "platt" else Isotonic).of(numbers)
        return cls(Linear.of(rows), calibrations)


def fit_scorer(
    labelled: Features, truth: Floats, dimensions: Sequence[str], train: Train, folds: int
) -> tuple[Scorer, dict[str, list[float]]]:
    """Fits a scorer to labelled texts and measures it on those that it isn't fitted to, by cross-validation.

    Args:
        labelled: Features of N texts, in an order that has nothing to do with their labels.
        truth: Their labels (N, K): the overall one, then one for each dimension.
        dimensions: K - 1 names.
        train: Fits the model.
        folds: Text i is predicted by the model that was fitted to all texts but i, i ± folds, i ± 2 folds, ...

    Returns:
        The scorer, and what `agreement.report` tells.
    """
    fold = np.arange(len(labelled)) % folds
    raw = np.zeros(truth.shape)
    for k in range(folds):
        raw[fold == k] = train(np.flatnonzero(fold != k)).predict(labelled.take(np.flatnonzero(fold == k)))
    names = ["", *dimensions]
    calibrations = {name: calibrate(raw[:, k], truth[:, k]) for k, name in enumerate(names)}
    measured = report(_calibrated(raw[:, 0], truth[:, 0], fold), truth[:, 0])
    for k, name in enumerate(dimensions, start=1):
        own = report(_calibrated(raw[:, k], truth[:, k], fold), truth[:, k])
        measured |= {f"{key}.{name}": own[key] for key in ("spearman", "auc")}
    return Scorer(train(np.arange(len(labelled))), calibrations), measured


def _calibrated(raw: Floats, truth: Floats, fold: Rows) -> Floats:
    """Each fold's scores, mapped by a calibration to the other folds'."""
    mapped = np.zeros(len(raw))
    for k in np.unique(fold):
        mapped[fold == k] = calibrate(raw[fold != k], truth[fold != k])(raw[fold == k])
    return mapped


def scorer_report(decision: pa.Table) -> dict[str, list[float]]:
    """What was measured when the scorer in a decision of `distil` or `classify` was fitted.

    On labelled texts that it wasn't fitted to, what `agreement.report` tells; `spearman.NAME` and `auc.NAME` the same
    for a dimension. Of `distil`, how the judge agrees with itself: `judged_again` is how many rows it judged again,
    `judge_repeated` the rank correlation with the same question asked anew, `judge_permuted` with its parts in another
    order, and `judge_shift` how far apart the latter lie on average; both are missing where another order asks the same
    or fewer than two rows were judged again. Of `classify`, `own` is how many of the run's
    documents could be inferred on, `own_good` and `own_bad` the shares of them that the last model is sure of.
    """
    rows = zip(decision["name"].to_pylist(), decision["values"].to_pylist(), strict=True)
    return {name.removeprefix("report."): values for name, values in rows if name.startswith("report.")}
