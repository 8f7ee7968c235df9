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
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import fsspec
import xxhash

from pipelines.numbered_rows import Earlier, find_earlier
from pipelines.recipe import TIERS, Input, Recipe
from tiers.errors import RecipeError, SourceError
from tiers.l0_raw import format_of
from tiers.stage import GlobalStage, Stage, stage_summary


@dataclass(frozen=True)
class InputFile:
    """A file to read. `path` is where it lies now; everything else is its identity."""

    path: str
    uri: str
    format: str
    bytes: int
    digest: str
    license: str | None

    def identity(self) -> dict[str, Any]:
        """What distinguishes its documents from those of any other file."""
        return {"uri": self.uri, "format": self.format, "digest": self.digest, "license": self.license}


@dataclass(frozen=True)
class Shard:
    """A unit of work and of recovery: the rows of one input file, through all tiers."""

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
    """

    name: str
    shards: tuple[Shard, ...]
    steps: tuple[Step, ...]
    keys: dict[str, dict[str, str]]
    decisions: dict[str, str]
    max_failed: float

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
    shards = tuple(_shards(find_inputs(recipe.inputs)))
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
    return Plan(recipe.name, shards, steps, keys, decisions, recipe.max_failed)


def _steps(recipe: Recipe) -> Iterable[Step]:
    before: str | None = None
    for tier in TIERS:
        stages = recipe.stages(tier)
        if not stages and tier != "L0":
            return
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


def find_inputs(inputs: Sequence[Input]) -> list[InputFile]:
    """The files that the inputs name, sorted by their names.

    A file's name in records is its path below the glob's fixed part, so that it's the same on every machine.

    Raises:
        SourceError: nothing matches, two files would have the same name, or a format is unknown.
    """
    found: dict[str, InputFile] = {}
    for entry in inputs:
        fs, pattern = fsspec.core.url_to_fs(entry.path)
        if fs.isdir(pattern):
            pattern = f"{pattern}/**"
        paths = [path for path in fs.glob(pattern) if fs.isfile(path)]
        if not paths:
            raise SourceError(
                "no file matches", where=entry.path, hint="A relative path starts from the working folder"
            )
        base = _fixed_part(pattern)
        for path in paths:
            uri = path.removeprefix(base).lstrip("/")
            if uri in found:
                raise SourceError("two inputs have the same name", where=uri, got=[found[uri].path, path])
            found[uri] = InputFile(
                path=fs.unstrip_protocol(path),
                uri=uri,
                format=entry.format or format_of(uri),
                bytes=fs.size(path),
                digest=_digest(fs, path),
                license=entry.license,
            )
    return [found[uri] for uri in sorted(found)]


def _fixed_part(pattern: str) -> str:
    """The folder of a glob that holds no wildcard."""
    parts = PurePosixPath(pattern).parts
    fixed = next((n for n, part in enumerate(parts) if re.search(r"[*?\[]", part)), len(parts) - 1)
    return str(PurePosixPath(*parts[:fixed]))


def _digest(fs: Any, path: str) -> str:
    """What changes when the file does: on a local disk its content's xxh3, else what the store says of it."""
    if isinstance(fs, fsspec.implementations.local.LocalFileSystem):
        digest = xxhash.xxh3_128()
        with fs.open(path, "rb") as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
        return digest.hexdigest()
    info = fs.info(path)
    known = {
        key: str(info[key]) for key in ("size", "ETag", "etag", "md5Hash", "crc32c", "LastModified") if key in info
    }
    return fingerprint(known)


def _shards(files: Sequence[InputFile]) -> Iterable[Shard]:
    for file in files:
        stem = re.sub(r"[^A-Za-z0-9._-]+", "_", file.uri.rsplit("/", 1)[-1].split(".", 1)[0])[:40]
        yield Shard(f"{stem}-{xxhash.xxh3_64_hexdigest(file.uri.encode())[:8]}", file)
