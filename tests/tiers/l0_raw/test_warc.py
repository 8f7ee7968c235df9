from __future__ import annotations

import gzip
import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.poison import good_page, warc_record
from tiers.document import document_id
from tiers.l0_raw import CONTENT, Limits, read_warc
from tiers.l0_raw.batches import DEFAULT_LIMITS

DATA = Path(__file__).parents[4] / "shared" / "data" / "warc"

INFO = (
    b"WARC/1.1\r\nWARC-Type: warcinfo\r\nContent-Type: application/warc-fields\r\nContent-Length: 6\r\n\r\n"
    b"a: b\r\n\r\n\r\n"
)
PAGES = [good_page(number) for number in range(5)]
RECORDS = [INFO, *(warc_record(page, f"https://example.org/{n}") for n, page in enumerate(PAGES))]


def plain(records: list[bytes]) -> bytes:
    return b"".join(records)


def members(records: list[bytes]) -> bytes:
    return b"".join(gzip.compress(record, mtime=0) for record in records)


def one_member(records: list[bytes]) -> bytes:
    return gzip.compress(b"".join(records), mtime=0)


LAYOUTS = pytest.mark.parametrize("layout", [plain, members, one_member])


class Read:
    """All outcomes of a reading."""

    def __init__(self, data: bytes, limits: Limits = DEFAULT_LIMITS) -> None:
        self.outcomes = list(read_warc(io.BytesIO(data), "crawl.warc", limits))
        self.kept = [row for outcome in self.outcomes for row in outcome.kept.to_pylist()]
        self.dropped = [row for outcome in self.outcomes for row in outcome.dropped.to_pylist()]
        self.failed = [row for outcome in self.outcomes for row in outcome.failed.to_pylist()]

    @property
    def contents(self) -> list[bytes]:
        return [row["record.content"] for row in self.kept]

    @property
    def reasons(self) -> list[str]:
        return [row["reason"] for row in self.failed]


@LAYOUTS
def test_records_become_rows_named_by_their_offsets(layout: Callable[[list[bytes]], bytes]) -> None:
    read = Read(layout(RECORDS))
    assert read.contents == PAGES
    assert [row["reason"] for row in read.dropped] == ["not_a_response"]
    assert not read.failed
    parts = [gzip.compress(record, mtime=0) for record in RECORDS] if layout is members else RECORDS
    offsets = [sum(map(len, parts[:number])) for number in range(1, len(parts))]
    assert [row["source"] for row in read.kept] == [f"crawl.warc#{offset}" for offset in offsets]
    first = read.kept[0]
    assert first["id"] == document_id(first["source"])
    assert first["url"] == "https://example.org/0"
    assert (first["record.mime"], first["record.charset"], first["text"]) == ("text/html", "utf-8", "")
    assert dict(first["meta"])["warc.date"] == "2026-01-01T00:00:00Z"
    assert read.outcomes[0].kept.schema.names[-3:] == [field.name for field in CONTENT]


@LAYOUTS
def test_a_file_cut_anywhere_keeps_what_came_before_and_fails_one_row(layout: Callable[[list[bytes]], bytes]) -> None:
    data = layout(RECORDS)
    whole = Read(data)
    ends = {0, *(len(layout(RECORDS[:number])) for number in range(1, len(RECORDS) + 1))}
    slack = 4 if layout is plain else 0  # the empty lines behind a record
    step = max(1, len(data) // 150)
    for cut in {*range(1, len(data), step), *range(len(data) - 60, len(data), 7)}:
        read = Read(data[:cut])
        assert read.contents == whole.contents[: len(read.contents)]
        torn = layout is one_member or not any(end - slack <= cut <= end for end in ends)
        assert len(read.failed) == torn, (cut, read.failed)
        assert len(read.kept) + len(read.dropped) + len(read.failed) <= len(RECORDS) + 1


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty_file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20, "not_a_warc"),
        (b"just some text\n" * 100, "not_a_warc"),
        (gzip.compress(b"just some text\n" * 100), "not_a_warc"),
        (b"\x1f\x8b\x08" + b"\xff" * 5000, "bad_compression"),
    ],
)
def test_files_that_are_no_archives_fail_once(data: bytes, reason: str) -> None:
    read = Read(data)
    assert read.reasons == [reason]
    assert not read.kept
    assert not read.dropped


