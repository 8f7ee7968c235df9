"""A tier as a data set that others can load: Parquet files, a card, lineage, checksums.

    OUT/README.md                            the card, in the form that the Hugging Face hub reads
    OUT/data/train-00000-of-0000N.parquet    the rows, in the plan's order of shards
    OUT/lineage.json                         inputs, steps and parameters, fingerprints, counts
    OUT/SHA256SUMS                           checksums of all other files, for `sha256sum -c`

No date, path or machine is in any of them: the same tier gives the same data and lineage everywhere, and the same run
gives the same card, which also tells what that run cost.
"""

from __future__ import annotations

import shutil
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.artifact import Store, Written, checksum, open_batches, read_batches
from pipelines.release_card import render_card
from pipelines.status import run_status
from tiers.document import SCHEMA_VERSION, check_schema
from tiers.errors import ArtifactError, RecipeError, SchemaError
from tiers.l3_edited.synthesis.products import FAMILY

PART_BYTES = 256 << 20
"""Consecutive shards go into one Parquet file until they hold so many bytes of text."""
GROUP_BYTES, GROUP_ROWS = 64 << 20, 1 << 14
"""A row group ends with the batch that reaches one of these."""


@dataclass(frozen=True)
class ReleaseSummary:
    """What was released.

    Attributes:
        folder: Where it lies.
        rows: How many rows it has.
        tokens: How many tokens of text, as `tiers.document.count_tokens` counts them.
        bytes: The size of all Parquet files.
        files: The names of all files, sorted.
    """

    folder: str
    tier: str
    rows: int
    tokens: int
    bytes: int
    files: tuple[str, ...]


@dataclass
class Contents:
    """What the rows turned out to hold while they were written; `None` counts the rows that say nothing."""

    schema: pa.Schema
    rows: int = 0
    licenses: Counter[str | None] = field(default_factory=Counter)
    languages: Counter[str | None] = field(default_factory=Counter)
    families: Counter[str | None] = field(default_factory=Counter)

    def add(self, table: pa.Table) -> None:
        """Counts the rows of `table`."""
        self.rows += table.num_rows
        columns = ((self.licenses, "license"), (self.languages, "lang"), (self.families, FAMILY.name))
        for counter, column in ((counter, name) for counter, name in columns if name in table.column_names):
            for count in pc.value_counts(table[column].combine_chunks()).to_pylist():
                counter[count["values"]] += count["counts"]


def release(store: Store, tier: str, out: str) -> ReleaseSummary:
    """Writes the tier as a data set that `datasets.load_dataset(out)` loads.

    On a local disk the folder appears whole or not at all. On an object store SHA256SUMS is written last.

    Args:
        store: The output of a run.
        tier: L0 … L4.
        out: The folder, or fsspec URL, to write to. It must not exist, or be empty.

    Raises:
        RecipeError: the run has no such tier.
        ArtifactError: the tier is not whole, its files are not what was committed, or `out` is taken.
        SchemaError: the tier's shards differ in their columns.
    """
    plan = store.read_json("plan.json")
    manifest, last = _whole_tier(store, plan, tier)
    with _appearing(out) as draft:
        contents, written = _write_data(store, last, draft)
        if contents.rows != manifest["rows"]:
            raise ArtifactError(
                "the rows are not as many as committed", where=tier, got=contents.rows, expected=manifest["rows"]
            )
        status = run_status(store)
        lineage = _lineage(store, plan, tier)
        written["lineage.json"] = draft.write_json("lineage.json", lineage)
        card = render_card(tier, status, lineage, contents, written)
        written["README.md"] = draft.write("README.md", card.encode())
        sums = "".join(f"{written[name].sha256}  {name}\n" for name in sorted(written))
        draft.write("SHA256SUMS", sums.encode())
    size = sum(file.bytes for name, file in written.items() if name.endswith(".parquet"))
    files = tuple(sorted([*written, "SHA256SUMS"]))
    return ReleaseSummary(out, tier, contents.rows, manifest["tokens"], size, files)


