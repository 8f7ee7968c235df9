from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
from collections.abc import Callable, Iterator

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.poison import poisoned_lines
from tiers.document import document_id
from tiers.errors import SourceError
from tiers.l0_raw import FORMATS, Limits, ReadOptions, format_of, read_html, read_jsonl, read_parquet
from tiers.stage import Outcome


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return bytes(sink.getvalue())


def joined(outcomes: Iterator[Outcome]) -> tuple[list[dict[str, object]], list[dict[str, str]]]:
    all_outcomes = list(outcomes)
    kept = [row for outcome in all_outcomes for row in outcome.kept.to_pylist()]
    return kept, [row for outcome in all_outcomes for row in outcome.failed.to_pylist()]


LINES = b"".join(
    json.dumps({"text": f"line {n} \u00e9", "url": "u", "lang": "en", "year": n, "tags": []}).encode() + b"\n"
    for n in range(3000)
)
COMPRESSED = pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress, zstd])


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress, zstd])
def test_json_lines_in_any_compression(compress: Callable[[bytes], bytes]) -> None:
    kept, failed = joined(read_jsonl(io.BytesIO(compress(LINES)), "a.jsonl"))
    assert not failed
    assert [row["text"] for row in kept] == [f"line {n} \u00e9" for n in range(3000)]
    second = LINES.index(b"\n") + 1
    assert kept[1]["source"] == f"a.jsonl#{second}"
    assert (kept[1]["url"], kept[1]["lang"]) == ("u", "en")
    assert kept[1]["meta"] == [("year", "1")]


def test_several_compressed_members_are_one_file() -> None:
    for compress in (gzip.compress, bz2.compress, lzma.compress, zstd):
        kept, failed = joined(read_jsonl(io.BytesIO(compress(LINES) + compress(LINES)), "a.jsonl"))
        assert (len(kept), failed) == (6000, [])


@COMPRESSED
def test_a_torn_file_keeps_its_first_lines(compress: Callable[[bytes], bytes]) -> None:
    data = compress(LINES)
    kept, failed = joined(read_jsonl(io.BytesIO(data[: len(data) * 2 // 3]), "a.jsonl"))
    assert [row["text"] for row in kept] == [f"line {n} \u00e9" for n in range(len(kept))]
    assert len(failed) == 1
    assert failed[0]["reason"] in ("truncated", "bad_compression")


def test_bad_lines_fail_alone_by_their_offset() -> None:
    lines = [b'{"text": "good"}', *(line for _, line in poisoned_lines()), b"", b'{"text": "also good"}']
    kept, failed = joined(read_jsonl(io.BytesIO(b"\n".join(lines)), "a.jsonl"))
    assert [row["text"] for row in kept] == ["good", "also good"]
    assert [row["reason"] for row in failed] == [reason for reason, _ in poisoned_lines()]
    offset = len(lines[0]) + 1 + len(lines[1]) + 1
    assert failed[1]["id"] == document_id(f"a.jsonl#{offset}")


def test_lines_too_large_are_skipped_in_pieces() -> None:
    data = b'{"text": "a"}\n{"text": "' + b"x" * 5000 + b'"}\n{"text": "b"}\n'
    kept, failed = joined(read_jsonl(io.BytesIO(data), "a.jsonl", Limits(max_record_bytes=1000)))
    assert [row["text"] for row in kept] == ["a", "b"]
    assert [row["reason"] for row in failed] == ["too_large"]
    assert kept[1]["source"] == f"a.jsonl#{len(data) - 14}"


def test_nul_characters_are_taken_out_and_noted() -> None:
    (outcome,) = read_jsonl(io.BytesIO(rb'{"text": "a\u0000b"}'), "a.jsonl")
    assert outcome.kept["text"].to_pylist() == ["ab"]
    assert outcome.noted.to_pylist() == [{"id": outcome.kept["id"][0].as_py(), "reason": "nul_removed", "detail": "1"}]


def test_fields_can_be_named() -> None:
    options = ReadOptions(text_field="body", id_field="key")
    data = b'{"body": "a", "key": "k1"}\n{"body": "b"}\n{"body": "c", "key": null}\n'
    kept, failed = joined(read_jsonl(io.BytesIO(data), "a.jsonl", options=options))
    assert [(row["text"], row["source"]) for row in kept] == [("a", "a.jsonl#k1")]
    assert [row["reason"] for row in failed] == ["no_id", "no_id"]


@pytest.mark.parametrize("reader", [read_jsonl, read_parquet, read_html])
def test_an_empty_file_is_one_failed_row(reader: Callable[..., Iterator[Outcome]]) -> None:
    kept, failed = joined(reader(io.BytesIO(b""), "a"))
    assert not kept
    assert [row["reason"] for row in failed] == ["empty_file"]


def test_parquet_in_batches_with_nulls() -> None:
    table = pa.table({"text": [*(f"row {n}" for n in range(999)), None], "title": ["t"] * 1000, "n": range(1000)})
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=300)
    sink.seek(0)
    outcomes = list(read_parquet(sink, "a.parquet"))
    assert max(outcome.kept.num_rows for outcome in outcomes) == 256
    kept, failed = joined(iter(outcomes))
    assert [row["source"] for row in kept] == [f"a.parquet#{n}" for n in range(999)]
    assert kept[7]["meta"] == [("n", "7")]
    assert [(row["id"], row["reason"]) for row in failed] == [(document_id("a.parquet#999"), "no_text")]


def test_parquet_that_is_none_or_is_torn() -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": ["a"] * 1000}), sink)
    for data in (b"nonsense" * 100, sink.getvalue()[:-20]):
        kept, failed = joined(read_parquet(io.BytesIO(data), "a.parquet"))
        assert not kept
        assert [row["reason"] for row in failed] == ["not_parquet"]


def test_parquet_without_a_text_column_fails_each_row() -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table({"content": ["a", "b"]}), sink)
    sink.seek(0)
    kept, failed = joined(read_parquet(sink, "a.parquet"))
    assert not kept
    assert [row["reason"] for row in failed] == ["no_text", "no_text"]


def test_html_is_one_row() -> None:
    kept, _ = joined(read_html(io.BytesIO(b"<p>hi"), "a.html"))
    assert kept[0]["record.content"] == b"<p>hi"
    assert kept[0]["source"] == "a.html#0"
    _, failed = joined(read_html(io.BytesIO(b"x" * 11), "a.html", Limits(max_record_bytes=10)))
    assert failed[0]["reason"] == "too_large"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("s3://b/x/CC-MAIN-1.warc.gz", "warc"),
        ("x.WARC", "warc"),
        ("a.b.jsonl.zst", "jsonl"),
        ("a.ndjson", "jsonl"),
        ("part-0.parquet", "parquet"),
        ("index.htm", "html"),
    ],
)
def test_names_tell_formats(name: str, expected: str) -> None:
    assert format_of(name) == expected
    assert expected in FORMATS


@pytest.mark.parametrize("name", ["a.docx", "warc", "a.gz", "parquet.gz", "a.parquet.gz", ""])
def test_unknown_names_list_what_is_known(name: str) -> None:
    with pytest.raises(SourceError, match=r"\.warc"):
        format_of(name)
