"""Re-reads everything that a run committed, and names whatever is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.artifact import Store, Written, checksum, read_table
from pipelines.build_memory import TABLE, open_memory
from pipelines.ledger import Fate, imbalances
from pipelines.plan import fingerprint
from pipelines.shard_task import REPRODUCIBLE, record_checksum
from tiers.errors import TierlineError


def verify(store: Store) -> list[str]:
    """What is wrong with a run's output, in words; nothing where all of it holds.

    Checked of every step that is whole: every file's checksum, every commit record's own checksum and balance, the
    ledger against the counts, the rows in against the rows kept and gone by id, and the manifests against the
    commits.

    Raises:
        ArtifactError: there is no run here.
    """
    plan = store.read_json("plan.json")
    return [fault for step in plan["steps"] if _begun(store, step) for fault in _step_faults(store, plan, step)]


def _begun(store: Store, step: dict[str, Any]) -> bool:
    return store.exists(f"{step['tier']}/manifest.json") or store.exists(f"{step['folder']}/manifest.json")


def _step_faults(store: Store, plan: dict[str, Any], step: dict[str, Any]) -> Iterator[str]:
    folder = step["folder"]
    records: list[dict[str, Any]] = []
    for shard in plan["shards"]:
        try:
            record = store.read_json(f"{folder}/commits/{shard['name']}.json")
            records.append(record)
            yield from _record_faults(store, step, shard["name"], record)
            yield from _row_faults(store, step, shard["name"], record)
        except (TierlineError, pa.ArrowException, KeyError, TypeError) as error:
            yield f"{folder}/commits/{shard['name']}.json: cannot be checked: {error}"
    if step["tier"] == "memory":
        yield from _memory_faults(store, step, [shard["name"] for shard in plan["shards"]])
    try:
        yield from _manifest_faults(store, step, records)
    except (TierlineError, KeyError) as error:
        yield f"{folder}/manifest.json: cannot be checked: {error}"


def _record_faults(store: Store, step: dict[str, Any], shard: str, record: dict[str, Any]) -> Iterator[str]:
    name = f"{step['folder']}/commits/{shard}.json"
    if record["checksum"] != record_checksum(record):
        yield f"{name}: the record was changed after it was written"
    if record["key"] != step["keys"][shard]:
        yield f"{name}: made by another recipe; key {record['key']}, expected {step['keys'][shard]}"
    for fault in imbalances(record["stages"]):
        yield f"{name}: {fault}"
    yield from _file_faults(store, record["files"])


def _file_faults(store: Store, files: dict[str, dict[str, Any]]) -> Iterator[str]:
    for name, expected in files.items():
        if not store.exists(name):
            yield f"{name}: the file is missing"
        elif (found := checksum(store, name)) != Written(**expected):
            yield f"{name}: the content is not what was committed; got {found}, expected {Written(**expected)}"


def _row_faults(store: Store, step: dict[str, Any], shard: str, record: dict[str, Any]) -> Iterator[str]:
    """Compares the ledger with the counts, and the rows in with the rows kept and gone."""
    folder = step["folder"]
    if any(not store.exists(name) for name in record["files"]):
        return
    ledger = read_table(store, f"{folder}/ledger/{shard}.arrow")
    kept = read_table(store, f"{folder}/data/{shard}.arrow", ["id", "parents"])
    if kept.num_rows != record["rows_out"]:
        yield f"{folder}/data/{shard}.arrow: {kept.num_rows} rows, but {record['rows_out']} committed"
    if len(pc.unique(kept["id"])) != kept.num_rows:
        yield f"{folder}/data/{shard}.arrow: {kept.num_rows - len(pc.unique(kept['id']))} rows repeat an id"
    for fate, key in ((Fate.DROPPED, "dropped"), (Fate.QUARANTINED, "failed"), (Fate.NOTED, "noted")):
        counted = sum(sum(stage[key].values()) for stage in record["stages"])
        written = pc.sum(pc.equal(ledger["fate"], str(fate))).as_py() or 0
        if counted != written:
            yield f"{folder}/ledger/{shard}.arrow: {written} rows {fate}, but {counted} committed"
    if step["before"] is not None:
        before = read_table(store, f"{step['before']}/data/{shard}.arrow", ["id"])["id"].to_pylist()
        lost = set(before) - _accounted(kept, ledger)
        if lost:
            yield f"{folder}/{shard}: {len(lost)} rows are neither kept nor in the ledger, {min(lost)} for one"


def _accounted(kept: pa.Table, ledger: pa.Table) -> set[str]:
    fates = {"fate": ledger["fate"].to_pylist(), "id": ledger["id"].to_pylist(), "of": ledger["detail"].to_pylist()}
    ids = set(kept["id"].to_pylist())
    for fate, row_id, maker in zip(fates["fate"], fates["id"], fates["of"], strict=True):
        if fate == Fate.MADE:
            ids.add(maker)
        elif fate != Fate.NOTED:
            ids.add(row_id)
    return ids


def _memory_faults(store: Store, step: dict[str, Any], shards: list[str]) -> Iterator[str]:
    """Compares the rows of the memory's table with the latents that were committed."""
    try:
        ids = open_memory(store).ids()
    except (TierlineError, OSError, RuntimeError, ValueError) as error:
        yield f"{TABLE}: cannot be opened: {error}"
        return
    tables = [read_table(store, f"{step['folder']}/data/{shard}.arrow", ["id"]) for shard in shards]
    expected = sorted(pa.concat_tables(tables)["id"].to_pylist())
    if ids != expected:
        yield f"{TABLE}: {len(ids)} rows, {len(expected)} committed; {len(set(expected) ^ set(ids))} ids differ"


def _manifest_faults(store: Store, step: dict[str, Any], records: list[dict[str, Any]]) -> Iterator[str]:
    name = f"{step['folder']}/manifest.json"
    manifest = store.read_json(name)
    if manifest["fingerprint"] != fingerprint(step["keys"]):
        yield f"{name}: made by another recipe"
    if manifest["decision"]:
        yield from _file_faults(store, manifest["decision"]["files"])
    for listed, record in zip(manifest["shards"], records, strict=False):
        if listed != {key: record[key] for key in REPRODUCIBLE}:
            yield f"{name}: says of shard {listed['shard']} what its commit record does not"
    if manifest["rows"] != sum(listed["rows_out"] for listed in manifest["shards"]):
        yield f"{name}: its total of rows is not the sum of its shards"
    if not store.exists(f"{step['tier']}/manifest.json"):
        return
    for part in store.read_json(f"{step['tier']}/manifest.json")["steps"]:
        if part["folder"] == step["folder"] and checksum(store, name) != Written(part["bytes"], part["sha256"]):
            yield f"{name}: the manifest is not the one that {step['tier']}/manifest.json names"
