"""Latents as Arrow, and the LanceDB table that they end in.

Workers write Arrow tables of latents; one committer merges them. The table has a primary key, without which two
concurrent merges of the same keys duplicate rows silently, and it is read at its newest version unless a tag is asked
for. Its metadata says with what the latents were made; a table that says otherwise is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from latent_memory.ranking import fuse
from tiers.errors import ModelError, SchemaError, SourceError

TABLE = "evidence"
STAMP = b"tierline.memory"
INDEX_FROM = 20_000
"""Rows from which an index of vectors pays; below it a flat search is as fast and exact."""
PROBES = 64
REFINE = 4
"""An indexed search looks into `PROBES` partitions of the index and ranks `REFINE * k` rows anew by their vectors."""
DEPTH = 50
"""How many rows each kind of search gives to be joined with the other's."""
ID = pa.binary(16)
PACKED = ("latent", "vector", "evidence_id", "content", "documents")
"""The columns that a memory cannot do without; the others are for people, filters and full-text search."""


def latent_schema(retrieval_dim: int, latent_dim: int, stamp: dict[str, str]) -> pa.Schema:
    """The schema of latents, `retrieval_dim` halves for the index and `latent_dim` bytes for the generator.

    A latent is packed as `latent_memory.quantisation` says. A vector is of halves, which is the
    smallest type that LanceDB searches by cosine. `content` is a hash of what a latent was made of. `kind`, `status`
    and `tier` take few values, which Lance keeps as a dictionary: they cost less than a byte together.
    """
    words = pa.list_(pa.field("item", pa.string(), nullable=False))
    key = {b"lance-schema:unenforced-primary-key:position": b"1"}
    return pa.schema(
        [
            pa.field("evidence_id", ID, nullable=False, metadata=key),
            pa.field("content", pa.int64(), nullable=False),
            pa.field("documents", pa.list_(pa.field("item", ID, nullable=False)), nullable=False),
            pa.field("kind", pa.string(), nullable=False),
            pa.field("text", pa.string(), nullable=False),
            pa.field("source", pa.string(), nullable=False),
            pa.field("vector", pa.list_(pa.float16(), retrieval_dim), nullable=False),
            pa.field("latent", pa.list_(pa.int8(), latent_dim), nullable=False),
            pa.field("status", pa.string(), nullable=False),
            pa.field("tier", pa.string(), nullable=False),
            pa.field("topics", words, nullable=False),
        ],
        metadata={STAMP: json.dumps(stamp, sort_keys=True).encode()},
    )


def pack_id(text: str) -> bytes:
    """An id of 32 hex digits as 16 bytes.

    Raises:
        SchemaError: when it is something else.
    """
    try:
        packed = bytes.fromhex(text)
    except ValueError:
        packed = b""
    if len(packed) != 16 or packed.hex() != text:
        raise SchemaError(
            "an id that a memory cannot hold",
            got=text,
            expected="32 small hex digits",
            hint="`tiers.document.document_id` makes one of any name",
        )
    return packed


def _stamp_of(schema: pa.Schema) -> dict[str, str] | None:
    raw = (schema.metadata or {}).get(STAMP)
    return dict(json.loads(raw)) if raw else None


def _check_schema(schema: pa.Schema, expected: pa.Schema, where: str) -> None:
    got, stamp = _stamp_of(schema), _stamp_of(expected)
    if got != stamp:
        raise ModelError(
            "these latents were made with another compressor or for another generator",
            where=where,
            got=got,
            expected=stamp,
            hint="Compress the evidence again with this one, or open the memory with the one it was made with",
        )
    if schema.names != expected.names or schema.types != expected.types:
        raise SchemaError("not a table of latents", where=where, got=str(schema), expected=str(expected))


