from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.poison import good_page
from tests.tiers.l0_raw.archives import DATA, DESCRIPTION, Read, arc_record, members, one_member, plain
from tiers.l0_raw import DEFAULT_LIMITS, Limits, read_arc, read_warc

PAGES = [good_page(number) for number in range(5)]
RECORDS = [DESCRIPTION, *(arc_record(page, f"http://example.org/{n}") for n, page in enumerate(PAGES))]
LAYOUTS = pytest.mark.parametrize("layout", [plain, members, one_member])


def read_all(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Read:
    return Read(read_arc, data, limits=limits)


@LAYOUTS
def test_records_become_rows_named_by_their_offsets(layout: Callable[[list[bytes]], bytes]) -> None:
    read = read_all(layout(RECORDS))
    assert read.contents == PAGES
    assert [(row["reason"], row["detail"]) for row in read.dropped] == [("not_a_response", "filedesc of text/plain")]
    assert not read.failed
    parts = [layout([record]) for record in RECORDS] if layout is members else RECORDS
    offsets = [sum(map(len, parts[:number])) for number in range(1, len(parts))]
    assert [row["source"] for row in read.kept] == [f"crawl#{offset}" for offset in offsets]
    assert [row["url"] for row in read.kept] == [f"http://example.org/{n}" for n in range(5)]
    assert dict(read.kept[0]["meta"])["arc.date"] == "2008-04-30T20:48:26Z"
    assert read.kept[0]["record.charset"] == "utf-8"


@LAYOUTS
def test_a_file_cut_anywhere_keeps_what_came_before_and_fails_one_row(layout: Callable[[list[bytes]], bytes]) -> None:
    data = layout(RECORDS)
    ends = {0, *(len(layout(RECORDS[:number])) for number in range(1, len(RECORDS) + 1))}
    slack = 1 if layout is plain else 0  # the line break behind a record
    for cut in {*range(1, len(data), max(1, len(data) // 150)), *range(len(data) - 60, len(data), 7)}:
        read = read_all(data[:cut])
        assert read.contents == PAGES[: len(read.contents)]
        torn = layout is one_member or not any(end - slack <= cut <= end for end in ends)
        assert len(read.failed) == torn, (cut, read.failed)


@LAYOUTS
def test_a_record_that_lies_about_its_length_fails_and_its_neighbours_stay(
    layout: Callable[[list[bytes]], bytes],
) -> None:
    for length in (61, 1_000, 3_000, 500_000, 10**12):
        lie = arc_record(PAGES[1].replace(b"\n", b""), "http://lie.example/", length=length)
        read = read_all(layout([*RECORDS[:2], lie, *RECORDS[2:], arc_record(b"<p>last")]))
        assert [*PAGES, b"<p>last"] == [content for content in read.contents if content in (*PAGES, b"<p>last")]
        assert "http://lie.example/" not in [row["url"] for row in read.kept]
        assert len(read.failed) == 1
        assert len(read.fates) == len(set(read.fates)) == len(RECORDS) + 2


@pytest.mark.parametrize("layout", [plain, members])
def test_reading_goes_on_behind_a_break(layout: Callable[[list[bytes]], bytes]) -> None:
    parts = [layout([record]) for record in RECORDS]
    parts[3] = b"junk" * 10 + b"\n" + parts[3]
    read = read_all(b"".join(parts))
    assert read.contents == PAGES
    assert len(read.failed) == 1


def test_version_2_and_blanks_in_urls() -> None:
    fields = "200 checksum - 1234 test.arc "
    records = [
        arc_record(b"<p>two", fields=fields),
        arc_record(b"<p>blank", "http://example.org/a b"),
        arc_record(b"<p>missing", status="404 Not Found", fields=fields),
        arc_record(b"192.0.2.1", "dns:example.org"),
        arc_record(b"", "http://example.org/old").replace(b"HTTP/1.1 200 OK", b"no header at all"),
    ]
    read = read_all(plain(records))
    assert [(row["url"], row["record.content"]) for row in read.kept] == [
        ("http://example.org/", b"<p>two"),
        ("http://example.org/a b", b"<p>blank"),
    ]
    assert [row["reason"] for row in read.dropped] == ["status_not_ok", "not_a_response"]
    assert read.reasons == ["malformed_record"]


def test_files_that_are_no_arc_fail_once() -> None:
    for data, reason in ((b"", "empty_file"), (b"\x89PNG" * 999, "not_an_arc"), (members([b"text"] * 9), "not_an_arc")):
        read = read_all(data)
        assert read.reasons == [reason]
        assert not read.kept


def test_records_too_large_are_passed_over() -> None:
    read = read_all(plain([arc_record(b"x" * 5_000), arc_record(b"<p>small")]), Limits(max_record_bytes=1_000))
    assert read.reasons == ["too_large"]
    assert read.contents == [b"<p>small"]


@pytest.mark.skipif(not (DATA / "aut-example.arc.gz").exists(), reason="the archive is not here")
def test_one_crawl_as_arc_and_as_warc_has_the_same_pages() -> None:
    arc = read_all((DATA / "aut-example.arc.gz").read_bytes())
    warc = Read(read_warc, (DATA / "aut-example.warc.gz").read_bytes())
    assert {(row["url"], row["record.content"], row["record.charset"]) for row in arc.kept} == {
        (row["url"], row["record.content"], row["record.charset"]) for row in warc.kept
    }
    assert len(arc.kept) == len(warc.kept) == 94
