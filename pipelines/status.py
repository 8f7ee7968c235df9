"""What each tier of a run holds and cost, from its commit records and its accounts of language models."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from pipelines.artifact import Store
from pipelines.ledger import add_counts
from pipelines.spending import SPENDING_HEADS, budget_line, run_spending, spending_row
from tiers.llm.spending import Spent, total


def run_status(store: Store) -> dict[str, Any]:
    """Counts, reasons and costs of each tier and step.

    Raises:
        ArtifactError: there is no run here.
    """
    plan = store.read_json("plan.json")
    tiers: list[dict[str, Any]] = []
    for name in dict.fromkeys(step["tier"] for step in plan["steps"]):
        steps = [_step_status(store, plan, step) for step in plan["steps"] if step["tier"] == name]
        tiers.append(_tier_status(store, name, steps))
    return {
        "name": plan["name"],
        "output": store.url,
        "tiers": tiers,
        "spent": [asdict(spent) for spent in run_spending(store)],
        "budget": plan.get("budget", {}),
    }


def _step_status(store: Store, plan: dict[str, Any], step: dict[str, Any]) -> dict[str, Any]:
    names = [f"{step['folder']}/commits/{shard['name']}.json" for shard in plan["shards"]]
    records = [store.read_json(name) for name in names if store.exists(name)]
    stages: list[dict[str, Any]] = []
    for record in records:
        if stages:
            stages = [add_counts(total, counts) for total, counts in zip(stages, record["stages"], strict=True)]
        else:
            stages = record["stages"]
    return {
        "folder": step["folder"],
        "shards": len(plan["shards"]),
        "committed": len(records),
        "stages": stages,
        "rows": sum(record["rows_out"] for record in records),
        "tokens": sum(record["tokens"] for record in records),
        "seconds": round(sum(record["seconds"] for record in records), 3),
        "cpu_seconds": round(sum(record["cpu_seconds"] for record in records), 3),
        "llm": {key: sum(record["llm"][key] for record in records) for key in (records[0]["llm"] if records else ())},
        "alarms": _alarms(store, step),
    }


def _alarms(store: Store, step: dict[str, Any]) -> list[str]:
    name = f"{step['folder']}/decision.json"
    return store.read_json(name)["alarms"] if store.exists(name) else []


def _tier_status(store: Store, name: str, steps: list[dict[str, Any]]) -> dict[str, Any]:
    reasons: dict[str, dict[str, int]] = {"dropped": {}, "failed": {}, "noted": {}}
    for stage in (stage for step in steps for stage in step["stages"]):
        for fate, counts in reasons.items():
            for reason, number in stage[fate].items():
                key = f"{stage['stage']}.{reason}"
                counts[key] = counts.get(key, 0) + number
    first = steps[0]["stages"]
    return {
        "tier": name,
        "whole": store.exists(f"{name}/manifest.json"),
        "rows_in": first[0]["rows_in"] if first else 0,
        "rows": steps[-1]["rows"],
        "tokens": steps[-1]["tokens"],
        **{fate: _most_first(counts) for fate, counts in reasons.items()},
        "seconds": round(sum(step["seconds"] for step in steps), 3),
        "cpu_seconds": round(sum(step["cpu_seconds"] for step in steps), 3),
        "llm": _summed([step["llm"] for step in steps]),
        "steps": steps,
    }


def _most_first(counts: dict[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _summed(parts: list[dict[str, Any]]) -> dict[str, Any]:
    keys = dict.fromkeys(key for part in parts for key in part)
    return {key: sum(part.get(key, 0) for part in parts) for key in keys}


def render_status(status: dict[str, Any], console: Console) -> None:
    """Prints the tier table."""
    table = Table(title=f"{status['name']} at {status['output']}", title_justify="left")
    accounts = [Spent(**spent) for spent in status["spent"]]
    for heading in ("tier", "rows in", "rows", "tokens", "dropped", "changed", "quarantined", "CPU s", "LLM tokens"):
        words = heading in ("tier", "dropped", "changed", "quarantined")
        table.add_column(heading, justify="left" if words else "right", no_wrap=heading == "tier")
    for tier in status["tiers"]:
        llm = total(spent for spent in accounts if spent.stage.startswith(f"{tier['tier']}/")).tokens
        table.add_row(
            tier["tier"] if tier["whole"] else f"{tier['tier']} (unfinished)",
            f"{tier['rows_in']:,}",
            f"{tier['rows']:,}",
            f"{tier['tokens']:,}",
            _reasons(tier["dropped"]),
            _reasons(tier["noted"]),
            _reasons(tier["failed"]),
            f"{tier['cpu_seconds']:,.1f}",
            f"{llm:,}",
            end_section=True,
        )
    console.print(table)
    if accounts:
        _render_spending(accounts, status["budget"], console)
    for step in (step for tier in status["tiers"] for step in tier["steps"]):
        for alarm in step["alarms"]:
            console.print(
                f"alarm: {step['folder']}: {alarm}", style="red", highlight=False, markup=False, soft_wrap=True
            )


def _render_spending(accounts: list[Spent], budget: dict[str, Any], console: Console) -> None:
    """Prints what each stage paid for, and how much of the budget that is."""
    table = Table(title="language models", title_justify="left")
    for heading in SPENDING_HEADS:
        table.add_column(heading, justify="left" if heading in ("stage", "model") else "right")
    for spent in accounts:
        table.add_row(*spending_row(spent))
    console.print(table)
    if line := budget_line(accounts, budget):
        console.print(line, highlight=False)


def _reasons(counts: dict[str, int], most: int = 6) -> str:
    lines = [f"{number:,} {reason.partition('.')[2]}" for reason, number in list(counts.items())[:most]]
    rest = sum(list(counts.values())[most:])
    return "\n".join([*lines, *([f"{rest:,} for other reasons"] if rest else [])])