@pytest.mark.parametrize("layout", [plain, members])
def test_reading_goes_on_behind_a_break(layout: Callable[[list[bytes]], bytes]) -> None:
    parts = [layout([record]) for record in RECORDS]
    if layout is members:
        parts[2] = parts[2][:100] + b"\xff" * 50 + parts[2][150:]
        parts[4] = b"junk" * 10 + parts[4]
        expected = [PAGES[0], PAGES[2], PAGES[3], PAGES[4]]
    else:
        parts[2] = warc_record(PAGES[1], length=100)
        parts[4] = b"junk" * 10 + b"\r\n\r\n" + parts[4]
        expected = [PAGES[0], PAGES[2], PAGES[3], PAGES[4]]
    read = Read(b"".join(parts))
    assert [content for content in read.contents if content in PAGES] == expected
    assert len(read.failed) == 2
    rows = [*read.failed, *read.kept, *read.dropped]
    assert len({row["id"] for row in rows}) == len(rows)


def test_each_fate_of_a_record_has_its_reason() -> None:
    no_length = warc_record(b"x").replace(b"Content-Length", b"X-Length")
    records = [
        warc_record(b"<p>request", kind="request"),
        warc_record(b"<p>not found", status="404 Not Found"),
        warc_record(b"%PDF", http="Content-Type: application/pdf\r\n"),
        warc_record(b"no type", http=""),
        warc_record(b""),
        warc_record(b"<p>no HTTP", status="").replace(b"HTTP/1.1", b"nonsense"),
        warc_record(b"x" * 3000),
        no_length,
        warc_record(PAGES[0]),
    ]
    read = Read(members(records), Limits(max_record_bytes=2500))
    assert [row["reason"] for row in read.dropped] == [
        "not_a_response",
        "status_not_ok",
        "mime_not_wanted",
        "mime_not_wanted",
        "empty",
    ]
    assert read.reasons == ["malformed_record", "too_large", "malformed_record"]
    assert read.contents == [PAGES[0]]
    assert read.dropped[1]["detail"] == "404, wanted 200"
    assert "3000 bytes, at most 2500" in read.failed[1]["detail"]
    assert Read(warc_record(b"<p>short", length=400)).reasons == ["truncated"]


def test_bodies_are_decoded_and_wrong_headers_are_forgiven() -> None:
    page = PAGES[0]
    chunked = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (page[:100], page[100:])) + b"0\r\n\r\n"
    html = "Content-Type: text/html\r\n"
    read = Read(
        plain(
            [
                warc_record(gzip.compress(page), http=html + "Content-Encoding: gzip\r\n"),
                warc_record(chunked, http=html + "Transfer-Encoding: chunked\r\n"),
                warc_record(page, http=html + "Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"),
            ]
        )
    )
    assert read.contents == [page] * 3
    bomb = warc_record(gzip.compress(b"x" * 100_000), http=html + "Content-Encoding: gzip\r\n")
    assert Read(bomb, Limits(max_record_bytes=50_000)).reasons == ["too_large"]


def test_batches_are_bounded_by_rows_and_by_bytes() -> None:
    data = plain(RECORDS * 20)
    by_rows = Read(data, Limits(batch_rows=7))
    assert max(o.kept.num_rows + o.dropped.num_rows for o in by_rows.outcomes) == 7
    by_bytes = Read(data, Limits(batch_bytes=2 * len(PAGES[0])))
    assert max(outcome.kept.num_rows for outcome in by_bytes.outcomes) <= 3
    assert by_rows.contents == by_bytes.contents == PAGES * 20


# kept, dropped and failed, in numbers that warcio gives for the records kept
REAL = {
    "aut-docs.warc.gz": {"not_a_response": 12, "mime_not_wanted": 9},
    "aut-example.warc.gz": {
        "kept": 94,
        "not_a_response": 561,
        "mime_not_wanted": 120,
        "redirect": 7,
        "status_not_ok": 40,
    },
    "clueweb-quirk.warc.gz": {"kept": 29, "not_a_response": 1},
    "jwarc-cc.warc.gz": {"kept": 1},
    "resiliparse-warcfile.warc.gz": {"kept": 16, "not_a_response": 34},
    "ukwa-blackbook.warc.gz": {"kept": 2, "not_a_response": 16, "mime_not_wanted": 5},
    "ukwa-govuk-1.warc.gz": {
        "kept": 32,
        "not_a_response": 128,
        "mime_not_wanted": 25,
        "redirect": 1,
        "status_not_ok": 4,
    },
    "ukwa-wikipedia-mona-lisa.warc.gz": {"kept": 2, "not_a_response": 43, "mime_not_wanted": 37},
    "whirlwind.warc.gz": {"kept": 1, "not_a_response": 3},
    "whirlwind.warc.wet.gz": {"kept": 1, "not_a_response": 1},
    "aut-example.arc.gz": {"not_a_warc": 1},
}


@pytest.mark.parametrize("name", REAL)
def test_real_archives(name: str) -> None:
    path = DATA / name
    if not path.exists():
        pytest.skip("the archive is not here")
    read = Read(path.read_bytes())
    counts = Counter(row["reason"] for row in [*read.dropped, *read.failed])
    assert {**counts, **({"kept": len(read.kept)} if read.kept else {})} == REAL[name]