class Store:
    """The table of a memory.

    Args:
        uri: Folder or object store URL of the LanceDB database.
        schema: What `latent_schema` gives for the compressor in use.
        create: Make the table; it may exist already where it has the same stamp.
        tag: Open it as it was when `tag` was given; it is for reading alone then.

    Raises:
        SourceError: when the table isn't there and isn't to be made, or has no such tag.
        ModelError: when it was made with another compressor or generator.
    """

    def __init__(self, uri: str, schema: pa.Schema, create: bool, tag: str | None = None) -> None:
        import lancedb

        self.uri, self.schema, self._at = uri, schema, tag
        database = lancedb.connect(uri, read_consistency_interval=timedelta(0))
        if TABLE in database.list_tables().tables:
            self._table: Any = database.open_table(TABLE)
        elif create:
            self._table = database.create_table(TABLE, schema=schema)
        else:
            raise SourceError("there is no memory here", where=uri, hint="Make it with LatentMemory.create")
        if tag is not None:
            if tag not in self.tags():
                raise SourceError("the memory has no such tag", where=uri, got=tag, expected=sorted(self.tags()))
            self._table.checkout(tag)
        _check_schema(self._table.schema, schema, uri)

    def __len__(self) -> int:
        return int(self._table.count_rows())

    def tags(self) -> dict[str, int]:
        """The names that were given to versions, and the versions."""
        return {name: int(tag["version"]) for name, tag in self._table.tags.list().items()}

    def _check_writable(self) -> None:
        if self._at is not None:
            raise SourceError(
                "a memory that was opened at a tag can only be read",
                where=self.uri,
                got=self._at,
                hint="Open it without",
            )

    def tag(self, name: str) -> None:
        """Names the newest version; a name that is there already moves to it."""
        self._check_writable()
        if name in self.tags():
            self._table.tags.update(name, self._table.version)
        else:
            self._table.tags.create(name, self._table.version)

    def untag(self, name: str) -> None:
        """Takes a name away; the version that had it may be cleaned up."""
        self._check_writable()
        self._table.tags.delete(name)

    def read(self, columns: Sequence[str], condition: str | None = None) -> pa.Table:
        """Some columns of all rows, or of those that a condition holds for."""
        query = self._table.search()
        query = query.where(condition) if condition else query
        return query.select(list(columns)).limit(max(1, len(self))).to_arrow()

    def commit(self, shards: Iterable[pa.Table], whole: bool = False) -> int:
        """Merges tables of latents; repeating it changes nothing.

        It is one transaction, but for the filling of an empty table, which may be larger than memory.

        A row that is there already is replaced where it differs. Where what stands behind a row's content hash has
        changed, all rows of the old content go, so that no piece of a longer text stays behind.

        Args:
            shards: Tables of latents.
            whole: Whether they are all that the table is to hold: every other row goes.

        Returns:
            Rows in the shards. One process commits at a time.
        """
        self._check_writable()
        if not len(self):
            return self._fill(shards)
        merged = self._checked(shards)
        changed, gone = self._changes(merged, whole)
        if changed.num_rows:
            merge = self._table.merge_insert("evidence_id").when_matched_update_all().when_not_matched_insert_all()
            if gone:
                merge = merge.when_not_matched_by_source_delete(gone)
            merge.execute(changed)
        elif gone:
            self._table.delete(gone)
        self._index()
        return int(merged.num_rows)

    def _fill(self, shards: Iterable[pa.Table]) -> int:
        """Streams tables into an empty one; if that is cut off, what is there is merged with when it is repeated."""
        seen: set[bytes] = set()
        for shard in shards:
            table = self._checked([shard])
            keys = table["evidence_id"].to_pylist()
            table = table.filter(pa.array([key not in seen for key in keys], pa.bool_()))
            if table.num_rows:
                self._table.add(table)
                seen.update(keys)
        self._index()
        return len(seen)

    def _checked(self, shards: Iterable[pa.Table]) -> pa.Table:
        """The shards as one table, the first row of each id."""
        tables = list(shards)
        for table in tables:
            _check_schema(table.schema, self.schema, "shard")
        merged = pa.concat_tables(tables) if tables else self.schema.empty_table()
        _, first = np.unique(merged["evidence_id"].to_numpy(zero_copy_only=False), return_index=True)
        return merged.take(np.sort(first)).combine_chunks()

    def _changes(self, merged: pa.Table, whole: bool) -> tuple[pa.Table, str]:
        """The rows that are new or differ, and a condition for those that go; empty where none do."""
        compared = [name for name in self.schema.names if name not in ("vector", "latent", "text")]
        few = not whole and merged.num_rows < 1000
        standing = self.read(compared, _among("evidence_id", merged["evidence_id"]) if few else None)
        at = pc.index_in(merged["evidence_id"], standing["evidence_id"].combine_chunks())
        before = standing.take(at.drop_null())
        known = pc.is_valid(at)
        same = iter(_equal_rows(before, merged.filter(known), compared))
        changed = pa.array([not (there and next(same)) for there in known.to_pylist()], pa.bool_())
        if whole:
            kept = pc.is_in(standing["evidence_id"], merged["evidence_id"].combine_chunks())
            gone = _among("evidence_id", standing["evidence_id"].filter(pc.invert(kept)))
        else:
            replaced = pc.invert(pc.is_in(before["content"], merged["content"].combine_chunks()))
            gone = _among("content", before["content"].filter(replaced))
        return merged.filter(changed), gone

    def _index(self) -> None:
        """Makes the indexes that are due, or takes new rows into them."""
        kinds = {column: index for index in self._table.list_indices() for column in index.columns}
        if any(index.num_unindexed_rows for index in kinds.values()):
            tagged = set(self.tags().values())
            made = [v["timestamp"] for v in self._table.list_versions() if v["version"] in tagged]
            self._table.optimize(cleanup_older_than=kept_for(made))
        self._make_indexes(kinds.keys())

    def _make_indexes(self, standing: Iterable[str]) -> None:
        from lancedb.index import FTS, IvfSq

        rows = len(self)
        if "text" not in standing and rows:
            self._table.create_index("text", config=FTS(with_position=False))
        if "vector" not in standing and rows >= INDEX_FROM:
            self._table.create_index("vector", config=IvfSq(distance_type="cosine"))

    def search(
        self,
        vector: np.ndarray[Any, Any],
        k: int,
        text: str | None = None,
        condition: str | None = None,
        exact: bool = False,
    ) -> pa.Table:
        """The `k` rows that fit best, best first, with `score`, the cosine similarity to the vector.

        Args:
            vector: The query's, (R,).
            k: How many rows.
            text: Full-text search for these words too; both orders are joined by reciprocal rank fusion.
            condition: Only rows that it holds for; see `condition`.
            exact: Compare with every vector, though there is an index.
        """
        size = self.schema.field("vector").type.list_size
        if vector.shape != (size,):
            raise SchemaError("a query vector has the wrong size", where=self.uri, got=vector.shape, expected=(size,))
        near = self._near(vector, k if text is None else max(k, DEPTH), condition, exact)
        if text is None:
            return _with_scores(near, vector)
        query = self._table.search(text, query_type="fts", fts_columns="text")
        query = query.where(condition, prefilter=True) if condition else query
        alike = query.limit(max(k, DEPTH)).select([*self.schema.names, "_score"]).to_arrow().drop_columns("_score")
        both = pa.concat_tables([near, alike])
        best = fuse([near["evidence_id"].to_pylist(), alike["evidence_id"].to_pylist()])[:k]
        return _with_scores(both.take(pc.index_in(pa.array(best, ID), both["evidence_id"].combine_chunks())), vector)

    def _near(self, vector: np.ndarray[Any, Any], k: int, condition: str | None, exact: bool) -> pa.Table:
        query = self._table.search(vector.astype(np.float16), vector_column_name="vector").distance_type("cosine")
        query = query.bypass_vector_index() if exact else query.nprobes(PROBES).refine_factor(REFINE)
        if condition:
            query = query.where(condition, prefilter=True)
        return query.limit(k).select([*self.schema.names, "_distance"]).to_arrow().drop_columns("_distance")

    def forget(self, document: str) -> int:
        """Erases all evidence of a document from the table and from the disk; returns how many rows that were.

        Earlier versions of the table and its indexes hold the rows too: they go with them, and the tags of earlier
        versions as well. No one else may be writing.
        """
        self._check_writable()
        condition = f"array_has(documents, arrow_cast(X'{pack_id(document).hex()}', 'FixedSizeBinary(16)'))"
        held = int(self._table.count_rows(condition))
        if held or self._held_before(condition):
            newest = [name for name, version in self.tags().items() if version == self._table.version]
            if held:
                self._table.delete(condition)
            self._drop_history()
            for name in newest:
                self.tag(name)
        return held

    def _held_before(self, condition: str) -> bool:
        import lancedb

        earlier = lancedb.connect(self.uri).open_table(TABLE)
        for version in self._table.list_versions():
            earlier.checkout(version["version"])
            if earlier.count_rows(condition):
                return True
        return False

    def _drop_history(self) -> None:
        """Leaves the newest version alone, with indexes made of its rows only."""
        import warnings

        for name in self.tags():
            self._table.tags.delete(name)
        for index in self._table.list_indices():
            self._table.drop_index(index.name)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="optimize")  # dropping every old version is the purpose
            self._table.optimize(cleanup_older_than=timedelta(0))
            self._make_indexes(())
            self._table.optimize(cleanup_older_than=timedelta(0))

    def standing(self, contents: Sequence[int]) -> pa.Table:
        """All rows with one of these content hashes: what of them costs to make, and their text."""
        columns = ["evidence_id", "content", "text", "latent", "vector"]
        return self.read(columns, _among("content", pa.array(contents, pa.int64())) or "false")

    def ids(self) -> list[str]:
        """Every evidence id, sorted."""
        return sorted(packed.hex() for packed in pc.unique(self.read(["evidence_id"])["evidence_id"]).to_pylist())

    def bytes_per_evidence(self) -> dict[str, float]:
        """Mean bytes of a row by column; `packed` sums the columns of `PACKED`, `all` sums all."""
        rows = max(1, len(self))
        sizes = {name: _bytes_of(self.read([name])[name]) / rows for name in self.schema.names}
        return {**sizes, "packed": sum(sizes[name] for name in PACKED), "all": sum(sizes.values())}


