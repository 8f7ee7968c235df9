"""Keeps the best documents by `score.quality`: a share of all, or those above a score.

The scores stay in their columns, so another cut recomputes nothing before it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from tiers.l2_scored.distil import QUALITY
from tiers.stage import GlobalStage, Outcome, fates

_CUT = pa.schema(
    [
        pa.field("score", pa.float32(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("rows", pa.int64(), nullable=False),
        pa.field("kept", pa.int64(), nullable=False),
    ]
)


class SelectReason(StrEnum):
    """Why a document is below the cut."""

    BELOW_QUANTILE = "below_quantile"
    BELOW_SCORE = "below_score"


class Select(GlobalStage):
    """Drops what scores below a cut. Among equal scores at the cut the smaller ids stay.

    One partition orders all scores, at about 60 bytes of memory a row.

    Attributes:
        keep_share: The share of rows to keep. The default is what the published maths selector kept of its L1, by
            tokens (33.7 of 170.5 billion: UltraData-Math's card); the published web classifier cuts at 0.5.
        min_score: The lowest score to keep, in the judge's scale, instead of a share.
    """

    name: ClassVar[str] = "select"
    needs: ClassVar[tuple[str, ...]] = (QUALITY.name,)

    keep_share: float | None = Field(default=None, gt=0, le=1)
    min_score: float | None = None

    @model_validator(mode="before")
    @classmethod
    def _default(cls, data: dict[str, object]) -> dict[str, object]:
        return data if "keep_share" in data or "min_score" in data else {**data, "keep_share": 0.2}

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.keep_share is None) == (self.min_score is None):
            raise ValueError("give either keep_share or min_score")
        return self

    def spill(self, table: pa.Table) -> pa.Table:
        """Every row's score and id."""
        return pa.table(
            {
                "partition": pa.array(np.zeros(table.num_rows, np.uint32)),
                "score": table[QUALITY.name],
                "id": table["id"],
            }
        )

    def reduce(self, partition: pa.Table) -> pa.Table:
        """The last row that stays, and how many there are."""
        rows = partition.num_rows
        if self.min_score is not None or not rows:
            score = float("-inf") if self.min_score is None else self.min_score
            kept = pc.sum(pc.greater_equal(partition["score"], pa.scalar(score, pa.float32()))).as_py() or 0
            return pa.table([[score], [""], [rows], [kept]], schema=_CUT)
        assert self.keep_share is not None
        kept = max(1, round(self.keep_share * rows))
        order = pc.sort_indices(partition, sort_keys=[("score", "descending"), ("id", "ascending")])
        last = partition.take(order.slice(kept - 1, 1))
        return pa.table([last["score"], last["id"], [rows], [kept]], schema=_CUT)

    def apply(self, table: pa.Table, decision: pa.Table) -> Outcome:
        """Drops the rows below the cut."""
        cut, last = decision["score"][0], decision["id"][0].as_py()
        score = table[QUALITY.name]
        keep = pc.greater(score, cut)
        at_cut = pc.equal(score, cut)
        keep = pc.or_(keep, pc.and_(at_cut, pc.less_equal(table["id"], last)) if last else at_cut)
        gone = table.select(["id", QUALITY.name]).filter(pc.invert(keep))
        reason = SelectReason.BELOW_QUANTILE if self.min_score is None else SelectReason.BELOW_SCORE
        dropped = [
            (row_id, reason, f"{value:.3f} {'<' if value < cut.as_py() else '= (by id)'} {cut.as_py():.3f}")
            for row_id, value in zip(gone["id"].to_pylist(), gone[QUALITY.name].to_pylist(), strict=True)
        ]
        return Outcome(kept=table.filter(keep), dropped=fates(dropped))
