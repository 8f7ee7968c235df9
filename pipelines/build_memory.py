"""The step that ends in a memory: shards of latents by any worker, merged into one table by one committer.

A row of this step's data is one latent: a document row whose last parent is the evidence that it was made of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from latent_memory.compression import Standing, compress, piece_id
from latent_memory.memory import LatentMemory
from pipelines.artifact import Store, read_batches
from tiers.document import DOCUMENT, with_columns
from tiers.errors import TierlineError
from tiers.stage import Context, Outcome, Stage, fates

TABLE = "memory/lance"
RECORD = "memory/committed.json"
RUNS = 5
"""How many runs can be opened by their tags; what only older ones held is cleaned up."""
UNUSABLE = (TierlineError, OSError, RuntimeError, ValueError)
"""What opening a memory raises that was made otherwise, or whose making was cut off."""
COLUMNS = ("content", "vector", "latent", "status", "tier", "kind", "topics")


class MemoryReason(StrEnum):
    """Why evidence did not enter the memory."""

    STATUS = "status"
    EMPTY = "empty"


class BuildMemory(Stage):
    """Compresses evidence into latents.

    Attributes:
        compressor: The folder of a trained compressor; by default the one that comes with Tierline.
        statuses: The values of `claim.status` to take in; empty takes all.
        tier: What the latents' `tier` says.
    """

    name: ClassVar[str] = "compress"
    uses_model: ClassVar[bool] = True
    fans_out: ClassVar[bool] = True

    compressor: Path | None = None
    statuses: tuple[str, ...] = ()
    tier: str = "L4"

    def identity(self) -> dict[str, Any]:
        """As for any stage, with what the compressor is in place of where it lies."""
        from latent_memory.pretrained import PACKAGED, read_manifest

        identity = super().identity()
        identity["parameters"]["compressor"] = read_manifest(self.compressor or PACKAGED).stamp()
        return identity

    def prepare(self, context: Context) -> Callable[[pa.Table], Outcome]:
        """The function that compresses a table; the model is loaded once in each process.

        What stands in the memory that an earlier run made is not compressed again. That changes no bit of the result.
        """

        def apply(table: pa.Table) -> Outcome:
            chosen, dropped = self._chosen(table)
            standing = _standing(context.memory, self.compressor, context.models)
            latents = compress(chosen, self.tier, self.compressor, context.models, standing)
            makers = _makers([key.hex() for key in latents["evidence_id"].to_pylist()])
            empty = [row_id for row_id in chosen["id"].to_pylist() if row_id not in set(makers)]
            dropped += [(row_id, MemoryReason.EMPTY, "no text") for row_id in empty]
            return Outcome(_latent_rows(chosen, latents, makers), fates(dropped))

        return apply

    def _chosen(self, table: pa.Table) -> tuple[pa.Table, list[tuple[str, str, str]]]:
        if not self.statuses:
            return table, []
        mask = pc.is_in(table["claim.status"], value_set=pa.array(self.statuses))
        gone = table.filter(pc.invert(mask)).select(["id", "claim.status"]).to_pylist()
        wanted = " or ".join(self.statuses)
        dropped = [(row["id"], str(MemoryReason.STATUS), f"{row['claim.status']}, wanted {wanted}") for row in gone]
        return table.filter(mask), dropped


def _standing(memory: str | None, compressor: Path | None, models: Path) -> Standing | None:
    """Where latents stand already; none where there is no memory, or one of another compressor."""
    if memory is None:
        return None
    try:
        return LatentMemory.open(memory, compressor, models).standing
    except UNUSABLE:
        return None


def _makers(latents: list[str]) -> list[str]:
    """For each latent, the evidence that it was made of: the first one of a piece of evidence has its id."""
    makers: list[str] = []
    maker, number = "", 0
    for latent in latents:
        if latent != piece_id(maker, number):
            maker, number = latent, 0
        makers.append(maker)
        number += 1
    return makers


def _latent_rows(evidence: pa.Table, latents: pa.Table, makers: list[str]) -> pa.Table:
    """Latents as document rows, with what the memory needs in columns `latent.*`."""
    at = pc.index_in(pa.array(makers, pa.string()), value_set=evidence["id"].combine_chunks())
    rows = evidence.select(DOCUMENT.names).take(at)
    documents = [[key.hex() for key in keys] for keys in latents["documents"].to_pylist()]
    parents = [[*keys, maker] for keys, maker in zip(documents, makers, strict=True)]
    replaced = {
        "id": pa.array([key.hex() for key in latents["evidence_id"].to_pylist()], pa.string()),
        "text": latents["text"],
        "parents": pa.array(parents, pa.list_(pa.string())),
    }
    fields = [latents.schema.field(name).with_name(f"latent.{name}") for name in COLUMNS]
    columns = [replaced.get(name, rows[name]).cast(DOCUMENT.field(name).type) for name in DOCUMENT.names]
    return pa.table([*columns, *(latents[name] for name in COLUMNS)], schema=with_columns(fields))


def _latents(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """The inverse of `_latent_rows`: a table that the memory takes."""
    documents = [[bytes.fromhex(key) for key in parents[:-1]] for parents in rows["parents"].to_pylist()]
    columns = {
        "evidence_id": pa.chunked_array([[bytes.fromhex(key) for key in rows["id"].to_pylist()]], pa.binary(16)),
        "documents": pa.chunked_array([documents], schema.field("documents").type),
        "text": rows["text"],
        "source": rows["source"],
        **{name: rows[f"latent.{name}"] for name in COLUMNS},
    }
    return pa.table([columns[field.name].cast(field.type) for field in schema], schema=schema)


def table_url(store: Store) -> str:
    """Where the memory of a run lies."""
    return _url(store, TABLE)


def _url(store: Store, name: str) -> str:
    """A folder of the store as LanceDB spells it."""
    return store.path(name) if store.local else f"{store.url}/{name}".rstrip("/")


def open_memory(store: Store, models: Path | None = None, tag: str | None = None) -> LatentMemory:
    """The memory that a run made, or that `tierline add` did; with `tag`, as it was then.

    Raises:
        SourceError: there is none, or no such tag.
        ModelError: the compressor isn't the one that the memory was made with.
    """
    if not store.exists(RECORD) and store.list("", ".lance"):
        return LatentMemory.open(_url(store, ""), None, models, tag)
    record = store.read_json(RECORD)
    compressor = record["compressor"]
    return LatentMemory.open(table_url(store), Path(compressor) if compressor else None, models, tag)


def _committed_latents(store: Store, folder: str, shards: list[str], schema: pa.Schema) -> Iterator[pa.Table]:
    """The latents of every shard, batch by batch."""
    for shard in shards:
        for rows in read_batches(store, f"{folder}/data/{shard}.arrow"):
            yield _latents(rows, schema)


def commit_memory(store: Store, manifest: dict[str, Any], stage: BuildMemory) -> None:
    """Brings the table of latents to what the step's shards hold, unless it is there already.

    Rows that differ are merged and rows that no shard holds are deleted, in one transaction, so that nothing stays
    that its sources no longer hold. The table gets a tag for the run, by which what it was then can be opened later.
    A table of another compressor is made anew.
    """
    if store.exists(RECORD) and store.read_json(RECORD)["fingerprint"] == manifest["fingerprint"]:
        return
    store.remove(RECORD)
    try:
        memory = LatentMemory.create(table_url(store), stage.compressor)
    except UNUSABLE:
        store.remove(TABLE)
        memory = LatentMemory.create(table_url(store), stage.compressor)
    shards = [shard["shard"] for shard in manifest["shards"]]
    rows = memory.commit(_committed_latents(store, manifest["step"], shards, memory.schema), whole=True)
    tag = f"run-{manifest['fingerprint'][:12]}"
    memory.tag(tag)
    for old in [name for name in memory.tags() if name.startswith("run-")][:-RUNS]:
        memory.untag(old)
    compressor = str(stage.compressor) if stage.compressor else None
    record = {"fingerprint": manifest["fingerprint"], "rows": rows, "compressor": compressor, "tag": tag}
    store.write_json(RECORD, record)
