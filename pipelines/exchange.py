"""Steps that need all rows at once: partition → spill → reduce → decide.

    each part       spill       EXCHANGE/spill/S.arrow     one Arrow batch for each partition, in order
    each partition  reduce      EXCHANGE/reduced/P.arrow   what the partition's rows say together
    once            decide      STEP/decision.arrow        what every shard will carry out
                                STEP/decision.json         its key, checksum and alarms, written last

A part is a shard, or a file of an earlier release that the stage looks at. How many partitions there are follows from
the number of rows. Every file is written atomically and only when it is whole, so what exists need not be made again.
The folder EXCHANGE carries the decision's key in its name and is removed once the decision stands.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.artifact import Store, open_batches, read_table, write_table
from pipelines.numbered_rows import Part, fetch_rows, number_rows
from pipelines.plan import Step
from tiers.stage import GlobalStage, alarms_of

RunTasks = Callable[[Callable[[Any], Any], Sequence[Any], str], Iterable[Any]]


@dataclass(frozen=True)
class ExchangeTask:
    """One piece of an exchange: a part to spill, a partition to reduce, or all of it to decide."""

    output: str
    step: Step
    key: str
    parts: tuple[Part, ...]
    name: str

    @property
    def folder(self) -> str:
        """Where the exchange's own files lie."""
        return f"{self.step.folder}/exchange-{self.key[:12]}"

    @property
    def label(self) -> str:
        """How errors and progress name it."""
        return f"{self.step.folder}/{self.name}"

    @property
    def head(self) -> GlobalStage:
        """The stage that decides."""
        assert self.step.head is not None
        return self.step.head

    @property
    def partitions(self) -> int:
        """How many partitions there are."""
        rows = sum(part.rows for part in self.parts)
        return -(-rows // self.head.rows_per_partition) or 1 if self.head.rows_per_partition else 1


def exchange(store: Store, step: Step, key: str, shards: Sequence[str], run: RunTasks) -> None:
    """Brings about the decision of `step`, from whatever of it is there already.

    Args:
        store: The run's output.
        step: A step with a head.
        key: The identity of the decision.
        shards: The names of all shards, in the plan's order.
        run: Runs a function over tasks on the engine.
    """
    if decided(store, step, key):
        return
    store.remove(f"{step.folder}/decision.json")
    parts = number_rows(_own_parts(store, step, shards), step.earlier)

    def task(name: str) -> ExchangeTask:
        return ExchangeTask(store.url, step, key, parts, name)

    whole = task("decide")
    spills = [task(part.name) for part in parts if not store.exists(f"{whole.folder}/spill/{part.name}.arrow")]
    list(run(spill_part, spills, "spill"))
    partitions = [str(p) for p in range(whole.partitions)]
    reductions = [task(p) for p in partitions if not store.exists(f"{whole.folder}/reduced/{p}.arrow")]
    list(run(reduce_partition, reductions, "reduce"))
    list(run(decide, [whole], "decide"))
    store.remove(whole.folder)


def _own_parts(store: Store, step: Step, shards: Sequence[str]) -> Iterator[Part]:
    rows = {shard["shard"]: shard["rows_out"] for shard in store.read_json(f"{step.before}/manifest.json")["shards"]}
    for shard in shards:
        yield Part(shard, store.url, f"{step.before}/data/{shard}.arrow", 0, rows[shard])


def first_rows(store: Store, step: Step, shards: Sequence[str]) -> dict[str, int]:
    """The number of each shard's first row."""
    return {part.name: part.first for part in number_rows(_own_parts(store, step, shards), ())}


def decided(store: Store, step: Step, key: str) -> bool:
    """Whether the decision with this key stands."""
    name = f"{step.folder}/decision.json"
    return store.exists(name) and store.read_json(name).get("key") == key


def spill_part(task: ExchangeTask) -> None:
    """Writes what the stage needs to know of one part: one batch for each partition."""
    store = Store(task.output)
    (part,) = (part for part in task.parts if part.name == task.name)
    part.check()
    rows = pa.concat_tables([task.head.spill(table) for table in part.tables()]).combine_chunks()
    # Of 16 bits, numpy sorts by radix.
    partition = (rows["partition"].to_numpy() % task.partitions).astype(np.min_scalar_type(task.partitions))
    order = np.argsort(partition, kind="stable")
    bounds = np.searchsorted(partition[order], np.arange(task.partitions + 1))
    rows = rows.take(pa.array(order))
    with store.atomic(f"{task.folder}/spill/{task.name}.arrow") as sink:
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        with pa.ipc.new_file(pa.PythonFile(sink, "w"), rows.schema, options=options) as writer:
            for start, end in pairwise(bounds.tolist()):
                writer.write_batch(_one_batch(rows.slice(start, end - start)))


def _one_batch(rows: pa.Table) -> pa.RecordBatch:
    batches = rows.combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=rows.schema)


def reduce_partition(task: ExchangeTask) -> None:
    """Reduces the rows of one partition, in the order of the parts and of the rows in each."""
    store = Store(task.output)
    batches = []
    for part in task.parts:
        with open_batches(store, f"{task.folder}/spill/{part.name}.arrow") as reader:
            batches.append(reader.get_batch(int(task.name)))
    write_table(store, f"{task.folder}/reduced/{task.name}.arrow", task.head.reduce(pa.Table.from_batches(batches)))


def decide(task: ExchangeTask) -> None:
    """Decides from the findings of all partitions, and writes the decision and then its record."""
    store = Store(task.output)
    names = [f"{task.folder}/reduced/{number}.arrow" for number in range(task.partitions)]
    findings = pa.concat_tables([read_table(store, name) for name in names])
    decision = task.head.decide(findings, lambda rows, columns: fetch_rows(task.parts, rows, columns))
    name = f"{task.step.folder}/decision.arrow"
    written = write_table(store, name, decision)
    store.write_json(
        f"{task.step.folder}/decision.json",
        {
            "key": task.key,
            "rows": decision.num_rows,
            "alarms": alarms_of(decision),
            "files": {name: asdict(written)},
        },
    )


def read_decision(store: Store, step: Step, first: int, rows: int) -> pa.Table:
    """The decision of `step`; of one that is sorted by row, the batches on `rows` rows from `first` on."""
    name = f"{step.folder}/decision.arrow"
    with open_batches(store, name) as reader:
        if "row" not in reader.schema.names:
            return read_table(store, name)
        starts = _FirstRows(reader)
        batches = range(max(0, bisect_right(starts, first) - 1), bisect_right(starts, first + rows - 1))
        return pa.Table.from_batches([reader.get_batch(number) for number in batches], reader.schema)


class _FirstRows(Sequence[int]):
    """The first row of each batch, read when it is asked for."""

    def __init__(self, reader: pa.ipc.RecordBatchFileReader) -> None:
        self._reader = reader

    def __len__(self) -> int:
        return int(self._reader.num_record_batches)

    def __getitem__(self, number: Any) -> Any:
        return self._reader.get_batch(number)["row"][0].as_py()


def on_rows(decision: pa.Table, first: int, rows: int) -> pa.Table:
    """The part of a decision on `rows` rows from `first` on; all of it where it isn't one on single rows."""
    if "row" not in decision.column_names:
        return decision
    listed: npt.NDArray[np.int64] = decision["row"].to_numpy()
    start, end = np.searchsorted(listed, [first, first + rows])
    return decision.slice(start, end - start)
