"""The unit of work: one shard through one step, on whatever worker it lands.

It is a plain function of what it reads, so that running it twice, anywhere, writes the same bytes; only the commit
record, which also holds what it cost, tells the two apart, and the first one stands.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.artifact import HashingSink, Store, TableWriter, Written, open_batches, read_tables
from pipelines.exchange import on_rows, read_decision
from pipelines.inputs import InputFile
from pipelines.ledger import LEDGER, add_counts, check_balance, count_outcome, ledger_rows
from pipelines.plan import Step, fingerprint
from pipelines.signals import KeptSignals, signals_folder
from tiers.document import add_column, check_schema, count_tokens
from tiers.errors import SourceError, TierlineError
from tiers.l0_raw import FORMATS
from tiers.llm import RequestCache
from tiers.stage import Context, GlobalStage, Measure, Outcome, SignalStage, Stage, Usage, check_outcome

Apply = Callable[[pa.Table], Outcome]

REPRODUCIBLE = ("shard", "key", "rows_out", "tokens", "text_bytes", "files")
"""The fields of a commit record that equal work makes equal; the others say what it cost."""


@dataclass(frozen=True)
class ShardTask:
    """One shard of one step.

    Attributes:
        output: Where the run's tiers lie, as a URL.
        step: What to do.
        shard: The shard's name.
        key: Its identity in this step, which the commit record will carry.
        input: The file to read, for the first step; later ones read the step before.
        context: What the worker lends the stages.
        first: The number of the shard's first row among all, for steps that carry out a decision.
    """

    output: str
    step: Step
    shard: str
    key: str
    input: InputFile
    context: Context
    first: int = 0

    @property
    def label(self) -> str:
        """How errors and progress name it."""
        return f"{self.step.folder}/{self.shard}"


def run_shard(task: ShardTask) -> dict[str, Any]:
    """Runs a shard through its step and commits it; gives the commit record.

    Raises:
        TierlineError: an input cannot be read, or a stage broke its contract.
    """
    started, cpu_started = time.perf_counter(), time.process_time()
    store = Store(task.output)
    passes = _Passes(store, task)
    data, ledger = f"{task.step.folder}/data/{task.shard}.arrow", f"{task.step.folder}/ledger/{task.shard}.arrow"
    with store.atomic(data) as data_sink, store.atomic(ledger) as ledger_sink:
        tokens, nbytes = passes.write(data_sink, ledger_sink)
    check_balance(passes.counts(), task.label)
    files = {data: data_sink.written(), ledger: ledger_sink.written(), **passes.write_signals()}
    record = {
        "shard": task.shard,
        "key": task.key,
        "stages": passes.counts(),
        "rows_out": passes.rows_out,
        "tokens": tokens,
        "text_bytes": nbytes,
        "files": {name: asdict(written) for name, written in files.items()},
        "llm": asdict(passes.usage),
        "measured": passes.measured(),
        "seconds": round(time.perf_counter() - started, 4),
        "cpu_seconds": round(time.process_time() - cpu_started, 4),
    }
    record["checksum"] = record_checksum(record)
    return commit(store, f"{task.step.folder}/commits/{task.shard}.json", record)


def record_checksum(record: dict[str, Any]) -> str:
    """The fingerprint of a commit record's other fields, so that an edited count shows."""
    return fingerprint({key: value for key, value in record.items() if key != "checksum"})


def commit(store: Store, name: str, record: dict[str, Any]) -> dict[str, Any]:
    """Writes a commit record unless one with the same key stands; gives the one that stands."""
    if store.exists(name):
        standing = store.read_json(name)
        if standing.get("key") == record["key"]:
            return standing
    store.write_json(name, record)
    return record