def _whole_tier(store: Store, plan: Mapping[str, Any], tier: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The manifest of the tier, and of its last step, after a check that they belong together."""
    tiers = list(dict.fromkeys(step["tier"] for step in plan["steps"]))
    if tier not in tiers:
        raise RecipeError("the run has no such tier", where=store.url, got=tier, expected=tiers)
    for name in tiers[: tiers.index(tier) + 1]:
        if not store.exists(f"{name}/manifest.json"):
            hint = "`tierline run` with the same recipe and folder brings it to its end"
            raise ArtifactError("the tier is not whole: it has no manifest", where=f"{store.url}/{name}", hint=hint)
    manifest = store.read_json(f"{tier}/manifest.json")
    for step in manifest["steps"]:
        _check_file(store, f"{step['folder']}/manifest.json", step)
    return manifest, store.read_json(f"{manifest['steps'][-1]['folder']}/manifest.json")


def _check_file(store: Store, name: str, expected: Mapping[str, Any]) -> None:
    found = checksum(store, name)
    if found != Written(expected["bytes"], expected["sha256"]):
        raise ArtifactError(
            "the content is not what was committed",
            where=store.path(name),
            got=found.sha256,
            expected=expected["sha256"],
            hint="`tierline verify` lists all that is damaged",
        )


@contextmanager
def _appearing(out: str) -> Iterator[Store]:
    """A place to write to that becomes `out` at once when all is written."""
    target = Store(out)
    if target.exists("") and target.list(""):
        hint = "Nothing is ever overwritten: remove it, or choose another folder"
        raise ArtifactError("the folder to release to is not empty", where=out, hint=hint)
    if not target.local:
        yield target
        return
    folder = Path(target.root)
    draft = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        yield Store(str(draft))
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _write_data(store: Store, last: Mapping[str, Any], draft: Store) -> tuple[Contents, dict[str, Written]]:
    shards = last["shards"]
    names = [name for shard in shards for name in shard["files"] if "/data/" in name]
    contents = Contents(_common_schema(store, names))
    schema = loadable(contents.schema)
    parts = list(_parts(shards))
    written: dict[str, Written] = {}
    for number, part in enumerate(parts):
        name = f"data/train-{number:05}-of-{len(parts):05}.parquet"
        with draft.atomic(name) as sink, _parquet_writer(sink, schema) as writer:
            for group in _row_groups(_tables(store, part, contents)):
                writer.write_table(group.cast(schema), row_group_size=group.num_rows)
        written[name] = sink.written()
    return contents, written


def _common_schema(store: Store, names: Iterable[str]) -> pa.Schema:
    """The schema that all files share.

    Raises:
        SchemaError: two differ.
    """
    first: pa.Schema | None = None
    for name in names:
        with open_batches(store, name) as reader:
            check_schema(reader.schema, name)
            first = first or reader.schema
            if reader.schema != first:
                got, expected = (
                    sorted(map(str, set(a) - set(b))) for a, b in ((reader.schema, first), (first, reader.schema))
                )
                raise SchemaError("the shards differ in their columns", where=name, got=got, expected=expected)
    assert first is not None
    return first


def _parts(shards: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    """Consecutive shards, together until they hold `PART_BYTES` of text."""
    part: list[Mapping[str, Any]] = []
    for shard in shards:
        part.append(shard)
        if sum(shard["text_bytes"] for shard in part) >= PART_BYTES:
            yield part
            part = []
    if part:
        yield part


def _tables(store: Store, part: Iterable[Mapping[str, Any]], contents: Contents) -> Iterator[pa.Table]:
    for shard in part:
        (name,) = (name for name in shard["files"] if "/data/" in name)
        _check_file(store, name, shard["files"][name])
        for table in read_batches(store, name):
            contents.add(table)
            yield table


def _row_groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    pending: list[pa.Table] = []
    for table in tables:
        pending.append(table)
        if sum(t.nbytes for t in pending) >= GROUP_BYTES or sum(t.num_rows for t in pending) >= GROUP_ROWS:
            yield pa.concat_tables(pending)
            pending = []
    if pending:
        yield pa.concat_tables(pending)


def _parquet_writer(sink: Any, schema: pa.Schema) -> pq.ParquetWriter:
    # Pages that end where the content says so let a hub store only what changed between two releases.
    return pq.ParquetWriter(
        pa.PythonFile(sink, "w"), schema, compression="zstd", write_page_index=True, use_content_defined_chunking=True
    )


def loadable(schema: pa.Schema) -> pa.Schema:
    """`schema` with every map as a list of key and value, since the `datasets` library knows no maps."""
    return pa.schema([field.with_type(_loadable(field.type)) for field in schema], metadata=schema.metadata)


def _loadable(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_map(kind):
        item = pa.field("value", _loadable(kind.item_type), kind.item_field.nullable)
        return pa.list_(pa.struct([pa.field("key", kind.key_type, nullable=False), item]))
    return kind


def _lineage(store: Store, plan: Mapping[str, Any], tier: str) -> dict[str, Any]:
    """Where the rows come from and what was done to them; no time or cost, so equal work has equal lineage."""
    names = list(dict.fromkeys(step["tier"] for step in plan["steps"]))
    names = names[: names.index(tier) + 1]
    inputs = [
        {key: shard[key] for key in ("name", "uri", "format", "digest", "bytes", "license")} for shard in plan["shards"]
    ]
    return {
        "recipe": plan["name"],
        "tier": tier,
        "schema": SCHEMA_VERSION.decode(),
        "written_by": {"tierline": version("tierline"), "pyarrow": pa.__version__},
        "inputs": inputs,
        "tiers": [_tier_lineage(store, plan, name) for name in names],
    }


def _tier_lineage(store: Store, plan: Mapping[str, Any], tier: str) -> dict[str, Any]:
    manifest = store.read_json(f"{tier}/manifest.json")
    steps = []
    for step in (step for step in plan["steps"] if step["tier"] == tier):
        told = store.read_json(f"{step['folder']}/manifest.json")
        counts = {key: told[key] for key in ("rows", "tokens", "text_bytes")}
        steps.append(
            {
                "step": step["folder"],
                "fingerprint": told["fingerprint"],
                "decision": step["decision"],
                "stages": step["stages"],
                "counts": told["stages"],
                **counts,
            }
        )
    totals = {key: manifest[key] for key in ("fingerprint", "rows", "tokens", "text_bytes")}
    return {"tier": tier, **totals, "manifest": asdict(checksum(store, f"{tier}/manifest.json")), "steps": steps}
