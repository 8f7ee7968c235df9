"""The contract of a stage, and its outcome.

A stage is a frozen, typed configuration. Its literals are its identity: they, its name and its version are what a
fingerprint is made of, so nothing of the machine may stand in them; a file of the user's is a `Reference`, known by its
content. `prepare` turns it into a function on a worker.

Three kinds: a `Stage` sees one table at a time. A `SignalStage` does so in two steps, measure and decide, so that what
was measured can be kept and decided on anew. A `GlobalStage` decides from all rows at once, as spill (each shard) →
reduce (each partition) → decide (once) → apply (each shard).
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from tiers.errors import StageError
from tiers.llm.prices import without_address

if TYPE_CHECKING:
    from tiers.llm.cache import RequestCache
    from tiers.llm.protocol import Result

FATES = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("detail", pa.string(), nullable=False),
    ]
)


MADE = pa.schema([pa.field("id", pa.string(), nullable=False), pa.field("parent", pa.string(), nullable=False)])
"""Rows that a stage made, and what it made each of them from."""

LISTED = pa.schema([pa.field("row", pa.int64(), nullable=False), *FATES])
"""A decision to drop single rows."""

_ALARMS = b"tierline.alarms"


def with_alarms(decision: pa.Table, alarms: Sequence[str]) -> pa.Table:
    """`decision` with what people should look at, in words."""
    return decision.replace_schema_metadata({_ALARMS: json.dumps(list(alarms))})


def alarms_of(decision: pa.Table) -> list[str]:
    """What people should look at in a decision, in words."""
    alarms: list[str] = json.loads((decision.schema.metadata or {}).get(_ALARMS, b"[]"))
    return alarms


def made(rows: Iterable[tuple[str, str]] = ()) -> pa.Table:
    """A table of (id, parent)."""
    columns = list(zip(*rows, strict=True)) or [(), ()]
    return pa.table([pa.array(column, pa.string()) for column in columns], schema=MADE)


def fates(rows: Iterable[tuple[str, str, str]] = ()) -> pa.Table:
    """A table of (id, reason, detail)."""
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    return pa.table([pa.array(column, pa.string()) for column in columns], schema=FATES)


@dataclass(frozen=True)
class Usage:
    """What a stage consumed of language models; answers from the request cache cost nothing again.

    Attributes:
        requests: Answers.
        cached: Those of them that came from the request cache; the other fields are without them.
        prompt_tokens: Tokens read.
        completion_tokens: Tokens generated.
        cached_prompt_tokens: Tokens read from a server's own cache of prompts.
        cost: Money, in the currency of the run's prices; 0 where no price is known.
    """

    requests: int = 0
    cached: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_prompt_tokens: int = 0
    cost: float = 0.0

    @classmethod
    def of(cls, results: Iterable[Result]) -> Usage:
        """What `results` cost."""
        total = cls()
        for result in results:
            paid = cls(
                requests=1,
                prompt_tokens=result.prompt_tokens,
                completion_tokens=result.completion_tokens,
                cached_prompt_tokens=result.cached_prompt_tokens,
                cost=result.cost,
            )
            total += cls(requests=1, cached=1) if result.cached else paid
        return total

    def __add__(self, other: Usage) -> Usage:
        return Usage(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True)
class Outcome:
    """What a stage made of a table.

    Every row that came in is in exactly one of `kept`, `dropped` and `failed`. A stage that fans out has new rows in
    `kept`, whose makers are the last of their `parents`. One that adds rows has those that it read and those that it
    made in any of the three, each of the latter in `made` as well.

    Attributes:
        kept: The rows that go on, with the stage's columns added.
        dropped: (id, reason, detail) of the rows that a rule removed; `detail` holds the measured value and the
            threshold.
        failed: (id, reason, detail) of the rows that the stage could not process; they go to quarantine.
        noted: (id, reason, detail) about kept rows: what was changed in them, or why something was not.
        usage: What language models were asked for.
        made: (id, parent) of the rows that a stage which adds rows made, whatever became of them.
    """

    kept: pa.Table
    dropped: pa.Table = field(default_factory=fates)
    failed: pa.Table = field(default_factory=fates)
    noted: pa.Table = field(default_factory=fates)
    usage: Usage = Usage()
    made: pa.Table = field(default_factory=made)


@dataclass(frozen=True)
class Context:
    """What a worker lends a stage. None of it bears identity: no result may depend on it.

    Attributes:
        models: The folder that holds model weights.
        cache: The request cache, shared by all workers, with prices and budget; a folder for a cache without them;
            `None` for no cache.
        threads: How many threads a model may use.
        memory: The URL of the memory that an earlier run made, whose latents need not be made again.
    """

    models: Path
    cache: RequestCache | Path | None = None
    threads: int = 1
    memory: str | None = None


LLM_PARAMETERS = {"llm", "llms", "solver", "judge"}
"""What parameters that name language models are called, in every stage."""


class Stage(BaseModel, ABC):
    """One step of work on documents, as a frozen configuration.

    Class attributes:
        name: What a recipe calls it.
        version: Raised whenever the same parameters would give another result.
        needs: Columns that it reads beyond those of every document.
        gives: Fields of the columns that it adds.
        uses_model: Whether preparing it loads a model; such stages run in a fixed pool of actors.
        fans_out: Whether the rows it keeps are new ones, made from those it read.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    name: ClassVar[str]
    version: ClassVar[int] = 1
    needs: ClassVar[tuple[str, ...]] = ()
    gives: ClassVar[tuple[pa.Field, ...]] = ()
    uses_model: ClassVar[bool] = False
    fans_out: ClassVar[bool] = False

    @abstractmethod
    def prepare(self, context: Context) -> Callable[[pa.Table], Outcome]:
        """The function that does the work, ready to run on this worker."""

    def asked_llms(self) -> list[str]:
        """The language models that it asks, as the recipe names them, each once."""
        named = (getattr(self, name) for name in type(self).model_fields if name in LLM_PARAMETERS)
        every = (each for some in named for each in ([some] if isinstance(some, str) else some or ()))
        return list(dict.fromkeys(every))

    def identity(self) -> dict[str, Any]:
        """What distinguishes this stage's results: name, version and every parameter, but where a server is."""
        parameters = self.model_dump(mode="json")
        for name in LLM_PARAMETERS & parameters.keys():
            if named := parameters[name]:
                parameters[name] = without_address(named) if isinstance(named, str) else [*map(without_address, named)]
        return {"stage": self.name, "version": self.version, "parameters": parameters}


