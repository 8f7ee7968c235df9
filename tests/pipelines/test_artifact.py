from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.artifact import MAX_BATCH_ROWS, Store, TableWriter, checksum, read_batches, read_table, write_table
from tiers.errors import ArtifactError


def numbers(count: int, start: int = 0) -> pa.Table:
    return pa.table({"n": pa.array(range(start, start + count), pa.int64())})


def test_a_table_comes_back_as_it_was(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    written = write_table(store, "a/b.arrow", numbers(5000))
    assert read_table(store, "a/b.arrow").equals(numbers(5000))
    assert checksum(store, "a/b.arrow") == written


def test_rows_come_back_whole_however_they_were_added(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    for name, size in (("one", 1), ("seven", 7)):
        with store.atomic(name) as sink:
            writer = TableWriter(sink)
            for start in range(0, 2100, size):
                writer.add(numbers(size, start))
            writer.close()
    assert next(read_batches(store, "one")).num_rows == MAX_BATCH_ROWS
    assert read_table(store, "one").equals(read_table(store, "seven"))


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path) -> None:
    store = Store(str(tmp_path))

    def fail_half_way() -> None:
        with store.atomic("x.arrow") as sink:
            sink.write(b"half")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail_half_way()
    assert list(tmp_path.iterdir()) == []


def test_an_empty_table_keeps_its_columns(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    write_table(store, "e.arrow", numbers(0))
    assert read_table(store, "e.arrow").schema == numbers(0).schema


@pytest.mark.parametrize("damage", [b"", b"garbage", None])
def test_a_damaged_or_missing_file_is_named(tmp_path: Path, damage: bytes | None) -> None:
    store = Store(str(tmp_path))
    if damage is not None:
        (tmp_path / "x.arrow").write_bytes(damage)
    with pytest.raises(ArtifactError, match=r"x\.arrow"):
        read_table(store, "x.arrow")


def test_an_object_store_serves_as_well(tmp_path: Path) -> None:
    store = Store("memory://bucket/run")
    write_table(store, "L0/data/s.arrow", numbers(10))
    store.write_json("plan.json", {"b": 1, "a": 2})
    assert read_table(store, "L0/data/s.arrow").num_rows == 10
    assert store.read_json("plan.json") == {"a": 2, "b": 1}
    assert store.list("L0/data", ".arrow") == ["s.arrow"]
