"""What each rule would drop over a range of thresholds, from the signals and scores that a run kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from pipelines.artifact import Store, read_table
from pipelines.recipe import STAGES
from pipelines.signals import signals_folder
from tiers.errors import ArtifactError, RecipeError
from tiers.l2_scored import Select
from tiers.l2_scored.scorer import QUALITY
from tiers.stage import GlobalStage, Rule, SignalStage, Stage, first_broken, signal_values

SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""For these shares of the rows the overview tells the threshold that would drop them."""
GRID = 21


def thresholds(store: Store, reason: str | None = None) -> dict[str, Any]:
    """What rules drop now and would drop at other thresholds, each rule alone, of the rows that came to its stage.

    Args:
        store: The output of a run.
        reason: A rule, by its reason; a unique part of it will do. By default all of them, in less detail.

    Returns:
        `rules`: for each its stage, reason, signal, direction, present threshold, how many rows came and have a value,
        what it drops `alone` and as the `first` that a row breaks, and `would`: (threshold, dropped). A selection by a
        score is such a rule, unless it cuts each group of rows elsewhere.

    Raises:
        ArtifactError: there is no run here, or none of its stages keeps signals.
        RecipeError: no rule, or several, have this reason.
    """
    overview = reason is None
    found = [entry for stage, signals in _measured(store) for entry in _rules(stage, signals, overview)]
    found += [_entry(stage.name, rule, scores, overview) for stage, rule, scores in _cuts(store)]
    if not found:
        raise ArtifactError("no stage of this run has kept signals", where=store.url, hint="Run its L1 first")
    if reason is not None:
        every = [entry["reason"] for entry in found]
        found = [entry for entry in found if entry["reason"] == reason] or [e for e in found if reason in e["reason"]]
        if len(found) != 1:
            raise RecipeError(
                "not one rule has this reason", got=reason, expected=[e["reason"] for e in found] or every
            )
    return {"output": store.url, "rules": found}


def _measured(store: Store) -> Iterator[tuple[SignalStage, pa.Table]]:
    """The stages of a run that measure, each with the signals of all shards."""
    plan = store.read_json("plan.json")
    for step in (step for step in plan["steps"] if step["tier"] in STAGES):
        kinds = [_kind(step["tier"], identity["stage"]) for identity in step["stages"]]
        stages = [pair for pair in zip(kinds, step["stages"], strict=True) if not issubclass(pair[0], GlobalStage)]
        names = [kind.name for kind, _ in stages]
        for number, (kind, identity) in enumerate(stages):
            if not issubclass(kind, SignalStage):
                continue
            folder = signals_folder(step["folder"], names, number)
            files = [f"{folder}/{shard['name']}.arrow" for shard in plan["shards"]]
            tables = [read_table(store, file) for file in files if store.exists(file)]
            if tables:
                yield kind.model_validate(identity["parameters"]), pa.concat_tables(tables)


def _kind(tier: str, name: str) -> type[Stage]:
    """The class of the stage that a plan names."""
    known = {stage.name: stage for stage in STAGES[tier]}
    if name not in known:
        raise RecipeError("this version has no such stage", where=tier, got=name, expected=sorted(known))
    return known[name]


def _cuts(store: Store) -> Iterator[tuple[Select, Rule, npt.NDArray[np.float64]]]:
    """The selections of a run that cut all rows at one score, with the scores of the rows that came to each."""
    plan = store.read_json("plan.json")
    for step in (step for step in plan["steps"] if step["stages"] and step["stages"][0]["stage"] == Select.name):
        stage = Select.model_validate(step["stages"][0]["parameters"])
        decision = f"{step['folder']}/decision.arrow"
        if stage.per is not None or not store.exists(decision):
            continue
        files = [f"{step['before']}/data/{shard['name']}.arrow" for shard in plan["shards"]]
        tables = [read_table(store, file) for file in files if store.exists(file)]
        scores = np.concatenate([np.asarray(stage.scores(table), np.float64) for table in tables])
        threshold = read_table(store, decision)["score"].to_pylist()
        column = stage.dimension or QUALITY.name
        yield stage, Rule(stage.reason, column, "below", threshold[0] if threshold else None), scores


