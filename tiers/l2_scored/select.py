"""Keeps the best documents by their scores: those above a score, a share, so many rows, or so many tokens.

The scores stay in their columns, so another cut recomputes nothing before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from itertools import pairwise
from math import isnan
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from tiers.document import tokens_of
from tiers.errors import SchemaError
from tiers.l2_scored.scorer import QUALITY, QUALITY_BY
from tiers.stage import GlobalStage, Outcome, fates

_CUT = pa.schema(
    [
        pa.field("group", pa.string(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),
        pa.field("id", pa.string()),
        pa.field("rows", pa.int64(), nullable=False),
        pa.field("kept", pa.int64(), nullable=False),
    ]
)
_CUTS = ("keep_share", "min_score", "max_rows", "max_tokens")
_META = "meta."
_ALL = ""


class SelectReason(StrEnum):
    """Why a document is below the cut."""

    BELOW_QUANTILE = "below_quantile"
    BELOW_SCORE = "below_score"
    OVER_ROWS = "over_rows"
    OVER_TOKENS = "over_tokens"


class Select(GlobalStage):
    """Drops what scores below a cut, or has no number as its score. Among equal scores at the cut the smaller ids stay.

    One partition orders all scores, at about 60 bytes of memory a row. One kind of cut is given:

    Attributes:
        keep_share: The share of rows to keep, of each group at least one. The default, 0.2, is what the published maths
            selector kept of its L1, by tokens (33.7 of 170.5 billion: UltraData-Math's card); the published web
            classifier cuts at 0.5.
        min_score: The lowest score to keep.
        max_rows: The most rows to keep.
        max_tokens: The most tokens to keep, as `count_tokens` counts them: the best rows until one no longer fits.
        per: Cuts each group of rows by itself. `host` groups by the host of the URL, `source` by the file that a row
            came from, `meta.KEY` by an entry of `meta`, anything else by the column of that name, such as `lang`. Rows
            that have none are a group, with an empty name.
        quotas: Other values of the cut for some groups, by their names.
        dimension: Cuts by the score in one of the dimensions of a rubric instead of `score.quality`.
    """

    name: ClassVar[str] = "select"
    version: ClassVar[int] = 3
    needs: ClassVar[tuple[str, ...]] = (QUALITY.name,)

    keep_share: float | None = Field(default=None, gt=0, le=1)
    min_score: float | None = None
    max_rows: int | None = Field(default=None, ge=0)
    max_tokens: int | None = Field(default=None, ge=0)
    per: str | None = None
    quotas: dict[str, float] = Field(default_factory=dict)
    dimension: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _default(cls, data: dict[str, object]) -> dict[str, object]:
        return data if set(_CUTS) & set(data) else {**data, "keep_share": 0.2}

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(getattr(self, cut) is not None for cut in _CUTS) != 1:
            raise ValueError(f"give one of {', '.join(_CUTS)}")
        if self.quotas and self.per is None:
            raise ValueError("quotas are of groups: say by what rows are grouped, with `per`")
        for group, value in self.quotas.items():
            too_much = self.keep_share is not None and value > 1
            if too_much or (self.min_score is None and value < 0):
                raise ValueError(f"the quota of {group!r} is no {self._kind()}: {value}")
        return self

    def spill(self, table: pa.Table) -> pa.Table:
        """Every row's score, id and group, and its tokens where they count."""
        tokens = tokens_of(table["text"]) if self.max_tokens is not None else np.zeros(table.num_rows, np.int64)
        return pa.table(
            {
                "partition": pa.array(np.zeros(table.num_rows, np.uint32)),
                "score": self.scores(table),
                "id": table["id"],
                "group": self._groups(table),
                "tokens": pa.array(tokens, pa.int64()),
            }
        )

    def reduce(self, partition: pa.Table) -> pa.Table:
        """For each group the last row that stays, how many rows there are, and how many stay.

        Without an id, all rows with that score stay.
        """
        order = [("group", "ascending"), ("score", "descending"), ("id", "ascending")]
        ordered = partition.take(pc.sort_indices(partition, sort_keys=order))
        return pa.Table.from_pylist([self._cut(rows) for rows in _parts(ordered)], schema=_CUT)

    def apply(self, table: pa.Table, decision: pa.Table) -> Outcome:
        """Drops the rows that aren't above their group's cut."""
        at = pc.index_in(self._groups(table), value_set=decision["group"].combine_chunks())
        cut, last = (decision[name].take(at) for name in ("score", "id"))
        score = self.scores(table)
        behind = pc.fill_null(pc.greater(table["id"], last), False)
        kept = pc.or_(pc.greater(score, cut), pc.and_(pc.equal(score, cut), pc.invert(behind)))
        gone = [column.filter(pc.invert(kept)).to_pylist() for column in (table["id"], score, cut)]
        dropped = [(row_id, self.reason, _detail(value, bound)) for row_id, value, bound in zip(*gone, strict=True)]
        return Outcome(kept=table.filter(kept), dropped=fates(dropped))

    @property
    def reason(self) -> SelectReason:
        """Why it drops rows."""
        return {
            "keep_share": SelectReason.BELOW_QUANTILE, "min_score": SelectReason.BELOW_SCORE,
            "max_rows": SelectReason.OVER_ROWS, "max_tokens": SelectReason.OVER_TOKENS,
        }[self._kind()]  # fmt: skip

    def scores(self, table: pa.Table) -> pa.ChunkedArray | pa.Array:
        """The scores that it cuts by.

        Raises:
            SchemaError: No such dimension was scored.
        """
        if self.dimension is None:
            return table[QUALITY.name]
        scores = pc.map_lookup(table[QUALITY_BY.name], self.dimension, "first")
        if scores.null_count:
            known = sorted({key for row in table[QUALITY_BY.name].slice(0, 1).to_pylist() for key, _ in row})
            raise SchemaError("no such dimension was scored", where=self.name, got=self.dimension, expected=known)
        return scores

    def _kind(self) -> str:
        return next(cut for cut in _CUTS if getattr(self, cut) is not None)

    def _cut(self, rows: pa.Table) -> dict[str, Any]:
        """The cut of one group, whose rows are ordered: the best first, those without a number last."""
        group, kind = rows["group"][0].as_py(), self._kind()
        numbers = rows.num_rows - pc.sum(pc.is_nan(rows["score"])).as_py()
        value = self.quotas.get(group, getattr(self, kind))
        if kind == "min_score":
            kept = int(pc.sum(pc.greater_equal(rows["score"], pa.scalar(value, pa.float32()))).as_py())
            return {"group": group, "score": value, "id": None, "rows": rows.num_rows, "kept": kept}
        if kind == "keep_share":
            kept = max(1, round(value * rows.num_rows)) if value else 0
        elif kind == "max_rows":
            kept = min(int(value), rows.num_rows)
        else:
            kept = int((np.cumsum(rows["tokens"].to_numpy()) <= value).sum())
        kept = min(kept, numbers)
        last = rows.slice(kept - 1, 1).to_pylist()[0] if kept else {"score": float("inf"), "id": ""}
        return {"group": group, "score": last["score"], "id": last["id"], "rows": rows.num_rows, "kept": kept}

    def _groups(self, table: pa.Table) -> pa.Array:
        """The name of each row's group."""
        if self.per is None:
            return pa.array([_ALL] * table.num_rows, pa.string())
        if self.per == "host":
            urls = zip(table["url"].to_pylist(), table["source"].to_pylist(), strict=True)
            return pa.array([_host(url or source) for url, source in urls], pa.string())
        if self.per == "source":
            files = [source.rpartition("#")[0] or source for source in table["source"].to_pylist()]
            return pa.array(files, pa.string())
        if self.per.startswith(_META):
            values = pc.map_lookup(table["meta"], self.per.removeprefix(_META), "first")
        elif self.per in table.column_names:
            values = table[self.per]
        else:
            known = table.column_names
            raise SchemaError("there is no such column to group by", where=self.name, got=self.per, expected=known)
        return pc.fill_null(values.cast(pa.string()), _ALL).combine_chunks()


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or _ALL
    except ValueError:
        return _ALL


def _parts(ordered: pa.Table) -> Iterator[pa.Table]:
    """The rows of each group, of a table that is ordered by groups."""
    groups = ordered["group"].combine_chunks()
    if not len(groups):
        return
    encoded: npt.NDArray[np.int32] = pc.dictionary_encode(groups).indices.to_numpy()
    starts = [0, *(np.flatnonzero(np.diff(encoded)) + 1).tolist(), len(groups)]
    for start, end in pairwise(starts):
        yield ordered.slice(start, end - start)


def _detail(value: float, bound: float) -> str:
    if isnan(value):
        return "no number"
    return f"{value:.3f} {'<' if value < bound else '= (by id)'} {bound:.3f}"
