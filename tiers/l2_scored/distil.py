"""Distils the judge into a scorer that is cheap enough for every document.

The published selectors do the same with a fastText or an embedding classifier over the judge's ratings (FineWeb-Edu;
Ultra-FineWeb, MiniCPM4 report, section 3.1). Here it is a ridge regression on hashed words and pairs of words, which
needs no weights to download, or on embeddings that the stage `embed` made; fitted anew for each corpus and judge.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from pydantic import Field

from tiers.errors import SchemaError, StageError
from tiers.l2_scored.agreement import spearman, with_interval
from tiers.l2_scored.annotate import JUDGE, JUDGE_AGAIN, JUDGE_BY
from tiers.l2_scored.embed import EMBEDDING
from tiers.l2_scored.features import Features, columns_of, dense, features, features_in
from tiers.l2_scored.linear import Floats, Linear
from tiers.l2_scored.scorer import QUALITY, QUALITY_BY, Scorer, fit_scorer
from tiers.stage import Fetch, GlobalStage, Outcome

PENALTIES = {"ngrams": 1.0, "embedding": 10.0}


class Distil(GlobalStage):
    """Fits a linear scorer to the judged rows and scores every row: `score.quality`, in the judge's scale.

    Of a rubric with several dimensions each is distilled, into `score.quality_by`; `score.quality` is their overall.
    The decision holds the scorer and, under `report.*`, how it agrees with judgements that it wasn't fitted to, and how
    the judge agrees with itself; `scorer_report` reads that.

    Attributes:
        features: `ngrams` looks at the text, `embedding` at what the stage `embed` made of it, and takes that away.
        penalty: Of the ridge regression; by default 1 for `ngrams` and 10 for `embedding` (`benchmarks/scorer.py`).
        excerpt_bytes: How much of a text's beginning `ngrams` looks at.
        least: Fewer judged rows than this are refused.
        most: Of more judged rows than this, those with the smallest hashes are used.
        folds: Of the cross-validation behind calibration and report.
    """

    name: ClassVar[str] = "distil"
    version: ClassVar[int] = 3
    needs: ClassVar[tuple[str, ...]] = (JUDGE.name,)
    gives: ClassVar[tuple[pa.Field, ...]] = (QUALITY, QUALITY_BY)

    features: Literal["ngrams", "embedding"] = "ngrams"
    penalty: float | None = Field(default=None, gt=0)
    excerpt_bytes: int = Field(default=4096, ge=50, le=1 << 24)
    least: int = Field(default=30, ge=10)
    most: int = Field(default=20_000, ge=10)
    folds: int = Field(default=5, ge=2)

    def spill(self, table: pa.Table) -> pa.Table:
        """The features of the judged rows and their judgements, with a hash of the id to order them by."""
        judged = table.filter(pc.is_valid(table[JUDGE.name]))
        seen = self._seen(judged)
        columns: dict[str, Any] = {
            "partition": pa.array(np.zeros(len(seen), np.uint32)),
            "order": pa.array(_order(judged["id"]), pa.uint64()),
            **columns_of(seen),
            **{field.name: _column(judged, field) for field in (JUDGE, JUDGE_BY, JUDGE_AGAIN)},
        }
        return pa.table(columns)

    def reduce(self, partition: pa.Table) -> pa.Table:
        """The judged rows that the scorer is fitted to, in the order of their hashes."""
        return partition.sort_by("order").slice(0, self.most)

    def decide(self, findings: pa.Table, fetch: Fetch) -> pa.Table:
        """Fits the scorer.

        Raises:
            StageError: There are too few judged rows.
        """
        if findings.num_rows < self.least:
            raise StageError(
                "too few documents were judged to distil the judge",
                where=self.name,
                got=findings.num_rows,
                expected=f"at least {self.least}",
                hint="Raise annotate's share, or lower distil's least",
            )
        seen, (dimensions, truth) = features_in(findings), _judgements(findings)
        penalty = self.penalty or PENALTIES[self.features]
        scorer, measured = fit_scorer(
            seen, truth, dimensions, lambda rows: Linear.fit(seen.take(rows), truth[rows], penalty), self.folds
        )
        return scorer.table(measured | _own_agreement(findings))

    def apply(self, table: pa.Table, decision: pa.Table) -> Outcome:
        """Scores every row."""
        scorer = Scorer.from_table(decision)
        if self.features == "embedding":
            raw = scorer.model.predict(self._seen(table))
            return Outcome(kept=scorer.add_quality(table.drop_columns(EMBEDDING.name), raw))
        return Outcome(kept=scorer.add_quality(table, scorer.model.score(table["text"], self.excerpt_bytes)))

    def _seen(self, table: pa.Table) -> Features:
        if self.features == "ngrams":
            return features(table["text"], self.excerpt_bytes)
        if EMBEDDING.name not in table.column_names:
            hint = "Put the stage `embed` before it"
            raise SchemaError("there are no embeddings", where=self.name, got=table.column_names, hint=hint)
        return dense(table[EMBEDDING.name])


def _order(ids: pa.ChunkedArray) -> list[int]:
    """Numbers that have nothing to do with anything else."""
    return [xxhash.xxh3_64_intdigest(f"distil/{row_id}".encode()) for row_id in ids.to_pylist()]


def _column(table: pa.Table, field: pa.Field) -> pa.ChunkedArray | pa.Array:
    return table[field.name] if field.name in table.column_names else pa.nulls(table.num_rows, field.type)


def _judgements(findings: pa.Table) -> tuple[list[str], Floats]:
    """The names of the dimensions that all rows were judged by, and the judgements (N, 1 + dimensions)."""
    rows = [dict(by or ()) for by in findings[JUDGE_BY.name].to_pylist()]
    names = sorted(set.intersection(*(set(row) for row in rows)))
    by = np.array([[row[name] for name in names] for row in rows], np.float64).reshape(len(rows), len(names))
    return names, np.hstack([findings[JUDGE.name].to_numpy().astype(np.float64)[:, None], by])


def _own_agreement(findings: pa.Table) -> dict[str, list[float]]:
    """How the judge's repeated and permuted judgements agree with its first ones."""
    first = findings[JUDGE.name].to_numpy().astype(np.float64)
    again = findings[JUDGE_AGAIN.name].combine_chunks()
    measured = {"judged_again": [float(len(again) - again.null_count)]}
    for name in ("repeated", "permuted"):
        second = pc.struct_field(again, name).to_numpy(zero_copy_only=False).astype(np.float64)
        rows = np.flatnonzero(~np.isnan(second))
        if len(rows) > 1:
            measured[f"judge_{name}"] = with_interval(spearman, first[rows], second[rows])
            if name == "permuted":
                measured["judge_shift"] = [float(np.abs(first[rows] - second[rows]).mean())]
    return measured
