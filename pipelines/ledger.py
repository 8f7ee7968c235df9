"""Nothing is lost: the fates of rows, the balance of counts, and the life of one document.

Of every row that enters a step, exactly one holds: it is in the step's data, or the step's ledger says `dropped` or
`quarantined`, with the stage, the reason and the figure. Where a stage makes several rows of one, the ledger says
`made` for each new row, and the maker counts as kept; where it keeps what it read and adds rows, the new ones may be
dropped or quarantined too, and are counted as `made`. `noted` says what was changed in a row that was kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.artifact import Store, read_batches, read_table
from tiers.errors import ArtifactError, StageError
from tiers.stage import Outcome, Stage


class Fate(StrEnum):
    """What became of a row in a step."""

    DROPPED = "dropped"
    QUARANTINED = "quarantined"
    NOTED = "noted"
    MADE = "made"


LEDGER = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("fate", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("detail", pa.string(), nullable=False),
    ]
)


def ledger_rows(stage: Stage | str, outcome: Outcome, fans_out: bool = False) -> pa.Table:
    """The lines that one outcome adds to the ledger."""
    name = stage if isinstance(stage, str) else stage.name
    parts = [
        _lines(name, Fate.DROPPED, outcome.dropped),
        _lines(name, Fate.QUARANTINED, outcome.failed),
        _lines(name, Fate.NOTED, outcome.noted),
    ]
    if fans_out:
        makers = [parents[-1] for parents in outcome.kept["parents"].to_pylist()]
        parts.append(_births(name, outcome.kept["id"], makers))
    parts.append(_births(name, outcome.made["id"], outcome.made["parent"].to_pylist()))
    return pa.concat_tables(parts)


def _lines(stage: str, fate: Fate, rows: pa.Table) -> pa.Table:
    stages, fates = ([value] * rows.num_rows for value in (stage, str(fate)))
    return pa.table([rows["id"], stages, fates, rows["reason"], rows["detail"]], LEDGER.names).cast(LEDGER)


def _births(stage: str, ids: pa.ChunkedArray, makers: list[str]) -> pa.Table:
    rows = pa.table({"id": ids, "reason": ["made from"] * len(makers), "detail": pa.array(makers, pa.string())})
    return _lines(stage, Fate.MADE, rows)


def commonest_failure(store: Store, folder: str, shards: Iterable[str]) -> str:
    """Reason and detail of most of the rows that a step put in quarantine."""
    found: Counter[tuple[str, str]] = Counter()
    for shard in shards:
        rows = read_table(store, f"{folder}/ledger/{shard}.arrow")
        rows = rows.filter(pc.equal(rows["fate"], str(Fate.QUARANTINED)))
        found.update(zip(rows["reason"].to_pylist(), rows["detail"].to_pylist(), strict=True))
    return ": ".join(found.most_common(1)[0][0]) if found else "nothing"


def count_outcome(stage: Stage | str, rows_in: int, outcome: Outcome, fans_out: bool = False) -> dict[str, Any]:
    """The counts of one stage on one table: rows in, added, kept and out, and dropped and failed by reason."""
    gone = outcome.dropped.num_rows + outcome.failed.num_rows
    return {
        "stage": stage if isinstance(stage, str) else stage.name,
        "rows_in": rows_in,
        "made": outcome.made.num_rows,
        "kept": rows_in - gone if fans_out else outcome.kept.num_rows,
        "rows_out": outcome.kept.num_rows,
        "dropped": _by_reason(outcome.dropped),
        "failed": _by_reason(outcome.failed),
        "noted": _by_reason(outcome.noted),
    }


def _by_reason(rows: pa.Table) -> dict[str, int]:
    return {count["values"]: count["counts"] for count in pc.value_counts(rows["reason"].combine_chunks()).to_pylist()}


def add_counts(total: dict[str, Any], counts: dict[str, Any]) -> dict[str, Any]:
    """Adds the counts of one stage on another table to `total`."""
    for key in ("rows_in", "made", "kept", "rows_out"):
        total[key] += counts[key]
    for key in ("dropped", "failed", "noted"):
        for reason, number in counts[key].items():
            total[key][reason] = total[key].get(reason, 0) + number
    return total


def imbalances(stages: list[dict[str, Any]]) -> Iterator[str]:
    """What does not add up in the counts of a step's stages, in words."""
    for counts in stages:
        accounted = counts["kept"] + sum(counts["dropped"].values()) + sum(counts["failed"].values())
        if accounted != counts["rows_in"] + counts["made"]:
            made = f" and {counts['made']} made" if counts["made"] else ""
            yield f"{counts['stage']}: {counts['rows_in']} rows in{made}, {accounted} accounted for"
    for first, second in pairwise(stages):
        if first["rows_out"] != second["rows_in"]:
            yield f"{first['stage']} gave {first['rows_out']} rows, {second['stage']} read {second['rows_in']}"


def check_balance(stages: list[dict[str, Any]], where: str) -> None:
    """Refuses counts that do not balance.

    Raises:
        StageError: naming the stage and both counts.
    """
    for fault in imbalances(stages):
        raise StageError(f"the rows do not balance: {fault}", where=where)


@dataclass(frozen=True)
class Event:
    """One thing that happened to a row."""

    id: str
    step: str
    stage: str
    fate: str
    reason: str
    detail: str


def explain(store: Store, row_id: str) -> list[Event]:
    """The whole life of a row: every step it passed, what was changed, what was made of it, where and why it ended.

    Args:
        store: The output of a run.
        row_id: The id of a document, or of a row that was made from one; a unique beginning of it will do.

    Raises:
        ArtifactError: no step knows such a row, or several rows begin so.
    """
    plan = store.read_json("plan.json")
    events: list[Event] = []
    for step in plan["steps"]:
        for shard in plan["shards"]:
            events += _events(store, step["folder"], shard["name"], row_id)
    ids = {event.id for event in events if event.id.startswith(row_id)}
    if len(ids) != 1:
        raise ArtifactError(
            "no row has this id" if not ids else "several rows' ids begin so",
            where=store.url,
            got=row_id,
            expected=sorted(ids)[:5] or None,
        )
    (found,) = ids
    return [event for event in events if event.id == found or event.detail == found]


def _events(store: Store, folder: str, shard: str, row_id: str) -> Iterator[Event]:
    ledger, data = f"{folder}/ledger/{shard}.arrow", f"{folder}/data/{shard}.arrow"
    if not store.exists(f"{folder}/commits/{shard}.json"):
        return
    for table in read_batches(store, ledger):
        mine = pc.or_(
            pc.starts_with(table["id"], row_id),
            pc.and_(pc.equal(table["fate"], str(Fate.MADE)), pc.starts_with(table["detail"], row_id)),
        )
        for row in table.filter(mine).to_pylist():
            yield Event(row["id"], folder, row["stage"], row["fate"], row["reason"], row["detail"])
    for table in read_batches(store, data, ["id", "source"]):
        for row in table.filter(pc.starts_with(table["id"], row_id)).to_pylist():
            yield Event(row["id"], folder, "", "kept", "", row["source"])
