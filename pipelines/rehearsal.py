"""Takes a sample of a recipe's documents through its real stages, without asking a language model anything.

Of some shards some documents are taken, and go through every tier in pieces, each of which is a shard of a run in a
temporary folder. Prompts are built and counted, and the replies mean nothing (`tiers.llm.rehearsal`). Models in this
process then answer a few of the prompts, to be timed, and servers if they are to be asked.

A judge is asked about all of them, so that it can be distilled; `share_of` says what part of its requests a run would
send. What models write passes every gate, so that what is made of it is counted.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.artifact import Store, write_table
from pipelines.dataflow import run_plan
from pipelines.engine import LocalEngine
from pipelines.inputs import InputFile
from pipelines.plan import Plan, Shard, Step
from pipelines.recipe import TIERS
from pipelines.shard_task import read_input
from tiers.document import id_hashes
from tiers.errors import LLMError, TierlineError
from tiers.l2_scored import Annotate
from tiers.llm import LLM, Finish, Request, open_llm
from tiers.llm.openai_server import CONCURRENCY
from tiers.llm.prices import is_remote
from tiers.llm.rehearsal import Asked, Rehearsal
from tiers.stage import Context, Stage

SHARDS = 8
"""So many shards are read, and the sample has at least as many pieces."""

TIMED = 8
"""So many prompts of a stage are answered by a model in this process, to be timed."""

Label = tuple[str, str]
"""A stage, as STEP/STAGE, and the model that it asks, as the recipe names it."""


@dataclass(frozen=True)
class Piece:
    """A part of the sample, which goes through the stages as one shard.

    Attributes:
        name: Of the shard that it is.
        input: Where its documents are from.
        rows: They themselves.
        weight: How many documents of the shards that were read each of them stands for.
    """

    name: str
    input: InputFile
    rows: pa.Table
    weight: float


@dataclass
class Rehearsed:
    """What the pieces needed.

    Attributes:
        records: By step and piece, the commit record.
        asked: By stage and model, and piece, what would have been asked.
        share_of: By stage, as STEP/STAGE, what share of that a run would ask, where it isn't all.
        tiers: Those that the sample went through.
        ended: Why it couldn't go through the next one; empty where it went through all.
    """

    records: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    asked: dict[Label, dict[str, list[Asked]]] = field(default_factory=dict)
    share_of: dict[str, float] = field(default_factory=dict)
    tiers: list[str] = field(default_factory=list)
    ended: str = ""


def take_sample(shards: Iterable[Shard], documents: int) -> tuple[list[Piece], int]:
    """Of each shard the documents with the smallest hashes of ids, in pieces; and how many documents the shards hold.

    Args:
        shards: Those to read.
        documents: How many to take, about.

    Raises:
        SourceError: a file is gone.
    """
    shards = list(shards)
    each, cuts = max(1, documents // len(shards)), max(1, SHARDS // len(shards))
    pieces: list[Piece] = []
    total = 0
    for shard in shards:
        kept, rows = _smallest(shard, each)
        total += rows
        for number in range(cuts):
            part = kept[number::cuts] if kept else []
            if part:
                table = pa.concat_tables(part).combine_chunks()
                pieces.append(Piece(f"{shard.name}-{number}", shard.input, table, rows / len(kept)))
    return pieces, total


def _smallest(shard: Shard, count: int) -> tuple[list[pa.Table], int]:
    """The rows of a shard with the smallest hashes of their ids, each a table; and how many rows it has."""
    kept: pa.Table | None = None
    rows = 0
    for outcome in read_input(shard.input):
        rows += outcome.kept.num_rows
        table = outcome.kept if kept is None else pa.concat_tables([kept, outcome.kept])
        kept = table.take(pa.array(np.argsort(id_hashes(table["id"]), kind="stable")[:count]))
    return ([kept.slice(row, 1) for row in range(kept.num_rows)] if kept is not None else []), rows


def rehearse(plan: Plan, pieces: Sequence[Piece], models: Path) -> Rehearsed:
    """Takes the pieces through the plan's steps, tier by tier; the memory is left out.

    Raises:
        ModelError: a model in this process isn't here.
    """
    cache = Rehearsal("", "", plan.prices)
    found = Rehearsed(share_of=_shares(plan.steps))
    context, listener = Context(models=models, cache=cache), _Listener(cache, found)
    steps = [replace(step, stages=tuple(map(_whole, step.stages))) for step in plan.steps if step.tier != "memory"]
    steps[0] = replace(steps[0], before="sample")
    with tempfile.TemporaryDirectory(prefix="tierline-plan-") as folder:
        _write_sample(Store(folder), pieces)
        for tier in dict.fromkeys(step.tier for step in steps):
            some = tuple(step for step in steps if TIERS.index(step.tier) <= TIERS.index(tier))
            try:
                run_plan(_plan_of(plan, some, pieces), folder, LocalEngine(), context, listener)
            except TierlineError as error:
                found.ended = f"{tier} can't be tried on the sample: {error.what.splitlines()[-1].strip()}"
                break
            found.tiers.append(tier)
    return found


def _write_sample(store: Store, pieces: Sequence[Piece]) -> None:
    for piece in pieces:
        write_table(store, f"sample/data/{piece.name}.arrow", piece.rows)
    rows = [{"shard": piece.name, "rows_out": piece.rows.num_rows} for piece in pieces]
    store.write_json("sample/manifest.json", {"shards": rows})


def _plan_of(plan: Plan, steps: tuple[Step, ...], pieces: Sequence[Piece]) -> Plan:
    keys = {step.folder: {piece.name: "sample" for piece in pieces} for step in steps}
    decisions = {step.folder: "sample" for step in steps if step.head}
    shards = tuple(Shard(piece.name, piece.input) for piece in pieces)
    return Plan(plan.name, shards, steps, keys, decisions, max_failed=1.0)


def _whole(stage: Stage) -> Stage:
    """The stage as it is tried: a judge judges all, since few of a sample would be too few to distil it from."""
    return stage.model_copy(update={"share": 1.0}) if isinstance(stage, Annotate) else stage


def _shares(steps: Sequence[Step]) -> dict[str, float]:
    """By stage that is tried on more than its share, that share."""
    stages = [(f"{step.folder}/{stage.name}", stage) for step in steps for stage in step.stages]
    return {label: stage.share for label, stage in stages if isinstance(stage, Annotate)}


class _Listener:
    """Notes what each piece needed, as its tasks end one after the other."""

    def __init__(self, cache: Rehearsal, found: Rehearsed) -> None:
        self._cache = cache
        self._found = found
        self._step = ""

    def begin(self, label: str, total: int, done: int) -> None:
        """A step begins."""
        self._step = label.partition(" ")[0]

    def advance(self, record: dict[str, Any] | None) -> None:
        """A piece has gone through the step."""
        if record is None:
            return
        self._found.records.setdefault(self._step, {})[record["shard"]] = record
        for label, asked in self._cache.asked.items():
            self._found.asked.setdefault(label, {}).setdefault(record["shard"], []).extend(asked)
            asked.clear()

    def end(self) -> None:
        """The step has ended."""


def seconds_per_request(found: Rehearsed, models: Path, ask_servers: bool = False) -> dict[Label, float]:
    """The seconds that each model takes for a request of each stage, measured on a few of them.

    Of models in this process it is the CPU's; of servers, which may charge for it and are left out unless they are to
    be asked, the time until they have answered, with as many requests under way as a worker has.

    Raises:
        LLMError: A server doesn't answer.
    """
    measured: dict[Label, float] = {}
    for name in sorted({name for _, name in found.asked if ask_servers or not is_remote(name)}):
        llm = open_llm(name, models)
        for label, by_piece in found.asked.items():
            requests = [asked.request for piece in by_piece.values() for asked in piece]
            if label[1] == name and requests:
                measured[label] = (_timed_server if is_remote(name) else _timed)(llm, requests)
    return measured


def _timed(llm: LLM, requests: Sequence[Request]) -> float:
    """The CPU seconds for one of `requests`."""
    chosen = _some(requests, TIMED)
    llm.complete([replace(chosen[0], max_tokens=1)])  # what a process does once, and what prompts have in common
    began = time.process_time()
    llm.complete(chosen)
    return (time.process_time() - began) / len(chosen)


def _timed_server(llm: LLM, requests: Sequence[Request]) -> float:
    """The seconds until one of `requests` is answered."""
    chosen = _some(requests, CONCURRENCY)
    began = time.perf_counter()
    failed = [result for result in llm.complete(chosen) if result.finish is Finish.ERROR]
    if failed:
        raise LLMError("the server didn't answer all", where=llm.name, got=failed[0].error)
    return (time.perf_counter() - began) / len(chosen)


def _some(requests: Sequence[Request], count: int) -> list[Request]:
    return [requests[at] for at in np.linspace(0, len(requests) - 1, min(count, len(requests))).astype(int)]
