from __future__ import annotations

import bz2
import errno
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
from tiers.l0_raw import (
    FORMATS,
    Limits,
    ReadOptions,
    format_of,
    read_arrow,
    read_csv,
    read_html,
    read_jsonl,
    read_parquet,
    read_text,
)
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


@pytest.mark.parametrize("reader", [format.read for format in FORMATS.values()])
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


def test_parquet_of_which_one_text_is_no_utf8() -> None:
    offsets = pa.array([0, 2, 4, 6], pa.int32()).buffers()[1]
    texts = pa.StringArray.from_buffers(3, offsets, pa.py_buffer(b"ab\xff\xfeef"))
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": texts}), sink)
    kept, failed = joined(read_parquet(sink, "a.parquet"))
    assert [row["text"] for row in kept] == ["ab", "ef"]
    assert [(row["id"], row["reason"]) for row in failed] == [(document_id("a.parquet#1"), "invalid_utf8")]


def arrow(table: pa.Table, form: str) -> bytes:
    sink = io.BytesIO()
    with {"file": pa.ipc.new_file, "stream": pa.ipc.new_stream}[form](sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=300)
    return sink.getvalue()


ROWS = pa.table(
    {
        "text": [*(f"row {n}" for n in range(999)), None],
        "title": pa.array(["t"] * 1000).dictionary_encode(),
        "vector": [[0.5] * 4] * 1000,
        "n": range(1000),
    }
)


@pytest.mark.parametrize("form", ["file", "stream"])
def test_arrow_in_batches_with_nulls(form: str) -> None:
    outcomes = list(read_arrow(io.BytesIO(arrow(ROWS, form)), "a.arrow"))
    assert max(outcome.kept.num_rows for outcome in outcomes) == 256
    kept, failed = joined(iter(outcomes))
    assert [row["source"] for row in kept] == [f"a.arrow#{n}" for n in range(999)]
    assert (kept[7]["title"], kept[7]["meta"]) == ("t", [("n", "7")])
    assert [(row["id"], row["reason"]) for row in failed] == [(document_id("a.arrow#999"), "no_text")]


@pytest.mark.parametrize("form", ["file", "stream"])
def test_arrow_that_is_torn_keeps_its_first_batches(form: str) -> None:
    data = arrow(ROWS, form)
    kept, failed = joined(read_arrow(io.BytesIO(data[: len(data) * 2 // 3]), "a.arrow"))
    assert [row["text"] for row in kept] == [f"row {n}" for n in range(600)]
    assert [row["reason"] for row in failed] == ["not_arrow"]
    kept, failed = joined(read_arrow(io.BytesIO(b"nonsense" * 100), "a.arrow"))
    assert (kept, [row["reason"] for row in failed]) == ([], ["not_arrow"])


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress, zstd])
def test_csv_in_any_compression(compress: Callable[[bytes], bytes]) -> None:
    data = b'\xef\xbb\xbftext,url,year\r\n"a ""b"",\nc\xc3\xa9",u,1\r\n\r\nd,,2\r\n'
    kept, failed = joined(read_csv(io.BytesIO(compress(data)), "a.csv"))
    assert not failed
    assert [(row["text"], row["url"], row["meta"]) for row in kept] == [
        ('a "b",\nc\xe9', "u", [("year", "1")]),
        ("d", "", [("year", "2")]),
    ]
    offsets = [data.index(start) for start in (b'"a', b"d,,")]
    assert [row["source"] for row in kept] == [f"a.csv#{offset}" for offset in offsets]


def test_rows_of_csv_fail_alone() -> None:
    lines = [
        b"text,n",
        b"good,1",
        b"short",
        b"caf\xe9,2",
        b'"an open quote,3',
        b"swallowed,4",
        b"and found again,5",
        b'"two\nlines",6',
        b"x" * 900 + b",7",
        b"last,8",
    ]
    kept, failed = joined(read_csv(io.BytesIO(b"\n".join(lines)), "a.csv", Limits(max_record_bytes=500)))
    expected = ["good", "swallowed", "and found again", "two\nlines", "last"]
    assert [row["text"] for row in kept] == expected
    assert [row["reason"] for row in failed] == ["invalid_csv", "invalid_utf8", "invalid_csv", "too_large"]
    assert failed[0]["id"] == document_id(f"a.csv#{len(lines[0]) + len(lines[1]) + 2}")


def test_tab_separated_rows() -> None:
    kept, _ = joined(FORMATS["tsv"].read(io.BytesIO(b"text\tn\na, b\t1\n"), "a.tsv"))
    assert [(row["text"], row["meta"]) for row in kept] == [("a, b", [("n", "1")])]


def test_html_and_text_are_one_row_compressed_or_not() -> None:
    for compress in (bytes, gzip.compress, zstd):
        kept, _ = joined(read_html(io.BytesIO(compress(b"<p>hi")), "a.html"))
        assert (kept[0]["record.content"], kept[0]["source"]) == (b"<p>hi", "a.html#0")
        kept, _ = joined(read_text(io.BytesIO(compress("\ufeffh\xe9\n".encode())), "a.txt"))
        assert (kept[0]["text"], kept[0]["source"]) == ("h\xe9\n", "a.txt#0")
    for reader in (read_html, read_text):
        _, failed = joined(reader(io.BytesIO(gzip.compress(b"x" * 11)), "a", Limits(max_record_bytes=10)))
        assert [row["reason"] for row in failed] == ["too_large"]
        _, failed = joined(reader(io.BytesIO(gzip.compress(b"x" * 11)[:-9]), "a"))
        assert [row["reason"] for row in failed] == ["truncated"]
    _, failed = joined(read_text(io.BytesIO(b"caf\xe9"), "a.txt"))
    assert [row["reason"] for row in failed] == ["invalid_utf8"]


def test_errors_of_the_disk_are_no_broken_rows() -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 100:
                raise OSError(errno.EIO, "the disk is gone")
            return super().read(size)

    for reader in (read_jsonl, read_csv, read_text):
        with pytest.raises(OSError, match="the disk is gone"):
            list(reader(Failing(gzip.compress(LINES) * 40), "a"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("s3://b/x/CC-MAIN-1.warc.gz", "warc"),
        ("CC-MAIN-1.warc.wet.gz", "warc"),
        ("x.wat.gz", "warc"),
        ("IA-1.arc.gz", "arc"),
        ("IA-1.arc", "arc"),
        ("t.csv.xz", "csv"),
        ("t.tsv", "tsv"),
        ("data-0.arrow", "arrow"),
        ("f.feather", "arrow"),
        ("page.html.gz", "html"),
        ("README.md", "text"),
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
