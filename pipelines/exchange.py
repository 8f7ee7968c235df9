"""Steps that need all rows at once: partition → spill → reduce → decide.

    each shard      spill       EXCHANGE/spill/S.arrow     one Arrow batch for each partition, in order
    each partition  reduce      EXCHANGE/reduced/P.arrow   what the partition's rows say together
    once            decide      STEP/decision.arrow        what every shard will carry out
                                STEP/decision.json         its key and checksum, written last

Every part is written atomically and only when it is whole, so what exists need not be made again. The folder
EXCHANGE carries the decision's key in its name and is removed once the decision stands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.artifact import Store, open_batches, read_batches, read_table, read_tables, write_table
from pipelines.plan import Step
from tiers.errors import ArtifactError
from tiers.stage import GlobalStage

RunTasks = Callable[[Callable[[Any], Any], Sequence[Any], str], Iterable[Any]]


@dataclass(frozen=True)
class ExchangeTask:
    """One piece of an exchange: a shard to spill, a partition to reduce, or all of it to decide."""

    output: str
    step: Step
    key: str
    shards: tuple[str, ...]
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

    def task(name: str) -> ExchangeTask:
        return ExchangeTask(store.url, step, key, tuple(shards), name)

    folder = task("").folder
    spills = [task(shard) for shard in shards if not store.exists(f"{folder}/spill/{shard}.arrow")]
    list(run(spill_shard, spills, "spill"))
    partitions = [str(p) for p in range(task("").head.partitions)]
    reductions = [task(p) for p in partitions if not store.exists(f"{folder}/reduced/{p}.arrow")]
    list(run(reduce_partition, reductions, "reduce"))
    list(run(decide, [task("decide")], "decide"))
    store.remove(folder)


def decided(store: Store, step: Step, key: str) -> bool:
    """Whether the decision with this key stands."""
    name = f"{step.folder}/decision.json"
    return store.exists(name) and store.read_json(name).get("key") == key


def spill_shard(task: ExchangeTask) -> None:
    """Writes what the stage needs to know of one shard: one batch for each partition."""
    store = Store(task.output)
    tables = read_tables(store, f"{task.step.before}/data/{task.name}.arrow")
    rows = pa.concat_tables([task.head.spill(table) for table in tables]).combine_chunks()
    partition = rows["partition"].to_numpy()
    order = np.argsort(partition, kind="stable")
    bounds = np.searchsorted(partition[order], np.arange(task.head.partitions + 1))
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
    """Reduces the rows of one partition, in the order of the shards and of the rows in each."""
    store = Store(task.output)
    batches = []
    for shard in task.shards:
        with open_batches(store, f"{task.folder}/spill/{shard}.arrow") as reader:
            batches.append(reader.get_batch(int(task.name)))
    write_table(store, f"{task.folder}/reduced/{task.name}.arrow", task.head.reduce(pa.Table.from_batches(batches)))


def decide(task: ExchangeTask) -> None:
    """Decides from the findings of all partitions, and writes the decision and then its record."""
    store = Store(task.output)
    names = [f"{task.folder}/reduced/{number}.arrow" for number in range(task.head.partitions)]
    findings = pa.concat_tables([read_table(store, name) for name in names])
    decision = task.head.decide(findings, _Rows(store, task).fetch)
    name = f"{task.step.folder}/decision.arrow"
    written = write_table(store, name, decision)
    store.write_json(
        f"{task.step.folder}/decision.json",
        {"key": task.key, "rows": decision.num_rows, "files": {name: asdict(written)}},
    )


class _Rows:
    """Finds full rows by id; the index of ids is made when it is first asked for."""

    def __init__(self, store: Store, task: ExchangeTask) -> None:
        self._store = store
        self._names = [f"{task.step.before}/data/{shard}.arrow" for shard in task.shards]
        self._index: dict[str, tuple[int, int, int]] = {}

    def fetch(self, ids: Sequence[str]) -> pa.Table:
        """The rows of `ids`, in that order."""
        if not self._index:
            self._index = {
                row_id: (file, batch, row)
                for file, name in enumerate(self._names)
                for batch, table in enumerate(read_batches(self._store, name, ["id"]))
                for row, row_id in enumerate(table["id"].to_pylist())
            }
        if unknown := [row_id for row_id in ids if row_id not in self._index]:
            raise ArtifactError("rows are missing", where=self._names[0], got=unknown[:5])
        places = sorted({self._index[row_id] for row_id in ids})
        tables = []
        for file, batch in sorted({place[:2] for place in places}):
            with open_batches(self._store, self._names[file]) as reader:
                rows = [row for *where, row in places if where == [file, batch]]
                tables.append(pa.Table.from_batches([reader.get_batch(batch)]).take(rows))
        table = pa.concat_tables(tables) if tables else read_table(self._store, self._names[0]).slice(0, 0)
        return table.take(pc.index_in(pa.array(ids, pa.string()), value_set=table["id"].combine_chunks()))
