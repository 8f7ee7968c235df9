"""The table alone, filled with random numbers: no model is needed."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from latent_memory import store as module
from latent_memory.store import Store, condition, kept_for, latent_schema
from tiers.document import document_id
from tiers.errors import ModelError, SchemaError, SourceError

SCHEMA = latent_schema(retrieval_dim=16, latent_dim=8, stamp={"format": "test"})


def rows(numbers: range, word: str = "piece", **changes: Any) -> pa.Table:
    rng = np.random.default_rng(numbers.start)
    filled = [
        {
            "evidence_id": bytes.fromhex(document_id(str(number))),
            "content": number,
            "documents": [bytes.fromhex(document_id(f"document {number // 2}"))],
            "kind": "text",
            "text": f"A {word} with the number {number}.",
            "source": f"test#{number}",
            "vector": rng.normal(size=16).astype(np.float16),
            "latent": rng.integers(-127, 128, 8).astype(np.int8),
            "status": "verified" if number % 2 else "unverified",
            "tier": "L4",
            "topics": [],
            **changes,
        }
        for number in numbers
    ]
    return pa.Table.from_pylist(filled, SCHEMA)


def texts(found: pa.Table) -> list[str]:
    return list(found["text"].to_pylist())


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(module, "INDEX_FROM", 600)
    return Store(str(tmp_path), SCHEMA, create=True)


def indexed(store: Store) -> dict[str, int]:
    """The columns with an index, and how many rows each index lacks."""
    return {index.columns[0]: index.num_unindexed_rows for index in store._table.list_indices()}


def test_vectors_get_an_index_when_it_pays_and_it_takes_in_what_comes(store: Store) -> None:
    store.commit([rows(range(599))])
    assert indexed(store) == {"text": 0}
    store.commit([rows(range(599, 900))])
    assert indexed(store) == {"text": 0, "vector": 0}
    store.commit([rows(range(900, 1000))])
    assert indexed(store) == {"text": 0, "vector": 0}
    rng = np.random.default_rng(1)
    for _ in range(20):
        query = rng.normal(size=16).astype(np.float32)
        flat, found = store.search(query, 10, exact=True), store.search(query, 10)
        assert len({*texts(flat)} & {*texts(found)}) >= 9
        assert found["score"].to_pylist() == sorted(found["score"].to_pylist(), reverse=True)


def test_an_index_made_of_one_commit_is_made_after_a_kill_too(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Store, "_index", lambda self: None)
        store.commit([rows(range(700))])
    assert indexed(store) == {}
    store.commit([rows(range(700))])
    assert indexed(store) == {"text": 0, "vector": 0}


def test_forgetting_makes_the_indexes_anew(store: Store, tmp_path: Path) -> None:
    store.commit([rows(range(650)), rows(range(650, 652), word="quuxley")])
    assert store.forget(document_id("document 325")) == 2
    assert indexed(store) == {"text": 0, "vector": 0}
    assert not any(b"quuxley" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert "quuxley" not in " ".join(texts(store.search(np.ones(16, np.float32), 5, "quuxley")))


def test_filters_hold_in_every_way_of_search(store: Store) -> None:
    store.commit([rows(range(700), topics=["sums"]), rows(range(700, 710), topics=["odds"])])
    query = np.ones(16, np.float32)
    for text in (None, "a piece with the number 705"):
        found = store.search(query, 20, text, condition("verified", "odds"))
        assert sorted(texts(found)) == [f"A piece with the number {n}." for n in (701, 703, 705, 707, 709)]
    assert texts(store.search(query, 1, "706", condition(topic="odds"))) == ["A piece with the number 706."]
    assert condition() is None


def test_the_score_is_the_cosine_however_a_row_was_found(store: Store) -> None:
    table = rows(range(50))
    store.commit([table])
    query = np.arange(16, dtype=np.float32)
    found = store.search(query, 50, "number 7")
    vectors = {row["text"]: np.array(row["vector"], np.float32) for row in table.to_pylist()}
    for row in found.to_pylist():
        vector = vectors[row["text"]]
        cosine = vector @ query / np.linalg.norm(vector) / np.linalg.norm(query)
        assert row["score"] == pytest.approx(cosine, abs=1e-5)
    assert found.num_rows == 50


def test_many_shards_fill_an_empty_table_and_repeat_no_row(store: Store) -> None:
    assert store.commit(rows(range(start, start + 60)) for start in range(0, 500, 50)) == 510
    assert len(store) == 510
    assert store.commit([], whole=False) == 0


def test_wrong_tables_are_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="not a table of latents"):
        store.commit([rows(range(2)).drop_columns("topics")])
    with pytest.raises(SchemaError, match="wrong size"):
        store.search(np.ones(3, np.float32), 1)
    with pytest.raises(SchemaError, match="not a table of latents"):
        Store(str(tmp_path), latent_schema(32, 8, {"format": "test"}), create=False)
    with pytest.raises(ModelError, match="another compressor"):
        Store(str(tmp_path), latent_schema(16, 8, {"format": "other"}), create=False)


def test_what_was_opened_at_a_tag_is_for_reading(store: Store, tmp_path: Path) -> None:
    store.commit([rows(range(3))])
    store.tag("first")
    first = Store(str(tmp_path), SCHEMA, create=False, tag="first")
    for write in (
        lambda: first.commit([rows(range(5))]),
        lambda: first.forget(document_id("document 0")),
        lambda: first.tag("second"),
        lambda: first.untag("first"),
    ):
        with pytest.raises(SourceError, match="can only be read"):
            write()
    assert len(first) == len(store) == 3


def test_versions_are_kept_as_long_as_one_with_a_tag() -> None:
    now = datetime.now()
    assert kept_for([]) == kept_for([now]) == timedelta(days=7)
    assert kept_for([now, now - timedelta(days=30)]) > timedelta(days=30)