@dataclass(frozen=True)
class Rule:
    """A bound on a signal; a row without a value never breaks it.

    Attributes:
        reason: Why a row that breaks it is dropped.
        signal: The name of the signal.
        drops: Whether values above or below the threshold are dropped.
        threshold: The bound, itself allowed; `None` turns the rule off.
    """

    reason: str
    signal: str
    drops: Literal["above", "below"]
    threshold: float | None

    def broken(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Which of `values` break the rule; NaN stands for no value."""
        if self.threshold is None:
            return np.zeros(len(values), np.bool_)
        return values > self.threshold if self.drops == "above" else values < self.threshold

    def detail(self, value: float) -> str:
        """The value and the threshold that it broke, as the ledger says it."""
        return f"{value:.4g} {'>' if self.drops == 'above' else '<'} {self.threshold:.4g}"


Measure = Callable[[pa.ChunkedArray], pa.Table]
"""Gives one row of signals for each text."""


class SignalStage(Stage):
    """A stage that measures each text, which costs, and then decides from the signals, which doesn't.

    Signals depend on the text and on `measuring()` alone. A runner keeps them beside the data, so that a run with other
    thresholds decides without measuring again.
    """

    @property
    @abstractmethod
    def signals(self) -> tuple[pa.Field, ...]:
        """Fields of the signals."""

    def measuring(self) -> dict[str, Any]:
        """What distinguishes this stage's signals: name, version and every parameter that is no threshold."""
        return {"stage": self.name, "version": self.version}

    @abstractmethod
    def prepare_measuring(self, context: Context) -> Measure:
        """The function that measures texts, ready to run on this worker."""

    @abstractmethod
    def rules(self) -> Sequence[Rule]:
        """The rules in the order in which they give the reason."""

    def decide(self, table: pa.Table, signals: pa.Table) -> Outcome:
        """Drops the rows that break a rule; the first one is the reason."""
        return decide_rows(table, first_broken(self.rules(), signals))

    def prepare(self, context: Context) -> Callable[[pa.Table], Outcome]:
        """Measures and decides at once."""
        measure = self.prepare_measuring(context)
        return lambda table: self.decide(table, measure(table["text"]))


def first_broken(rules: Sequence[Rule], signals: pa.Table) -> list[tuple[str, str] | None]:
    """For each row of signals the first rule that it breaks, as (reason, detail), or `None`."""
    first = np.full(signals.num_rows, -1)
    columns = [signal_values(signals, rule.signal) for rule in rules]
    for number in reversed(range(len(rules))):
        first[rules[number].broken(columns[number])] = number
    verdicts: list[tuple[str, str] | None] = [None] * signals.num_rows
    for row in np.flatnonzero(first >= 0).tolist():
        rule, values = rules[first[row]], columns[first[row]]
        verdicts[row] = rule.reason, rule.detail(float(values[row]))
    return verdicts


def signal_values(signals: pa.Table, name: str) -> npt.NDArray[np.float64]:
    """A signal as numbers [rows]; NaN where there is none."""
    values: npt.NDArray[np.float64] = signals[name].cast(pa.float64()).to_numpy()
    return values


Fetch = Callable[[npt.NDArray[np.int64] | None, Sequence[str]], Iterator[pa.Table]]
"""Gives columns of the rows whose numbers are asked for, ascending, or of all of the run's own rows for `None`.

It reads the data once, and gives them table by table as they lie there, each with its numbers in a column `row`.
"""


class GlobalStage(Stage):
    """A stage that needs all rows at once: partition → spill → reduce → decide → apply.

    Every method is pure; the runner moves the tables. It numbers the rows: tables to `spill` have a column `row`, from
    0 in the order of shards; rows of earlier releases have negative numbers. What `spill` gives has an unsigned column
    `partition`: rows that are equal in it reach the same call of `reduce`, ordered by shard and by row within it.

    Class attributes:
        rows_per_partition: How many rows share a call of `reduce`, about; `None` for all.
    """

    rows_per_partition: ClassVar[int | None] = None

    def earlier(self) -> tuple[str, ...]:
        """Folders of releases or runs whose rows take part in the decision without being decided on."""
        return ()

    @abstractmethod
    def spill(self, table: pa.Table) -> pa.Table:
        """What the decision needs to know of each row, with its `partition`."""

    @abstractmethod
    def reduce(self, partition: pa.Table) -> pa.Table:
        """The findings of one partition."""

    def decide(self, findings: pa.Table, fetch: Fetch) -> pa.Table:
        """The decision from the findings of all partitions, in their order; by default those as they are."""
        return findings

    def apply(self, table: pa.Table, decision: pa.Table) -> Outcome:
        """Carries the decision out on one table; by default it lists (row, id, reason, detail) of rows to drop.

        Of a decision with a column `row`, which is sorted by it, the runner gives the part on the rows of `table`.
        """
        return drop_listed(table, decision)

    def prepare(self, context: Context) -> Callable[[pa.Table], Outcome]:
        """Refuses: what a global stage does to a table follows from a decision."""
        raise StageError("a global stage is applied with a decision", where=self.name)


def drop_listed(table: pa.Table, listed: pa.Table) -> Outcome:
    """Drops the rows of `table` that `listed` (id, reason, detail) names."""
    mask = pc.is_in(table["id"], value_set=listed["id"].combine_chunks())
    ids = table["id"].filter(mask)
    at = pc.index_in(ids, value_set=listed["id"].combine_chunks())
    return Outcome(kept=table.filter(pc.invert(mask)), dropped=listed.select(FATES.names).take(at).cast(FATES))


def decide_rows(table: pa.Table, reasons: Sequence[tuple[str, str] | None]) -> Outcome:
    """Splits `table` by one verdict a row: `None` keeps it, (reason, detail) drops it."""
    keep = pa.array([reason is None for reason in reasons], pa.bool_())
    rows = [
        (row_id, *reason) for row_id, reason in zip(table["id"].to_pylist(), reasons, strict=True) if reason is not None
    ]
    return Outcome(kept=table.filter(keep), dropped=fates(rows))


def check_outcome(stage: Stage, table: pa.Table, outcome: Outcome) -> None:
    """Refuses an outcome that loses or invents rows.

    Raises:
        StageError: naming the stage and both counts.
    """
    gone = outcome.dropped.num_rows + outcome.failed.num_rows
    if outcome.made.num_rows:
        _check_made(stage, table, outcome)
    elif stage.fans_out:
        gone_ids = set(outcome.dropped["id"].to_pylist()) | set(outcome.failed["id"].to_pylist())
        makers = set(pc.unique(pc.list_flatten(outcome.kept["parents"])).to_pylist())
        lost = set(table["id"].to_pylist()) - gone_ids - makers
        if lost:
            raise StageError("rows were lost", where=stage.name, got=sorted(lost)[:5], expected=[])
    elif outcome.kept.num_rows + gone != table.num_rows:
        raise StageError(
            "kept + dropped + failed is not the number of rows in",
            where=stage.name,
            got=outcome.kept.num_rows + gone,
            expected=table.num_rows,
        )
    missing = [f.name for f in stage.gives if f.name not in outcome.kept.column_names]
    if missing:
        raise StageError("promised columns are missing", where=stage.name, got=missing, expected=[])


def _check_made(stage: Stage, table: pa.Table, outcome: Outcome) -> None:
    """Refuses an outcome in which a row that came in or was made isn't once, or was made of none that came in."""
    came, made_ids = table["id"].to_pylist(), outcome.made["id"].to_pylist()
    ended = [row_id for part in (outcome.kept, outcome.dropped, outcome.failed) for row_id in part["id"].to_pylist()]
    odd = sorted((Counter([*came, *made_ids]) - Counter(ended)) + (Counter(ended) - Counter([*came, *made_ids])))
    if odd:
        raise StageError("rows were lost or invented", where=stage.name, got=odd[:5], expected=[])
    orphans = sorted(set(outcome.made["parent"].to_pylist()) - set(came))
    if orphans:
        raise StageError("rows were made of others than came in", where=stage.name, got=orphans[:5], expected=[])


def stage_summary(stages: Sequence[Stage]) -> list[Mapping[str, Any]]:
    """The identities of `stages`, in order."""
    return [stage.identity() for stage in stages]
