"""Distils the judge into a scorer that is cheap enough for every document.

The published selectors do the same with a fastText or an embedding classifier over the judge's ratings (FineWeb-Edu;
Ultra-FineWeb, MiniCPM4 report, section 3.1). Here it is a ridge regression on hashed word n-grams: it needs no
weights to download and is fitted anew for each corpus and judge.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from pydantic import Field

from tiers.document import add_column
from tiers.errors import StageError
from tiers.l2_scored.annotate import JUDGE
from tiers.l2_scored.features import FORMS, Features, features
from tiers.l2_scored.ridge import Ridge, held_out
from tiers.stage import Fetch, GlobalStage, Outcome

QUALITY = pa.field("score.quality", pa.float32(), nullable=False)

_JUDGED = pa.schema(
    [
        pa.field("partition", pa.uint32(), nullable=False),
        pa.field("order", pa.uint64(), nullable=False),
        pa.field("judge", pa.float32(), nullable=False),
        pa.field("places", pa.list_(pa.uint32()), nullable=False),
        pa.field("weights", pa.list_(pa.float32()), nullable=False),
        pa.field("forms", pa.list_(pa.float32(), len(FORMS)), nullable=False),
    ]
)


class Distil(GlobalStage):
    """Fits a linear scorer to the judged rows and scores every row: `score.quality`, in the judge's scale.

    The decision holds the model and, under `report.*`, how its predictions agree with held-out judgements.

    Attributes:
        penalty: Of the ridge regression.
        excerpt_chars: How much of a document's beginning is looked at.
        least: Fewer judged rows than this are refused.
        most: Of more judged rows than this, those with the smallest hashes are used.
        folds: Of the cross-validation behind the report.
    """

    name: ClassVar[str] = "distil"
    needs: ClassVar[tuple[str, ...]] = (JUDGE.name,)
    gives: ClassVar[tuple[pa.Field, ...]] = (QUALITY,)

    penalty: float = Field(default=1.0, gt=0)
    excerpt_chars: int = Field(default=2000, ge=50)
    least: int = Field(default=30, ge=10)
    most: int = Field(default=20_000, ge=10)
    folds: int = Field(default=5, ge=2)

    def spill(self, table: pa.Table) -> pa.Table:
        """The features of the judged rows, with a hash of the id to order them by."""
        judged = table.select(["id", "text", JUDGE.name]).filter(pc.is_valid(table[JUDGE.name]))
        seen = features(judged["text"].to_pylist(), self.excerpt_chars)
        order = [xxhash.xxh3_64_intdigest(f"distil/{row_id}".encode()) for row_id in judged["id"].to_pylist()]
        offsets = pa.array(seen.offsets, pa.int32())
        columns = [
            pa.array(np.zeros(len(seen), np.uint32)),
            pa.array(order, pa.uint64()),
            judged[JUDGE.name].combine_chunks(),
            pa.ListArray.from_arrays(offsets, pa.array(seen.places)),
            pa.ListArray.from_arrays(offsets, pa.array(seen.weights)),
            pa.FixedSizeListArray.from_arrays(pa.array(seen.forms.reshape(-1)), len(FORMS)),
        ]
        return pa.table(columns, schema=_JUDGED)

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
        findings = findings.combine_chunks()
        lists = {name: findings[name].chunk(0) for name in ("places", "weights", "forms")}
        seen = Features(
            offsets=np.concatenate([[0], np.cumsum(pc.list_value_length(lists["places"]).to_numpy())]).astype(np.int64),
            places=lists["places"].flatten().to_numpy(),
            weights=lists["weights"].flatten().to_numpy(),
            forms=lists["forms"].flatten().to_numpy().reshape(-1, len(FORMS)),
        )
        scores = findings["judge"].to_numpy().astype(np.float64)
        report = held_out(seen, scores, self.penalty, self.folds)
        return Ridge.fit(seen, scores, self.penalty).table(report)

    def apply(self, table: pa.Table, decision: pa.Table) -> Outcome:
        """Scores every row."""
        model = Ridge.from_table(decision)
        quality = model.predict(features(table["text"].to_pylist(), self.excerpt_chars))
        return Outcome(kept=add_column(table, QUALITY, pa.array(quality)))


def distil_report(decision: pa.Table) -> dict[str, float]:
    """What `Distil` measured: `judged`, and held-out `spearman` and `auc` against the judge."""
    rows = zip(decision["name"].to_pylist(), decision["values"].to_pylist(), strict=True)
    return {name.removeprefix("report."): values[0] for name, values in rows if name.startswith("report.")}
