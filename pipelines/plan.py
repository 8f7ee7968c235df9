"""Turns a recipe into steps and shards, and gives each shard of each step its identity.

A tier is one or more *steps*. A step is what one pass over the shards does: it may begin by carrying out the decision
of a global stage, and then runs consecutive stages that need the same kind of worker. Shards keep their names through
all steps.

The key of a shard in a step is a hash of the stages' identities, of the key of the same shard in the step before, and
of the decision it carries out. So a changed parameter makes everything after it stale and nothing before, and a new
input file makes nothing stale but global decisions. Paths, worker counts, machines and engines never enter a key.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import fsspec
import xxhash

from pipelines.inputs import InputFile, find_inputs
from pipelines.numbered_rows import Earlier, find_earlier
from pipelines.recipe import TIERS, Recipe
from tiers.errors import RecipeError
from tiers.l0_raw import WHOLE, Span, cut
from tiers.llm.prices import Price
from tiers.llm.spending import Budget
from tiers.stage import GlobalStage, Stage, stage_summary


@dataclass(frozen=True)
class Shard:
    """A unit of work and of recovery: the rows of one input file, or of a part of it, through all tiers."""

    name: str
    input: InputFile


@dataclass(frozen=True)
class Step:
    """One pass over the shards.

    Attributes:
        tier: The tier that it belongs to.
        folder: Where its results lie, below the output.
        head: The global stage whose decision it begins with.
        stages: The stages that follow, fused into one pass.
        before: The folder of the step whose rows it reads; `None` where it reads the inputs.
        earlier: Releases or runs whose rows take part in the decision.
    """

    tier: str
    folder: str
    head: GlobalStage | None
    stages: tuple[Stage, ...]
    before: str | None
    earlier: tuple[Earlier, ...] = ()

    @property
    def uses_model(self) -> bool:
        """Whether it runs in the fixed pool of actors that hold models."""
        return any(stage.uses_model for stage in self.stages)

    def identity(self) -> list[Any]:
        """The identities of its stages, in order, with what earlier releases the first one looks at."""
        stages = [dict(stage) for stage in stage_summary([*([self.head] if self.head else []), *self.stages])]
        if self.earlier:
            stages[0]["against"] = [earlier.digest for earlier in self.earlier]
        return stages


@dataclass(frozen=True)
class Plan:
    """Everything that a run will do, in order.

    Attributes:
        keys: For each step, by its folder: the key of each shard, by its name.
        decisions: For each step with a head, by its folder: the key of its decision.
        prices: See `Recipe`; like the next, no part of any key.
        budget: See `Recipe`.
    """

    name: str
    shards: tuple[Shard, ...]
    steps: tuple[Step, ...]
    keys: dict[str, dict[str, str]]
    decisions: dict[str, str]
    max_failed: float
    prices: dict[str, Price] = field(default_factory=dict)
    budget: Budget = field(default_factory=Budget)

    def last_step(self, tier: str) -> Step:
        """The step whose rows are those of `tier`.

        Raises:
            RecipeError: the recipe has no such tier.
        """
        for step in reversed(self.steps):
            if step.tier == tier:
                return step
        raise RecipeError("the recipe does not make this tier", got=tier, expected=[s.tier for s in self.steps])

    def to_json(self) -> dict[str, Any]:
        """What is persisted, for people and for `verify`."""
        return {
            "name": self.name,
            "max_failed": self.max_failed,
            "budget": self.budget.model_dump(exclude_none=True),
            "shards": [
                {"name": shard.name, **shard.input.identity(), "bytes": shard.input.bytes} for shard in self.shards
            ],
            "steps": [
                {
                    "tier": step.tier,
                    "folder": step.folder,
                    "before": step.before,
                    "stages": step.identity(),
                    "decision": self.decisions.get(step.folder),
                    "keys": self.keys[step.folder],
                }
                for step in self.steps
            ],
        }


def fingerprint(value: Any) -> str:
    """The SHA-256 of a value's canonical JSON, as 32 hex digits.

    Raises:
        TypeError: the value holds something that has no canonical form, a function for one.
    """
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]


def make_plan(recipe: Recipe) -> Plan:
    """Plans the whole of `recipe`; how far a run goes is another matter."""
    shards = tuple(_shards(find_inputs(recipe.inputs), recipe.shard_bytes))
    steps = tuple(_steps(recipe))
    keys: dict[str, dict[str, str]] = {}
    decisions: dict[str, str] = {}
    previous = {shard.name: fingerprint(shard.input.identity()) for shard in shards}
    for step in steps:
        if step.head:
            decisions[step.folder] = fingerprint({"stage": step.identity()[0], "rows": previous})
        decided = decisions.get(step.folder)
        identity = step.identity()
        previous = {
            name: fingerprint({"stages": identity, "rows": key, "decision": decided}) for name, key in previous.items()
        }
        keys[step.folder] = previous
    return Plan(recipe.name, shards, steps, keys, decisions, recipe.max_failed, recipe.prices, recipe.budget)


def _steps(recipe: Recipe) -> Iterable[Step]:
    before: str | None = None
    for tier in TIERS:
        stages = recipe.stages(tier)
        if not stages and tier != "L0":
            continue
        for number, (head, fused) in enumerate(_passes(stages), 1):
            name = head.name if head else "+".join(stage.name for stage in fused) or "read"
            earlier = tuple(find_earlier(url, tier) for url in (head.earlier() if head else ()))
            step = Step(tier, f"{tier}/{number}-{name}", head, fused, before, earlier)
            before = step.folder
            yield step


def _passes(stages: Sequence[Stage]) -> Iterable[tuple[GlobalStage | None, tuple[Stage, ...]]]:
    """Cuts a tier's stages into passes: before each global stage, and where the kind of worker changes."""
    head: GlobalStage | None = None
    fused: list[Stage] = []
    started = False
    for stage in stages:
        if isinstance(stage, GlobalStage):
            if started:
                yield head, tuple(fused)
            head, fused = stage, []
        elif started and (stage.uses_model != (bool(fused) and fused[-1].uses_model)):
            yield head, tuple(fused)
            head, fused = None, [stage]
        else:
            fused.append(stage)
        started = True
    yield head, tuple(fused)


def _shards(files: Sequence[InputFile], shard_bytes: int) -> Iterable[Shard]:
    for file in files:
        stem = re.sub(r"[^A-Za-z0-9._-]+", "_", file.uri.rsplit("/", 1)[-1].split(".", 1)[0])[:40]
        name = f"{stem}-{xxhash.xxh3_64_hexdigest(file.uri.encode())[:8]}"
        spans = _cut(file, shard_bytes)
        if len(spans) == 1:
            yield Shard(name, file)
        else:
            for number, span in enumerate(spans):
                yield Shard(f"{name}-{number:05}", replace(file, span=span))


def _cut(file: InputFile, shard_bytes: int) -> Sequence[Span]:
    if file.bytes <= shard_bytes:
        return [WHOLE]
    with fsspec.open(file.path, "rb") as stream:
        return cut(file.format, stream, file.bytes, shard_bytes)