def _bytes_of(column: pa.ChunkedArray) -> int:
    """Bytes of a column's values alone: no offsets, which Lance packs away."""
    kind = column.type
    if pa.types.is_fixed_size_list(kind):
        return len(column) * int(kind.list_size * kind.value_type.bit_width // 8)
    if pa.types.is_list(kind):
        return _bytes_of(pa.chunked_array([chunk.flatten() for chunk in column.chunks], kind.value_type))
    if pa.types.is_string(kind):
        return int(pc.sum(pc.binary_length(column)).as_py() or 0)
    return len(column) * int(kind.bit_width // 8)


def kept_for(tagged: Sequence[datetime], least: timedelta = timedelta(days=7)) -> timedelta:
    """For how long old versions are kept, where some that have tags were made at these times.

    LanceDB refuses to clean up where a version with a tag would be old enough, so that the oldest of them sets it.
    """
    ages = [datetime.now(time.tzinfo) - time for time in tagged]
    return max([least, *(age + timedelta(hours=1) for age in ages)])


def condition(status: str | None = None, topic: str | None = None) -> str | None:
    """An SQL condition for rows of a verification status and of a topic, as far as they are given."""
    parts = [f"status = {_quoted(status)}"] if status is not None else []
    parts += [f"array_has(topics, {_quoted(topic)})"] if topic is not None else []
    return " AND ".join(parts) or None


def _among(column: str, values: pa.ChunkedArray | pa.Array) -> str:
    """An SQL condition that a column holds one of the values; empty where there are none."""
    told = pc.unique(values).to_pylist()
    listed = ", ".join(f"X'{value.hex()}'" if isinstance(value, bytes) else str(value) for value in told)
    return f"{column} IN ({listed})" if told else ""


def _equal_rows(left: pa.Table, right: pa.Table, columns: Sequence[str], step: int = 10_000) -> Iterator[bool]:
    """Whether each row of two tables of one length is the same, some at a time."""
    for begin in range(0, left.num_rows, step):
        sides = [[side[name].slice(begin, step).to_pylist() for name in columns] for side in (left, right)]
        yield from (a == b for a, b in zip(zip(*sides[0], strict=True), zip(*sides[1], strict=True), strict=True))


def _with_scores(rows: pa.Table, vector: np.ndarray[Any, Any]) -> pa.Table:
    vectors = np.array(rows["vector"].to_pylist(), np.float32).reshape(-1, len(vector))
    norms = np.maximum(np.linalg.norm(vectors, axis=1) * np.linalg.norm(vector), np.float32(1e-12))
    scores = vectors @ vector.astype(np.float32) / norms
    return rows.drop_columns("vector").append_column("score", pa.array(scores.astype(np.float64)))


def _quoted(text: str) -> str:
    escaped = text.replace("'", "''")
    return f"'{escaped}'"