class _Passes:
    """Streams a shard's tables through the stages of a step, counting as it goes."""

    def __init__(self, store: Store, task: ShardTask) -> None:
        self._store = store
        self._task = task
        self._counts: dict[int, dict[str, Any]] = {}
        self._signals: list[KeptSignals] = []
        self.usage = Usage()
        self.rows_out = 0

    def counts(self) -> list[dict[str, Any]]:
        """The counts of each stage, in order."""
        return [self._counts[number] for number in sorted(self._counts)]

    def write(self, data_sink: HashingSink, ledger_sink: HashingSink) -> tuple[int, int]:
        """Writes data and ledger; gives the tokens and the bytes of text that went out."""
        tokens: int = 0
        nbytes: int = 0
        data, ledger = TableWriter(data_sink), TableWriter(ledger_sink, LEDGER)
        stages = self._stages()
        for source in self._sources():
            table = source.kept
            if self._task.step.before is None:
                reader = f"read_{self._task.input.format}"
                self._record(0, reader, source, table.num_rows + _gone(source), ledger)
            for number, (stage, apply) in enumerate(stages, 1):
                outcome = apply(table)
                check_outcome(stage, table, outcome)
                self._record(number, stage, outcome, table.num_rows, ledger)
                table = outcome.kept
            check_schema(table.schema, self._task.label)
            data.add(table)
            tokens += count_tokens(table["text"])
            nbytes += int(pc.sum(pc.binary_length(table["text"])).as_py() or 0)
            self.rows_out += table.num_rows
        data.close()
        ledger.close()
        return tokens, nbytes

    def write_signals(self) -> dict[str, Written]:
        """Writes what was measured; gives the files."""
        return {signals.name: signals.write() for signals in self._signals}

    def measured(self) -> int:
        """How many rows stages measured, whose signals weren't kept already."""
        return sum(signals.measured for signals in self._signals)

    def _record(self, number: int, stage: Stage | str, outcome: Outcome, rows_in: int, ledger: TableWriter) -> None:
        fans_out = isinstance(stage, Stage) and stage.fans_out
        ledger.add(ledger_rows(stage, outcome, fans_out))
        counts = count_outcome(stage, rows_in, outcome, fans_out)
        self._counts[number] = add_counts(self._counts[number], counts) if number in self._counts else counts
        self.usage += outcome.usage

    def _sources(self) -> Iterable[Outcome]:
        if self._task.step.before is None:
            return read_input(self._task.input)
        return _read_shard(self._store, f"{self._task.step.before}/data/{self._task.shard}.arrow")

    def _stages(self) -> list[tuple[Stage, Apply]]:
        step = self._task.step
        prepared = [
            (stage, self._with_signals(number, stage, made) if isinstance(stage, SignalStage) else made)
            for number, (stage, made) in enumerate(_prepared(step.stages, self._task.context))
        ]
        if step.head is None:
            return prepared
        return [(step.head, self._carrying_out(step.head)), *prepared]

    def _carrying_out(self, head: GlobalStage) -> Apply:
        first = self._task.first
        with open_batches(self._store, f"{self._task.step.before}/data/{self._task.shard}.arrow") as reader:
            rows = reader.count_rows()
        decision = read_decision(self._store, self._task.step, first, rows)

        def apply(table: pa.Table) -> Outcome:
            nonlocal first
            first += table.num_rows
            return head.apply(table, on_rows(decision, first - table.num_rows, table.num_rows))

        return apply

    def _with_signals(self, number: int, stage: SignalStage, measure: Measure) -> Apply:
        step = self._task.step
        folder = signals_folder(step.folder, [stage.name for stage in step.stages], number)
        name = f"{folder}/{self._task.shard}.arrow"
        self._signals.append(KeptSignals(self._store, name, stage, measure))
        return self._signals[-1].apply


def _gone(outcome: Outcome) -> int:
    return int(outcome.dropped.num_rows + outcome.failed.num_rows)


def _read_shard(store: Store, name: str) -> Iterator[Outcome]:
    """The batches of a step's data; an empty shard gives one empty table, so that its columns stay known."""
    for table in read_tables(store, name):
        yield Outcome(kept=table)


def read_input(file: InputFile) -> Iterator[Outcome]:
    """Reads an input file, or a part of it, into documents; those that tell no licence get that of the file.

    Raises:
        SourceError: the file is gone.
    """
    form = FORMATS[file.format]
    span = {"span": file.span} if form.cut else {}
    try:
        with fsspec.open(file.path, "rb") as stream:
            for outcome in form.read(stream, file.uri, options=file.options, **span):
                yield outcome if file.license is None else replace(outcome, kept=_licensed(outcome.kept, file.license))
    except FileNotFoundError:
        raise SourceError(
            "the file is gone", where=file.uri, got=file.path, hint="Put it back, or plan anew by running again"
        ) from None


def _licensed(table: pa.Table, license: str) -> pa.Table:
    return add_column(table, table.schema.field("license"), pc.fill_null(table["license"], license))


_READY: dict[str, Callable[[Any], Any]] = {}


def _prepared(stages: Sequence[Stage], context: Context) -> list[tuple[Stage, Callable[[Any], Any]]]:
    """Stages made ready once in each process, for all the shards that come to it; those of other steps are let go.

    What is made ready of a stage with signals is its measuring.
    """
    keys = [f"{fingerprint(stage.identity())} {context}" for stage in stages]
    for other in _READY.keys() - keys:
        del _READY[other]
    for key, stage in zip(keys, stages, strict=True):
        if key not in _READY:
            prepare = stage.prepare_measuring if isinstance(stage, SignalStage) else stage.prepare
            _READY[key] = prepare(_on_account(context, stage.name))
    return [(stage, _READY[key]) for key, stage in zip(keys, stages, strict=True)]


def _on_account(context: Context, stage: str) -> Context:
    """`context` with the request cache on the account of one stage of its step."""
    if not isinstance(context.cache, RequestCache):
        return context
    return replace(context, cache=replace(context.cache, stage=f"{context.cache.stage}/{stage}"))


def describe_failure(error: BaseException) -> str:
    """One line for an error of any kind."""
    return str(error) if isinstance(error, TierlineError) else f"{type(error).__name__}: {error}"
