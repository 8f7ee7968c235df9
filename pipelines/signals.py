"""Signals beside the data: what a stage measured of each text, kept so that other thresholds needn't measure again.

    OUT/L1/signals/1-quality_rules/S.arrow    a row for each row of shard S that came to the stage: its id, the xxh3-128
                                              of its text, its signals; the metadata tells what they depend on too

Signals follow from the text, so that whatever earlier stages now let through, what was measured once is found again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import xxhash

from pipelines.artifact import Store, Written, read_table, write_table
from pipelines.plan import fingerprint
from tiers.errors import ArtifactError
from tiers.stage import Measure, Outcome, SignalStage

MEASURED_KEY = b"tierline.measured"
KEYS = (pa.field("id", pa.string(), nullable=False), pa.field("text", pa.binary(16), nullable=False))


def signals_folder(folder: str, names: Sequence[str], number: int) -> str:
    """Where the signals of a step's stage lie, under whatever other stages the step has.

    Args:
        folder: The step's.
        names: Its stages', without that of its head.
        number: Which of them measures.
    """
    tier, _, step = folder.partition("/")
    name, again = names[number], names[:number].count(names[number])
    return f"{tier}/signals/{step.partition('-')[0]}-{name}{f'-{again + 1}' if again else ''}"


@dataclass
class KeptSignals:
    """Applies a stage to a shard's tables, measuring only texts whose signals aren't kept from an earlier run.

    Attributes:
        measured: How many rows were measured.
    """

    store: Store
    name: str
    stage: SignalStage
    measure: Measure
    measured: int = 0
    _tables: list[pa.Table] = field(default_factory=list)

    def __post_init__(self) -> None:
        measuring = fingerprint(self.stage.measuring()).encode()
        self._schema = pa.schema([*KEYS, *self.stage.signals], {MEASURED_KEY: measuring})
        self._kept = self._standing().combine_chunks()
        self._row = {digest: row for row, digest in enumerate(self._kept["text"].to_pylist())}

    def _standing(self) -> pa.Table:
        """What an earlier run kept; nothing where there is none that measured the same, or it can't be read."""
        if self.store.exists(self.name):
            try:
                table = read_table(self.store, self.name)
            except ArtifactError:
                return self._schema.empty_table()
            if table.schema.equals(self._schema, check_metadata=True):
                return table
        return self._schema.empty_table()

    def apply(self, table: pa.Table) -> Outcome:
        """What the stage decides on a table."""
        texts = table["text"]
        digests = [xxhash.xxh3_128_digest(text.as_buffer()) for text in texts]
        missing = [row for row, digest in enumerate(digests) if digest not in self._row]
        signals = self._signals(texts, digests, missing)
        self.measured += len(missing)
        keys = pa.table([table["id"], pa.array(digests, pa.binary(16))], schema=pa.schema(KEYS))
        self._tables.append(pa.table([*keys.columns, *signals.columns], schema=self._schema))
        return self.stage.decide(table, signals)

    def _signals(self, texts: pa.ChunkedArray, digests: Sequence[bytes], missing: Sequence[int]) -> pa.Table:
        names = [signal.name for signal in self.stage.signals]
        new = self.measure(texts.take(pa.array(missing, pa.int64())) if len(missing) < len(texts) else texts)
        place = {row: self._kept.num_rows + number for number, row in enumerate(missing)}
        rows = [place[row] if row in place else self._row[digest] for row, digest in enumerate(digests)]
        return pa.concat_tables([self._kept.select(names), new.select(names)]).take(pa.array(rows, pa.int64()))

    def write(self) -> Written:
        """Writes the signals of all rows that came to the stage."""
        whole = pa.concat_tables([self._schema.empty_table(), *self._tables])
        return write_table(self.store, self.name, whole.replace_schema_metadata(self._schema.metadata))
