"""However a file is cut, its parts together give the rows of the whole, each once."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from itertools import pairwise

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.poison import good_page, poisoned_lines, warc_record
from tests.tiers.l0_raw.archives import ARCHIVES, DESCRIPTION, Read, arc_record, members, one_member, plain
from tiers.l0_raw import FORMATS, WHOLE, cut, format_of, records

INNER = [warc_record(b"<p>within", f"https://inner.example/{number}") for number in range(3)]
# Records within records are what a search for the next record takes for one.
PAGES = [good_page(0), plain(INNER), b"x" * 3_000, good_page(1), *(good_page(n) for n in range(2, 12))]
WARC = [
    warc_record(page, f"https://example.org/{n}", status="404" if n % 5 == 4 else "200") for n, page in enumerate(PAGES)
]
ARC = [DESCRIPTION, *(arc_record(page, f"http://example.org/{n}") for n, page in enumerate(PAGES))]
BROKEN = [
    *WARC[:3],
    warc_record(good_page(3), length=90_000),
    *WARC[3:6],
    b"junk\n" * 50 + WARC[6],
    *WARC[7:],
    WARC[0][:300],
]
LINES = [json.dumps({"text": "x" * (n * 37 % 400)}).encode() for n in range(60)] + [
    line for _, line in poisoned_lines()
]


def parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": [*("t" * (n % 90) for n in range(995)), *[None] * 5]}), sink, row_group_size=64)
    return sink.getvalue()


FILES: dict[str, tuple[str, bytes]] = {
    "plain WARC": ("warc", plain(WARC)),
    "WARC of members": ("warc", members(WARC)),
    "broken plain WARC": ("warc", plain(BROKEN)),
    "broken WARC of members": (
        "warc",
        members(BROKEN[:-1]) + b"junk" * 9 + members(WARC[:2]) + members(WARC[:1])[:200],
    ),
    "plain ARC": ("arc", plain(ARC)),
    "ARC of members": ("arc", members(ARC)),
    "JSON lines": ("jsonl", b"\n".join(LINES) + b"\n"),
    "JSON lines without a last line break": ("jsonl", b"\r\n\r\n".join(LINES)),
    "Parquet": ("parquet", parquet()),
}


def rows_of_parts(form: str, data: bytes, shard_bytes: int) -> list[list[tuple[str, str]]]:
    spans = cut(form, io.BytesIO(data), len(data), shard_bytes)
    assert spans[0].start == 0
    assert all(before.end == after.start for before, after in pairwise(spans))
    return [Read(FORMATS[form].read, data, span=span).fates for span in spans]


@pytest.mark.parametrize("name", FILES)
@given(shard_bytes=st.integers(min_value=40, max_value=20_000))
@settings(max_examples=12, derandomize=True)
def test_the_parts_of_a_file_are_the_whole(name: str, shard_bytes: int) -> None:
    form, data = FILES[name]
    whole = Read(FORMATS[form].read, data).fates
    parts = rows_of_parts(form, data, max(shard_bytes, len(data) // 60))
    assert sorted(row for part in parts for row in part) == sorted(whole)
    assert len(set(whole)) == len(whole)


@pytest.mark.parametrize("layout", [plain, members])
@pytest.mark.parametrize("form", ["warc", "arc"])
def test_a_part_is_found_from_its_first_byte_on(
    form: str, layout: Callable[[list[bytes]], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = {"warc": warc_record, "arc": arc_record}[form]
    data = layout([kind(good_page(n), f"http://example.org/{n}") for n in range(12)])
    monkeypatch.setattr(records, "LOOKBACK", 0)
    for shard_bytes in (500, 700, 5_000):
        parts = rows_of_parts(form, data, shard_bytes)
        assert [row for part in parts for row in part] == Read(FORMATS[form].read, data).fates


def test_a_part_reads_little_more_than_itself() -> None:
    class Counting(io.BytesIO):
        read_bytes = 0

        def read(self, size: int | None = -1) -> bytes:
            data = super().read(size)
            self.read_bytes += len(data)
            return data

        read1 = read

    data = members([warc_record(bytes(str(n), "ascii") + gzip.compress(b"x" * 100) * 2_000) for n in range(5)]) * 400
    last = cut("warc", io.BytesIO(data), len(data), len(data) // 20)[-1]
    stream = Counting(data)
    assert sum(
        outcome.dropped.num_rows + outcome.kept.num_rows for outcome in FORMATS["warc"].read(stream, "x", span=last)
    )
    assert stream.read_bytes < len(data) // 20 + records.LOOKBACK + (4 << 20)


@pytest.mark.parametrize("compress", [one_member, lambda parts: gzip.compress(b"".join(parts))])
@pytest.mark.parametrize(("form", "parts"), [("warc", WARC), ("arc", ARC), ("jsonl", LINES), ("csv", LINES)])
def test_what_is_compressed_as_a_whole_is_one_part(
    form: str, parts: list[bytes], compress: Callable[[list[bytes]], bytes]
) -> None:
    data = compress(parts)
    assert cut(form, io.BytesIO(data), len(data), 100) == [WHOLE]


def test_files_below_the_bound_and_damaged_parquet_are_one_part() -> None:
    assert cut("warc", io.BytesIO(plain(WARC)), 5_000, 5_000) == [WHOLE]
    assert cut("parquet", io.BytesIO(b"PAR1 nonsense" * 99), 1_287, 100) == [WHOLE]


@pytest.mark.parametrize("path", ARCHIVES or [pytest.param(None, marks=pytest.mark.skip("no archives are here"))])
def test_real_archives_in_parts(path) -> None:
    form, data = format_of(path.name), path.read_bytes()
    whole = Read(FORMATS[form].read, data).fates
    assert sorted(row for part in rows_of_parts(form, data, len(data) // 7 + 1) for row in part) == sorted(whole)
