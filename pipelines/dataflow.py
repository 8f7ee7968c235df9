"""Drives a plan through an engine: step by step, shard by shard, from whatever is committed already."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any, Protocol

from pipelines.artifact import Store, checksum
from pipelines.build_memory import BuildMemory, commit_memory, table_url
from pipelines.engine import Engine
from pipelines.exchange import exchange, first_rows
from pipelines.ledger import add_counts, commonest_failure
from pipelines.plan import Plan, Step, fingerprint
from pipelines.shard_task import REPRODUCIBLE, ShardTask, describe_failure, run_shard
from tiers.errors import BudgetError, EngineError, StageError
from tiers.llm import RequestCache
from tiers.stage import Context


class Progress(Protocol):
    """Hears what happens, to show it."""

    def begin(self, label: str, total: int, done: int) -> None:
        """A step begins, `done` of its `total` tasks standing already."""

    def advance(self, record: dict[str, Any] | None) -> None:
        """A task has ended; `record` is its commit record, where it has one."""

    def end(self) -> None:
        """The step has ended."""


@dataclass
class RunSummary:
    """What a run came to.

    Attributes:
        computed: How many shards of steps were worked on in this run.
        reused: How many stood already.
        quarantined: How many rows are in quarantine, over all steps.
    """

    computed: int = 0
    reused: int = 0
    quarantined: int = 0


def run_plan(
    plan: Plan,
    output: str,
    engine: Engine,
    context: Context,
    progress: Progress,
    goal: str | None = None,
    retry: bool = False,
) -> RunSummary:
    """Brings every step of `plan` about, up to the tier `goal`.

    Args:
        plan: What to do.
        output: Where the tiers will lie: a folder or any fsspec URL.
        engine: Where shard tasks run.
        context: What workers lend to stages.
        progress: Hears what happens.
        goal: The last tier to make; `None` for all.
        retry: Asks models again about rows that they failed on, and does again what follows.

    Raises:
        RecipeError: the plan has no such tier.
        EngineError: some shards could not be brought to an end; all the others are committed.
        StageError: a step quarantined more rows than the recipe allows.
    """
    store = Store(output)
    summary = RunSummary()
    steps = plan.steps if goal is None else plan.steps[: plan.steps.index(plan.last_step(goal)) + 1]
    with _alone(store):
        store.remove_leftovers()
        _remove_stale(store, plan)
        if retry:
            _remove_failed_and_what_follows(store, plan)
        store.write_json("plan.json", plan.to_json())
        for step in steps:
            run_step(store, plan, step, engine, context, progress, summary)
            if step is plan.last_step(step.tier):
                _finish_memory(store, step)
                write_tier_manifest(store, plan, step.tier)
    return summary


def run_step(
    store: Store, plan: Plan, step: Step, engine: Engine, context: Context, progress: Progress, summary: RunSummary
) -> None:
    """Brings one step about: its decision, its shards, its manifest."""

    def run(function: Callable[[Any], Any], tasks: Sequence[Any], label: str, done: int = 0) -> Iterator[Any]:
        return _run_tasks(engine, function, tasks, f"{step.folder} {label}".strip(), done, step.uses_model, progress)

    if step.head is not None:
        exchange(store, step, plan.decisions[step.folder], [shard.name for shard in plan.shards], run)
    first = first_rows(store, step, [shard.name for shard in plan.shards]) if step.head else {}
    keys = plan.keys[step.folder]
    context = replace(context, memory=table_url(store)) if step.tier == "memory" else context
    if isinstance(context.cache, RequestCache):
        context = replace(context, cache=replace(context.cache, stage=step.folder))
    standing = {shard.name for shard in plan.shards if _committed(store, step, shard.name, keys[shard.name])}
    tasks = [
        ShardTask(store.url, step, shard.name, keys[shard.name], shard.input, context, first.get(shard.name, 0))
        for shard in plan.shards
        if shard.name not in standing
    ]
    if tasks:
        store.remove(f"{step.folder}/manifest.json")
        store.remove(f"{step.tier}/manifest.json")
    for _ in run(run_shard, tasks, "", len(standing)):
        summary.computed += 1
    summary.reused += len(standing)
    manifest = step_manifest(store, plan, step)
    failed = sum(sum(stage["failed"].values()) for stage in manifest["stages"])
    summary.quarantined += failed
    try:
        _check_budget(store, plan, step, failed, manifest)
    except StageError:
        if step.uses_model:  # a model that failed may not when it is asked again; what it answered is kept
            _remove_failed(store, step, [shard.name for shard in plan.shards])
        raise
    store.write_json(f"{step.folder}/manifest.json", manifest)


def _run_tasks(
    engine: Engine,
    function: Callable[[Any], Any],
    tasks: Sequence[Any],
    label: str,
    done: int,
    uses_model: bool,
    progress: Progress,
) -> Iterator[Any]:
    """Runs tasks to their end; those that fail are reported together, after the others.

    Where one finds the budget spent, no other begins, and those under way come to their end.
    """
    failures: list[str] = []
    spent: list[BudgetError] = []
    unless_spent = takewhile(lambda task: not spent, tasks)
    progress.begin(label, len(tasks) + done, done)
    try:
        for task, result, error in engine.run(function, unless_spent, uses_model) if tasks else ():
            if isinstance(error, BudgetError):
                spent.append(error)
            elif error is not None:
                failures.append(f"{task.label}: {describe_failure(error)}")
            else:
                progress.advance(result)
                yield result
    finally:
        progress.end()
    if failures:
        raise EngineError(
            f"{len(failures)} of {len(tasks)} shard tasks failed:\n  " + "\n  ".join(sorted(failures)),
            where=label,
            hint="The others are committed; the same command goes on from there",
        )
    if spent:
        raise BudgetError(spent[0].what, where=label, hint=spent[0].hint)


def _check_budget(store: Store, plan: Plan, step: Step, failed: int, manifest: dict[str, Any]) -> None:
    stages = manifest["stages"]
    rows_in = stages[0]["rows_in"] + sum(stage["made"] for stage in stages) if stages else 0
    if failed > plan.max_failed * rows_in:
        raise StageError(
            f"{failed} of {rows_in} rows failed",
            where=step.folder,
            got=round(failed / rows_in, 4),
            expected=f"at most {plan.max_failed} (max_failed)",
            hint=f"Most often: {commonest_failure(store, step.folder, [shard.name for shard in plan.shards])}",
        )


def _remove_failed_and_what_follows(store: Store, plan: Plan) -> None:
    shards, gone = [shard.name for shard in plan.shards], False
    for step in plan.steps:
        if gone:
            for part in ("commits", "decision.json"):
                store.remove(f"{step.folder}/{part}")
        elif step.uses_model:
            gone = _remove_failed(store, step, shards)


def _remove_failed(store: Store, step: Step, shards: Iterable[str]) -> bool:
    """Takes back the commits of shards that have rows in quarantine, and says whether there were any."""
    names = [name for shard in shards if store.exists(name := f"{step.folder}/commits/{shard}.json")]
    failed = [name for name in names if any(stage["failed"] for stage in store.read_json(name)["stages"])]
    for name in failed:
        store.remove(name)
    return bool(failed)


def _committed(store: Store, step: Step, shard: str, key: str) -> bool:
    name = f"{step.folder}/commits/{shard}.json"
    return store.exists(name) and store.read_json(name).get("key") == key


def step_manifest(store: Store, plan: Plan, step: Step) -> dict[str, Any]:
    """What a whole step holds. No time or cost is in it: equal work gives equal bytes."""
    shards: list[dict[str, Any]] = []
    stages: list[dict[str, Any]] = []
    for shard in plan.shards:
        record = store.read_json(f"{step.folder}/commits/{shard.name}.json")
        shards.append({key: record[key] for key in REPRODUCIBLE})
        if stages:
            for total, counts in zip(stages, record["stages"], strict=False):
                add_counts(total, counts)
        else:
            stages = record["stages"]
    decision = store.read_json(f"{step.folder}/decision.json") if step.head else None
    return {
        "tier": step.tier,
        "step": step.folder,
        "fingerprint": fingerprint(plan.keys[step.folder]),
        "identity": step.identity(),
        "decision": decision,
        "shards": shards,
        "stages": stages,
        "rows": sum(shard["rows_out"] for shard in shards),
        "tokens": sum(shard["tokens"] for shard in shards),
        "text_bytes": sum(shard["text_bytes"] for shard in shards),
    }


def write_tier_manifest(store: Store, plan: Plan, tier: str) -> None:
    """Writes the manifest of a tier whose steps are whole."""
    folders = [step.folder for step in plan.steps if step.tier == tier]
    last = store.read_json(f"{folders[-1]}/manifest.json")
    steps = [{"folder": folder, **asdict(checksum(store, f"{folder}/manifest.json"))} for folder in folders]
    totals = {key: last[key] for key in ("fingerprint", "rows", "tokens", "text_bytes")}
    store.write_json(f"{tier}/manifest.json", {"name": plan.name, "tier": tier, "steps": steps, **totals})


def _finish_memory(store: Store, step: Step) -> None:
    """Merges the latents of a memory step into its table."""
    for stage in step.stages:
        if isinstance(stage, BuildMemory):
            commit_memory(store, store.read_json(f"{step.folder}/manifest.json"), stage)


def _remove_stale(store: Store, plan: Plan) -> None:
    """Removes steps that the plan no longer has, and what a changed recipe made stale, its manifests first."""
    if not store.exists("plan.json"):
        return
    known = {step.folder for step in plan.steps}
    for old in store.read_json("plan.json")["steps"]:
        if old["folder"] not in known:
            store.remove(f"{old['tier']}/manifest.json")
            store.remove(old["folder"])
    for step in plan.steps:
        for name in store.list(f"{step.folder}/commits", ".json"):
            shard = name.removesuffix(".json")
            if not _committed(store, step, shard, plan.keys[step.folder].get(shard, "")):
                store.remove(f"{step.tier}/manifest.json")
                store.remove(f"{step.folder}/manifest.json")
                for file in (f"commits/{shard}.json", f"data/{shard}.arrow", f"ledger/{shard}.arrow"):
                    store.remove(f"{step.folder}/{file}")


@contextmanager
def _alone(store: Store) -> Iterator[None]:
    """Keeps a second run out of the same folder; the lock ends with the process, however that ends."""
    if not store.local:
        yield
        return
    path = Path(store.root, ".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EngineError(
                "another run is at work in this folder", where=store.root, hint="Wait for its end"
            ) from None
        yield
