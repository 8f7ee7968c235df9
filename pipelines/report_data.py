"""What a report tells of each tier, gathered in one or two passes over a run, batch by batch.

Examples are the rows with the smallest ids. An id is a hash, so they are a sample that neither the order of the input
nor the run's engine has a say in.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.artifact import Store, open_batches, read_batches, read_table
from pipelines.ledger import Fate, imbalances
from pipelines.status import run_status
from tiers.l2_scored import Classify, Distil, Select, scorer_report

KEPT_EXAMPLES = 3
LOST_EXAMPLES = 2
EXCERPT = 600
"""Characters of an example's text."""
LENGTH_BINS = 64
"""Half octaves of characters: bin k holds the lengths from 2^(k/2) to below 2^((k+1)/2); bin 0 also the empty text."""
SCORE_BINS = 40

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Example:
    """A row, to be read by a person.

    Attributes:
        text: The first `EXCERPT` characters; `None` where the row was lost before it had a text.
        length: The characters of the whole text.
        detail: The figure that decided, of a lost row.
    """

    id: str
    source: str
    text: str | None
    length: int
    detail: str = ""


@dataclass
class Loss:
    """The rows that one reason took from one step, and examples of them."""

    step: str
    stage: str
    fate: str
    reason: str
    count: int
    examples: list[Example] = field(default_factory=list)


@dataclass
class Scores:
    """The distribution of one score over equal bins from `low` to `high`, before and after the tier selected.

    Attributes:
        threshold: Where the selection cut, if it did by this score.
        measured: How well a distilled score agrees with its judge or its pools, as `scorer_report` tells it.
    """

    column: str
    low: float
    high: float
    before: Counts
    after: Counts
    threshold: float | None
    measured: dict[str, list[float]]


@dataclass
class TierReport:
    """One tier: `status` is what `run_status` says of it."""

    status: dict[str, Any]
    lengths: Counts
    scores: list[Scores]
    kept: list[Example]
    losses: list[Loss]


@dataclass
class RunReport:
    """A whole run. `faults` says what does not balance."""

    name: str
    plan: dict[str, Any]
    tiers: list[TierReport]
    faults: list[str]


def gather(store: Store) -> RunReport:
    """Reads what a report tells of a run, of its unfinished tiers too.

    Raises:
        ArtifactError: there is no run here, or a committed file is missing or damaged.
    """
    plan = store.read_json("plan.json")
    status = run_status(store)
    begun = [tier for tier in status["tiers"] if any(step["committed"] for step in tier["steps"])]
    faults = [
        f"{step['folder']}: {fault}" for tier in begun for step in tier["steps"] for fault in imbalances(step["stages"])
    ]
    return RunReport(plan["name"], plan, [_tier(store, plan, tier) for tier in begun], faults)


def _tier(store: Store, plan: Mapping[str, Any], status: dict[str, Any]) -> TierReport:
    steps = [step for step in plan["steps"] if step["tier"] == status["tier"]]
    done = [step for step in steps if _names(store, plan, step["folder"], "data")]
    last = done[-1]["folder"]
    lengths: Counts = np.zeros(LENGTH_BINS, np.int64)
    smallest: pa.Table | None = None
    for table in _tables(store, plan, last):
        lengths += _length_bins(table["text"])
        rows = table.select(["id", "source", "text"])
        smallest = _first(rows if smallest is None else pa.concat_tables([smallest, rows]), KEPT_EXAMPLES)
    kept = [_example(row) for row in smallest.to_pylist()] if smallest is not None else []
    losses = [loss for step in done for loss in _losses(store, plan, step)]
    return TierReport(status, lengths, _scores(store, plan, steps, done), kept, losses)


def _names(store: Store, plan: Mapping[str, Any], folder: str, kind: str) -> list[str]:
    """The data or ledger files of a step's committed shards."""
    shards = [shard["name"] for shard in plan["shards"] if store.exists(f"{folder}/commits/{shard['name']}.json")]
    return [f"{folder}/{kind}/{shard}.arrow" for shard in shards]


def _tables(store: Store, plan: Mapping[str, Any], folder: str) -> Iterator[pa.Table]:
    for name in _names(store, plan, folder, "data"):
        yield from read_batches(store, name)


def _first(table: pa.Table, count: int) -> pa.Table:
    """The rows with the smallest ids, in their order."""
    return table.take(pc.sort_indices(table, sort_keys=[("id", "ascending")])[:count])


def _example(row: Mapping[str, Any], detail: str = "") -> Example:
    text = row["text"]
    return Example(row["id"], row["source"], text[:EXCERPT], len(text), detail)


def _length_bins(text: pa.ChunkedArray) -> Counts:
    lengths = np.maximum(pc.utf8_length(text).to_numpy(), 1)
    places = np.minimum(np.floor(2 * np.log2(lengths)).astype(np.int64), LENGTH_BINS - 1)
    return np.bincount(places, minlength=LENGTH_BINS)


