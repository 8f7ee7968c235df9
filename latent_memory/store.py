"""Latents as Arrow, and the LanceDB table that they end in.

Workers write Arrow tables of latents; one committer merges them. The table has a primary key, without which two
concurrent merges of the same keys duplicate rows silently, and it is read at its newest version always. Its metadata
says with what the latents were made; a table that says otherwise is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tiers.errors import ModelError, SchemaError, SourceError

TABLE = "evidence"
STAMP = b"tierline.memory"
INDEX_FROM = 20_000
"""Rows from which an index pays; below it a flat search is as fast and exact."""


def latent_schema(retrieval_dim: int, latent_dim: int, stamp: dict[str, str]) -> pa.Schema:
    """The schema of latents, `retrieval_dim` halves for the index and `latent_dim` bytes for the generator.

    A latent is `latent * scale`; int8 makes it 4 times smaller than float32.
    """
    text = pa.field("item", pa.string(), nullable=False)
    return pa.schema(
        [
            pa.field("evidence_id", pa.string(), nullable=False),
            pa.field("documents", pa.list_(text), nullable=False),
            pa.field("kind", pa.string(), nullable=False),
            pa.field("text", pa.string(), nullable=False),
            pa.field("source", pa.string(), nullable=False),
            pa.field("vector", pa.list_(pa.float16(), retrieval_dim), nullable=False),
            pa.field("latent", pa.list_(pa.int8(), latent_dim), nullable=False),
            pa.field("scale", pa.float32(), nullable=False),
            pa.field("status", pa.string(), nullable=False),
            pa.field("tier", pa.string(), nullable=False),
        ],
        metadata={STAMP: json.dumps(stamp, sort_keys=True).encode()},
    )


def quantise(latents: np.ndarray[Any, np.dtype[np.float32]]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Symmetric int8 with one scale for each row: (N, G) floats to (N, G) int8 and (N,) float32."""
    scale = np.maximum(np.abs(latents).max(axis=1), np.float32(1e-12)) / np.float32(127)
    return np.rint(latents / scale[:, None]).astype(np.int8), scale.astype(np.float32)


def _stamp_of(schema: pa.Schema) -> dict[str, str] | None:
    raw = (schema.metadata or {}).get(STAMP)
    return dict(json.loads(raw)) if raw else None


def _check_stamp(schema: pa.Schema, expected: dict[str, str], where: str) -> None:
    got = _stamp_of(schema)
    if got != expected:
        raise ModelError(
            "these latents were made with another compressor or for another generator",
            where=where,
            got=got,
            expected=expected,
            hint="Compress the evidence again with this one, or open the memory with the one it was made with",
        )


class Store:
    """The table of a memory.

    Args:
        uri: Folder or object store URL of the LanceDB database.
        schema: What `latent_schema` gives for the compressor in use.
        create: Make the table; it may exist already where it has the same stamp.

    Raises:
        SourceError: when the table isn't there and isn't to be made.
        ModelError: when it was made with another compressor or generator.
    """

    def __init__(self, uri: str, schema: pa.Schema, create: bool) -> None:
        import lancedb

        self.uri, self.schema = uri, schema
        database = lancedb.connect(uri, read_consistency_interval=timedelta(0))
        if TABLE in database.list_tables().tables:
            self._table: Any = database.open_table(TABLE)
        elif create:
            self._table = database.create_table(TABLE, schema=schema)
            self._table.set_unenforced_primary_key("evidence_id")
        else:
            raise SourceError("there is no memory here", where=uri, hint="Make it with LatentMemory.create")
        _check_stamp(self._table.schema, self.stamp, uri)

    @property
    def stamp(self) -> dict[str, str]:
        """What the latents were made with."""
        return _stamp_of(self.schema) or {}

    def __len__(self) -> int:
        return int(self._table.count_rows())

    def rows(self) -> pa.Table:
        """Everything that is in the table, in no order."""
        return self._table.to_arrow()

    def commit(self, shards: Iterable[pa.Table]) -> int:
        """Merges tables of latents in one go; a row that is there already is replaced, so that repeating is safe.

        Returns:
            Rows merged. One process commits at a time.
        """
        tables = list(shards)
        for table in tables:
            _check_stamp(table.schema, self.stamp, "shard")
            if table.schema.names != self.schema.names:
                raise SchemaError("not a table of latents", got=table.schema.names, expected=self.schema.names)
        merged = pa.concat_tables(tables) if tables else self.schema.empty_table()
        if not merged.num_rows:
            return 0
        _, first = np.unique(merged["evidence_id"].to_numpy(zero_copy_only=False), return_index=True)
        merged = merged.take(np.sort(first)).combine_chunks()
        self._table.merge_insert("evidence_id").when_matched_update_all().when_not_matched_insert_all().execute(merged)
        self._index()
        return int(merged.num_rows)

    def _index(self) -> None:
        from lancedb.index import IvfSq

        if self._table.list_indices():
            self._table.optimize()
        elif len(self) >= INDEX_FROM:
            self._table.create_index("vector", config=IvfSq(distance_type="cosine"))

    def search(self, vector: np.ndarray[Any, Any], k: int, status: str | None = None) -> pa.Table:
        """The `k` nearest rows by cosine, best first, with `_distance`; only those of a status if one is given."""
        size = self.schema.field("vector").type.list_size
        if vector.shape != (size,):
            raise SchemaError("a query vector has the wrong size", where=self.uri, got=vector.shape, expected=(size,))
        columns = [name for name in self.schema.names if name != "vector"]
        query = self._table.search(vector.astype(np.float16), vector_column_name="vector").distance_type("cosine")
        if self._table.list_indices():
            query = query.refine_factor(5)
        if status is not None:
            query = query.where(f"status = {_quoted(status)}", prefilter=True)
        return query.limit(k).select([*columns, "_distance"]).to_arrow()

    def forget(self, document: str) -> int:
        """Erases all evidence of a document from the table and from the disk; returns how many rows that were.

        Earlier versions of the table hold the rows too, so that they go with them. No one else may be writing.
        """
        import warnings

        condition = f"array_has(documents, {_quoted(document)})"
        held = int(self._table.count_rows(condition))
        if held:
            self._table.delete(condition)
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="optimize")  # dropping every old version is the purpose
                self._table.optimize(cleanup_older_than=timedelta(0))
        return held

    def ids(self) -> list[str]:
        """Every evidence id, sorted."""
        column = self._table.search().select(["evidence_id"]).limit(len(self) or 1).to_arrow()["evidence_id"]
        return sorted(pc.unique(column).to_pylist())


def _quoted(text: str) -> str:
    escaped = text.replace("'", "''")
    return f"'{escaped}'"
