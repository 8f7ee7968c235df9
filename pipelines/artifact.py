"""A tier on disk: data shards, ledgers, commit records and manifests, under any fsspec URL.

    OUT/plan.json                          what is to be done, and by what identity
    OUT/L1/1-quality_rules/data/S.arrow    the rows of shard S after this step (Arrow IPC, zstd)
    OUT/L1/1-quality_rules/ledger/S.arrow  what happened to each row that was dropped, quarantined, changed or made
    OUT/L1/1-quality_rules/commits/S.json  the commit record: counts, checksums, costs
    OUT/L1/1-quality_rules/manifest.json   written last: the step is whole
    OUT/L1/manifest.json                   the tier is whole; names its steps

The commit record is the truth. A data file without one is garbage and is written again. On a local disk every file
appears by write → fsync → rename; an object store makes an object visible only when it is complete.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import fsspec
import pyarrow as pa
import pyarrow.ipc

from tiers.errors import ArtifactError

MAX_BATCH_ROWS = 1024
MAX_BATCH_BYTES = 16 << 20


@dataclass(frozen=True)
class Written:
    """A file that was written: its size in bytes and its SHA-256."""

    bytes: int
    sha256: str


class Store:
    """Files below one root, on any file system that fsspec knows."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.fs, self.root = fsspec.core.url_to_fs(url)
        self.local = isinstance(self.fs, fsspec.implementations.local.LocalFileSystem)

    def path(self, name: str) -> str:
        """The full path of `name`, as the file system spells it."""
        return f"{self.root}/{name}" if name else self.root

    def exists(self, name: str) -> bool:
        """Whether there is a file or folder `name`."""
        return bool(self.fs.exists(self.path(name)))

    def list(self, folder: str, suffix: str = "") -> list[str]:
        """Names of the files right below `folder` that end with `suffix`, sorted."""
        with suppress(FileNotFoundError):
            found = self.fs.ls(self.path(folder), detail=False, refresh=True)
            return sorted(name for path in found if (name := path.rsplit("/", 1)[-1]).endswith(suffix))
        return []

    def open(self, name: str) -> IO[bytes]:
        """Opens `name` for reading.

        Raises:
            ArtifactError: there is no such file.
        """
        try:
            return cast("IO[bytes]", self.fs.open(self.path(name), "rb"))
        except FileNotFoundError:
            hint = "A run writes it: this is the output of none" if name == "plan.json" else ""
            raise ArtifactError("the file is missing", where=self.path(name), hint=hint) from None

    def read(self, name: str) -> bytes:
        """The content of `name`."""
        with self.open(name) as stream:
            return stream.read()

    def read_json(self, name: str) -> dict[str, Any]:
        """The JSON object in `name`.

        Raises:
            ArtifactError: the file is missing, or isn't a JSON object.
        """
        try:
            value = json.loads(self.read(name))
        except ValueError as error:
            raise ArtifactError("the file is not JSON", where=self.path(name), got=str(error)) from None
        if not isinstance(value, dict):
            raise ArtifactError("the file is not a JSON object", where=self.path(name), got=type(value).__name__)
        return value

    def write(self, name: str, content: bytes) -> Written:
        """Writes a whole file atomically."""
        with self.atomic(name) as sink:
            sink.write(content)
        return sink.written()

    def write_json(self, name: str, value: dict[str, Any]) -> Written:
        """Writes `value` as JSON that is the same for equal values."""
        return self.write(name, (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode())

    @contextmanager
    def atomic(self, name: str) -> Iterator[HashingSink]:
        """A sink whose content appears under `name` at once and whole, or not at all."""
        target = self.path(name)
        if not self.local:
            with self.fs.open(target, "wb") as stream:
                yield HashingSink(stream)
            return
        temporary = Path(f"{target}.{uuid.uuid4().hex[:8]}.tmp")
        temporary.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as stream:
                yield HashingSink(stream)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        """Removes a file or a folder, if it is there."""
        with suppress(FileNotFoundError):
            self.fs.rm(self.path(name), recursive=True)

    def remove_leftovers(self) -> None:
        """Removes the temporary files of writers that were killed."""
        if self.local:
            for path in Path(self.root).rglob("*.tmp"):
                path.unlink(missing_ok=True)


class HashingSink:
    """A binary sink that counts and hashes what passes through it."""

    def __init__(self, stream: BinaryIO | IO[bytes]) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()
        self._bytes = 0
        self.closed = False

    def write(self, data: Any) -> int:
        """Passes `data` on."""
        view = memoryview(data)
        self._hash.update(view)
        self._bytes += view.nbytes
        self._stream.write(view)
        return view.nbytes

    def flush(self) -> None:
        """Flushes the stream behind."""
        self._stream.flush()

    def written(self) -> Written:
        """Size and hash of what has passed so far."""
        return Written(self._bytes, self._hash.hexdigest())


class TableWriter:
    """Writes tables of one schema into one Arrow IPC file, in batches that depend on the rows alone.

    Small tables are gathered up to `MAX_BATCH_ROWS` rows or `MAX_BATCH_BYTES`; readers get them back batch by batch.
    """

    def __init__(self, sink: HashingSink, schema: pa.Schema | None = None) -> None:
        self._sink = sink
        self._schema = schema
        self._writer: pa.ipc.RecordBatchFileWriter | None = None
        self._pending: list[pa.Table] = []
        self._rows = 0
        self._bytes = 0

    def add(self, table: pa.Table) -> None:
        """Appends the rows of `table`."""
        self._schema = self._schema or table.schema
        if table.num_rows == 0:
            return
        size = table.nbytes
        if self._rows and (self._rows + table.num_rows > MAX_BATCH_ROWS or self._bytes + size > MAX_BATCH_BYTES):
            self._flush()
        self._pending.append(table)
        self._rows += table.num_rows
        self._bytes += size

    def close(self) -> None:
        """Writes what is left, and the file's footer."""
        self._flush()
        self._open().close()

    def _open(self) -> pa.ipc.RecordBatchFileWriter:
        if self._writer is None:
            options = pa.ipc.IpcWriteOptions(compression="zstd", unify_dictionaries=True)
            self._writer = pa.ipc.new_file(
                pa.PythonFile(self._sink, "w"), self._schema or pa.schema([]), options=options
            )
        return self._writer

    def _flush(self) -> None:
        if self._pending:
            table = pa.concat_tables(self._pending).combine_chunks()
            self._open().write_table(table, max_chunksize=MAX_BATCH_ROWS)
        self._pending, self._rows, self._bytes = [], 0, 0


def write_table(store: Store, name: str, table: pa.Table) -> Written:
    """Writes one table as one Arrow IPC file, atomically."""
    with store.atomic(name) as sink:
        writer = TableWriter(sink, table.schema)
        writer.add(table)
        writer.close()
    return sink.written()


@contextmanager
def open_batches(
    store: Store, name: str, columns: Sequence[str] | None = None
) -> Iterator[pa.ipc.RecordBatchFileReader]:
    """Opens an Arrow IPC file for reading batch by batch; where `columns` are named, nothing else is read.

    Raises:
        ArtifactError: it is missing, or is not an Arrow file.
    """
    with store.open(name) as stream:
        try:
            source = pa.memory_map(store.path(name)) if store.local else stream
            reader = pa.ipc.open_file(source)
            if columns is not None:
                fields = [reader.schema.get_field_index(column) for column in columns]
                reader = pa.ipc.open_file(source, options=pa.ipc.IpcReadOptions(included_fields=fields))
        except (pa.ArrowInvalid, OSError) as error:
            raise ArtifactError("the file is not a whole Arrow file", where=store.path(name), got=str(error)) from None
        yield reader


def read_batches(store: Store, name: str, columns: list[str] | None = None) -> Iterator[pa.Table]:
    """The tables of an Arrow IPC file, one batch at a time.

    Raises:
        ArtifactError: it is missing, or its content is damaged.
    """
    with open_batches(store, name) as reader:
        for number in range(reader.num_record_batches):
            try:
                batch = reader.get_batch(number)
            except (pa.ArrowInvalid, OSError) as error:
                raise ArtifactError("the content is damaged", where=store.path(name), got=str(error)) from None
            table = pa.Table.from_batches([batch])
            yield table.select(columns) if columns else table


def read_tables(store: Store, name: str) -> Iterator[pa.Table]:
    """As `read_batches`, but a file without rows gives one empty table, so that its columns stay known."""
    with open_batches(store, name) as reader:
        schema, count = reader.schema, reader.num_record_batches
    yield from read_batches(store, name) if count else (schema.empty_table(),)


def read_table(store: Store, name: str, columns: list[str] | None = None) -> pa.Table:
    """The whole of an Arrow IPC file."""
    table = pa.concat_tables(read_tables(store, name))
    return table.select(columns) if columns else table


def checksum(store: Store, name: str) -> Written:
    """Size and SHA-256 of a file as it lies there."""
    digest, size = hashlib.sha256(), 0
    with store.open(name) as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
            size += len(block)
    return Written(size, digest.hexdigest())
