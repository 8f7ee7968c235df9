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

from latent_memory.memory import LatentMemory, compress
from pipelines.artifact import Store, read_batches
from tiers.document import DOCUMENT, child_id, with_columns
from tiers.stage import Context, Outcome, Stage, fates

TABLE = "memory/lance"
RECORD = "memory/committed.json"
COLUMNS = ("vector", "latent", "scale", "status", "tier", "kind")


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
        """The function that compresses a table; the model is loaded once in each process."""

        def apply(table: pa.Table) -> Outcome:
            chosen, dropped = self._chosen(table)
            latents = compress(chosen, self.tier, self.compressor, context.models)
            makers = _makers(chosen["id"].to_pylist(), latents["evidence_id"].to_pylist())
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


def _makers(evidence: list[str], latents: list[str]) -> list[str]:
    """For each latent, the evidence that it was made of; both in the same order."""
    makers: list[str] = []
    rows = iter(evidence)
    maker, number = "", 0
    for latent in latents:
        while latent not in (maker, child_id(maker, "latent", number)):
            maker, number = next(rows), 0
        makers.append(maker)
        number += 1
    return makers


def _latent_rows(evidence: pa.Table, latents: pa.Table, makers: list[str]) -> pa.Table:
    """Latents as document rows, with what the memory needs in columns `latent.*`."""
    at = pc.index_in(pa.array(makers, pa.string()), value_set=evidence["id"].combine_chunks())
    rows = evidence.select(DOCUMENT.names).take(at)
    parents = [[*documents, maker] for documents, maker in zip(latents["documents"].to_pylist(), makers, strict=True)]
    replaced = {
        "id": latents["evidence_id"],
        "text": latents["text"],
        "parents": pa.array(parents, pa.list_(pa.string())),
    }
    fields = [latents.schema.field(name).with_name(f"latent.{name}") for name in COLUMNS]
    columns = [replaced.get(name, rows[name]).cast(DOCUMENT.field(name).type) for name in DOCUMENT.names]
    return pa.table([*columns, *(latents[name] for name in COLUMNS)], schema=with_columns(fields))


def _latents(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """The inverse of `_latent_rows`: a table that the memory takes."""
    columns = {
        "evidence_id": rows["id"],
        "documents": pa.array([parents[:-1] for parents in rows["parents"].to_pylist()], pa.list_(pa.string())),
        "text": rows["text"],
        "source": rows["source"],
        **{name: rows[f"latent.{name}"] for name in COLUMNS},
    }
    return pa.table([columns[field.name].cast(field.type) for field in schema], schema=schema)


def _table(store: Store) -> str:
    return store.path(TABLE) if store.local else f"{store.url}/{TABLE}"


def open_memory(store: Store, models: Path | None = None) -> LatentMemory:
    """The memory that a run made.

    Raises:
        SourceError: there is none.
        ModelError: the compressor isn't the one that the memory was made with.
    """
    record = store.read_json(RECORD)
    compressor = record["compressor"]
    return LatentMemory.open(_table(store), Path(compressor) if compressor else None, models)


def _committed_latents(store: Store, folder: str, shards: list[str], schema: pa.Schema) -> Iterator[pa.Table]:
    """The latents of every shard, batch by batch."""
    for shard in shards:
        for rows in read_batches(store, f"{folder}/data/{shard}.arrow"):
            yield _latents(rows, schema)


def commit_memory(store: Store, manifest: dict[str, Any], stage: BuildMemory) -> None:
    """Makes the table of latents from the step's shards, unless it stands already.

    A memory of other rows is made anew and not merged into, so that nothing stays that its sources no longer hold.
    """
    if store.exists(RECORD) and store.read_json(RECORD)["fingerprint"] == manifest["fingerprint"]:
        return
    store.remove(RECORD)
    store.remove(TABLE)
    memory = LatentMemory.create(_table(store), stage.compressor)
    shards = [shard["shard"] for shard in manifest["shards"]]
    rows = memory.commit(_committed_latents(store, manifest["step"], shards, memory.schema))
    compressor = str(stage.compressor) if stage.compressor else None
    store.write_json(RECORD, {"fingerprint": manifest["fingerprint"], "rows": rows, "compressor": compressor})