def _losses(store: Store, plan: Mapping[str, Any], step: Mapping[str, Any]) -> list[Loss]:
    """Every reason for which rows left a step, the most frequent first, with examples."""
    losses: dict[tuple[str, str, str], Loss] = {}
    found: dict[tuple[str, str, str], list[tuple[str, str, str]]] = {}
    for name in _names(store, plan, step["folder"], "ledger"):
        shard = name.rsplit("/", 1)[-1]
        for table in read_batches(store, name):
            for key, rows in _by_reason(table):
                loss = losses.setdefault(key, Loss(step["folder"], *key, count=0))
                loss.count += rows.num_rows
                first = _first(rows, LOST_EXAMPLES)
                some = zip(first["id"].to_pylist(), first["detail"].to_pylist(), strict=True)
                found[key] = sorted([*found.get(key, []), *((*row, shard) for row in some)])[:LOST_EXAMPLES]
    texts = _texts(store, step["before"], [row for rows in found.values() for row in rows])
    for key, rows in found.items():
        for row_id, detail, _ in rows:
            row = texts.get(row_id)
            losses[key].examples.append(_example(row, detail) if row else Example(row_id, "", None, 0, detail))
    return sorted(losses.values(), key=lambda loss: (-loss.count, loss.fate, loss.stage, loss.reason))


def _by_reason(ledger: pa.Table) -> Iterator[tuple[tuple[str, str, str], pa.Table]]:
    gone = ledger.filter(pc.is_in(ledger["fate"], pa.array([str(Fate.DROPPED), str(Fate.QUARANTINED)])))
    columns = ["stage", "fate", "reason"]
    for key in gone.group_by(columns).aggregate([]).to_pylist():
        mine = pc.and_(*(pc.equal(gone[column], key[column]) for column in ("stage", "reason")))
        mine = pc.and_(mine, pc.equal(gone["fate"], key["fate"]))
        yield (key["stage"], key["fate"], key["reason"]), gone.filter(mine)


def _texts(store: Store, before: str | None, rows: Sequence[tuple[str, str, str]]) -> dict[str, dict[str, Any]]:
    """The rows of ids as they entered the step, by id; what a stage of the step itself made is not there."""
    found: dict[str, dict[str, Any]] = {}
    if before is None:
        return found
    for shard in sorted({shard for _, _, shard in rows}):
        wanted = pa.array([row_id for row_id, _, where in rows if where == shard], pa.string())
        for table in read_batches(store, f"{before}/data/{shard}", ["id", "source", "text"]):
            for row in table.filter(pc.is_in(table["id"], wanted)).to_pylist():
                found[row["id"]] = row
    return found


def _scores(
    store: Store, plan: Mapping[str, Any], steps: Sequence[Mapping[str, Any]], done: Sequence[Mapping[str, Any]]
) -> list[Scores]:
    """The scores that this tier gave, over all rows that got one and over those that remain."""
    inherited = set(_score_columns(store, plan, steps[0]["before"]))
    found = []
    for column in _score_columns(store, plan, done[-1]["folder"]):
        if column in inherited:
            continue
        first = next(step["folder"] for step in done if column in _score_columns(store, plan, step["folder"]))
        low, high = _range(store, plan, first, column)
        if low <= high:
            before, after = (_bins(store, plan, where, column, low, high) for where in (first, done[-1]["folder"]))
            found.append(
                Scores(
                    column, low, high, before, after, _threshold(store, done, column), _measured(store, done, column)
                )
            )
    return found


def _score_columns(store: Store, plan: Mapping[str, Any], folder: str | None) -> list[str]:
    names = _names(store, plan, folder, "data") if folder else []
    if not names:
        return []
    with open_batches(store, names[0]) as reader:
        number = (pa.types.is_floating, pa.types.is_integer)
        return [f.name for f in reader.schema if f.name.startswith("score.") and any(is_(f.type) for is_ in number)]


def _values(store: Store, plan: Mapping[str, Any], folder: str, column: str) -> Iterator[npt.NDArray[np.float64]]:
    for table in _tables(store, plan, folder):
        values = table[column].drop_null().to_numpy().astype(np.float64)
        yield values[np.isfinite(values)]


def _range(store: Store, plan: Mapping[str, Any], folder: str, column: str) -> tuple[float, float]:
    ends = [(values.min(), values.max()) for values in _values(store, plan, folder, column) if len(values)]
    return (min(low for low, _ in ends), max(high for _, high in ends)) if ends else (1.0, 0.0)


def _bins(store: Store, plan: Mapping[str, Any], folder: str, column: str, low: float, high: float) -> Counts:
    counts: Counts = np.zeros(SCORE_BINS, np.int64)
    for values in _values(store, plan, folder, column):
        counts += np.histogram(values, bins=SCORE_BINS, range=(low, high if high > low else low + 1))[0]
    return counts


def _threshold(store: Store, done: Sequence[Mapping[str, Any]], column: str) -> float | None:
    """The score at which the tier's selection cut; none where it cut each group of rows elsewhere."""
    for step in done:
        if step["stages"] and step["stages"][0]["stage"] == Select.name and column in Select.needs:
            cuts = read_table(store, f"{step['folder']}/decision.arrow", ["score"])["score"].to_pylist()
            return float(cuts[0]) if len(cuts) == 1 and math.isfinite(cuts[0]) else None
    return None


def _measured(store: Store, done: Sequence[Mapping[str, Any]], column: str) -> dict[str, list[float]]:
    for step in done:
        for stage in (Distil, Classify):
            if step["stages"] and step["stages"][0]["stage"] == stage.name and column in {f.name for f in stage.gives}:
                return scorer_report(read_table(store, f"{step['folder']}/decision.arrow"))
    return {}