def _rules(stage: SignalStage, signals: pa.Table, overview: bool) -> Iterator[dict[str, Any]]:
    rules = stage.rules()
    first = Counter(verdict[0] for verdict in first_broken(rules, signals) if verdict)
    for rule in rules:
        entry = _entry(stage.name, rule, signal_values(signals, rule.signal), overview)
        yield entry | {"first": first[rule.reason]}


def _entry(stage: str, rule: Rule, values: npt.NDArray[np.float64], overview: bool) -> dict[str, Any]:
    """What `thresholds` tells of a rule, as if it were the first."""
    known = np.sort(values[~np.isnan(values)])
    steps = _shares(rule, known) if overview else _grid(rule, known)
    alone = int(rule.broken(values).sum())
    return {
        "stage": stage,
        "reason": str(rule.reason),
        "signal": rule.signal,
        "drops": rule.drops,
        "threshold": rule.threshold,
        "rows": len(values),
        "known": len(known),
        "alone": alone,
        "first": alone,
        "would": [(threshold, _dropped(rule, known, threshold)) for threshold in steps],
    }


def _shares(rule: Rule, known: npt.NDArray[np.float64]) -> list[float]:
    """The thresholds beyond which each of `SHARES` of the values lies."""
    if not len(known):
        return []
    at = [1 - share if rule.drops == "above" else share for share in SHARES]
    return [float(value) for value in np.quantile(known, at, method="inverted_cdf")]


def _grid(rule: Rule, known: npt.NDArray[np.float64]) -> list[float]:
    """Round thresholds over the middle 98 % of the values, and the present one."""
    if not len(known):
        return []
    low, high = np.quantile(known, (0.01, 0.99))
    grid = {float(f"{value:.3g}") for value in np.linspace(low, high, GRID)}
    return sorted(grid | ({float(rule.threshold)} if rule.threshold is not None else set()))


def _dropped(rule: Rule, known: npt.NDArray[np.float64], threshold: float) -> int:
    """How many of the values, ascending, lie beyond a threshold."""
    if rule.drops == "above":
        return len(known) - int(np.searchsorted(known, threshold, side="right"))
    return int(np.searchsorted(known, threshold, side="left"))


def render_thresholds(found: dict[str, Any], console: Console) -> None:
    """Prints one line a rule, or one line a threshold where there is one rule."""
    rules = found["rules"]
    if len(rules) == 1:
        _render_one(rules[0], console)
        return
    table = Table(
        title=f"each rule alone, of the rows that came to its stage, at {found['output']}", title_justify="left"
    )
    table.add_column("rule")
    for heading in ("rows", "now", "drops", "first", *(f"{share:.0%} at" for share in SHARES)):
        table.add_column(heading, justify="right")
    for rule in rules:
        sign = ">" if rule["drops"] == "above" else "<"
        now = "off" if rule["threshold"] is None else f"{sign} {rule['threshold']:.4g}"
        would = [f"{threshold:.3g}" for threshold, _ in rule["would"]] or [""] * len(SHARES)
        table.add_row(rule["reason"], f"{rule['rows']:,}", now, f"{rule['alone']:,}", f"{rule['first']:,}", *would)
    console.print(table)


def _render_one(rule: dict[str, Any], console: Console) -> None:
    sign = ">" if rule["drops"] == "above" else "<"
    table = Table(title=f"{rule['reason']}: drops rows whose {rule['signal']} is {sign}", title_justify="left")
    for heading in ("threshold", "drops", "share", ""):
        table.add_column(heading, justify="right" if heading else "left")
    for threshold, dropped in rule["would"]:
        share = dropped / rule["rows"] if rule["rows"] else 0.0
        table.add_row(
            f"{threshold:.4g}", f"{dropped:,}", f"{share:.1%}", "now" if threshold == rule["threshold"] else ""
        )
    console.print(table)
