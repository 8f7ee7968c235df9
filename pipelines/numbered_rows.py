"""The rows that a global stage decides over, numbered: those of the run's shards, and those of earlier releases.

The run's rows count from 0, shard after shard in the plan's order; those of earlier releases have the negative numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.artifact import Store, checksum, open_batches
from tiers.errors import ArtifactError, RecipeError

ROW = pa.field("row", pa.int64(), nullable=False)


@dataclass(frozen=True)
class Part:
    """A file of rows that are numbered one after the other.

    Attributes:
        name: What the exchange calls it: its shard, or a name that no shard has.
        url: The folder that it lies in.
        file: Its name there, Arrow or Parquet.
        first: The number of its first row.
        rows: How many it has.
        sha256: What its content must be; `None` where its commit record says so.
    """

    name: str
    url: str
    file: str
    first: int
    rows: int
    sha256: str | None = None

    def tables(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Its batches with their numbers in `row`; a file without rows gives one empty table."""
        store, first = Store(self.url), self.first
        read = (
            _parquet(store, self.file, columns) if self.file.endswith(".parquet") else _arrow(store, self.file, columns)
        )
        for table in read:
            yield table.append_column(ROW, pa.array(np.arange(first, first + table.num_rows)))
            first += table.num_rows

    def check(self) -> None:
        """Refuses a file that isn't what its release says.

        Raises:
            ArtifactError: naming both checksums.
        """
        if self.sha256 is not None and (found := checksum(Store(self.url), self.file).sha256) != self.sha256:
            raise ArtifactError(
                "the content is not what was released", where=f"{self.url}/{self.file}", got=found, expected=self.sha256
            )


def _arrow(store: Store, name: str, columns: Sequence[str] | None) -> Iterator[pa.Table]:
    with open_batches(store, name, columns) as reader:
        for number in range(reader.num_record_batches):
            yield pa.Table.from_batches([reader.get_batch(number)])
        if not reader.num_record_batches:
            yield reader.schema.empty_table()


def _parquet(store: Store, name: str, columns: Sequence[str] | None) -> Iterator[pa.Table]:
    with store.open(name) as stream:
        for batch in pq.ParquetFile(stream).iter_batches(1024, columns=columns):
            yield pa.Table.from_batches([batch])


def fetch_rows(parts: Sequence[Part], rows: npt.NDArray[np.int64] | None, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Columns of the rows whose numbers are asked for (ascending), or of all of the run's own rows for `None`."""
    for part in parts:
        if rows is None:
            if part.first >= 0:
                yield from part.tables(columns)
            continue
        start, end = np.searchsorted(rows, [part.first, part.first + part.rows])
        if start == end:
            continue
        for table in part.tables(columns):
            first = part.first if table.num_rows == 0 else table["row"][0].as_py()
            wanted = rows[slice(*np.searchsorted(rows, [first, first + table.num_rows]))]
            if len(wanted):
                yield table.take(pa.array(wanted - first))


@dataclass(frozen=True)
class Earlier:
    """A release, or a tier of a run. `url` is where it lies now; its identity is what it holds.

    Attributes:
        digest: The SHA-256 of the file that holds the checksums of all others.
        files: (name, rows, SHA-256) of its data files.
    """

    url: str
    digest: str
    files: tuple[tuple[str, int, str], ...]


def find_earlier(url: str, tier: str) -> Earlier:
    """The release at `url`, or the tier of the run there.

    Raises:
        RecipeError: there is neither.
    """
    store = Store(url)
    # Workers may run in another folder.
    url = store.fs.unstrip_protocol(store.root)
    if store.exists("SHA256SUMS"):
        sums = (line.split(maxsplit=1) for line in store.read("SHA256SUMS").decode().splitlines())
        data = [(name, sha256) for sha256, name in sums if name.endswith(".parquet")]
        files = [(name, _parquet_rows(store, name), sha256) for name, sha256 in sorted(data)]
        return Earlier(url, checksum(store, "SHA256SUMS").sha256, tuple(files))
    if store.exists(f"{tier}/manifest.json"):
        last = store.read_json(f"{tier}/manifest.json")["steps"][-1]["folder"]
        shards = store.read_json(f"{last}/manifest.json")["shards"]
        files = [
            (name, shard["rows_out"], file["sha256"])
            for shard in shards
            for name, file in shard["files"].items()
            if name.startswith(f"{last}/data/")
        ]
        return Earlier(url, checksum(store, f"{tier}/manifest.json").sha256, tuple(files))
    raise RecipeError(
        "there is neither a release nor a run with this tier", where=url, expected=f"{tier} or SHA256SUMS"
    )


def _parquet_rows(store: Store, name: str) -> int:
    with store.open(name) as stream:
        rows: int = pq.ParquetFile(stream).metadata.num_rows
    return rows


def number_rows(own: Iterable[Part], earlier: Sequence[Earlier]) -> tuple[Part, ...]:
    """All parts in the order of their numbers: earlier ones, then the run's own."""
    parts: list[Part] = []
    first = -sum(rows for release in earlier for _, rows, _ in release.files)
    for number, release in enumerate(earlier):
        for place, (file, rows, sha256) in enumerate(release.files):
            # No shard's name begins with a dot.
            parts.append(Part(f".earlier-{number}-{place}", release.url, file, first, rows, sha256))
            first += rows
    for part in own:
        parts.append(replace(part, first=first))
        first += part.rows
    return tuple(parts)
