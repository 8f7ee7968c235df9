from __future__ import annotations

import gzip
from collections.abc import Callable

import pytest

from tests.poison import good_page, warc_record
from tests.tiers.l0_raw.archives import Read, members, one_member, plain
from tiers.document import document_id
from tiers.l0_raw import CONTENT, DEFAULT_LIMITS, Limits, ReadOptions, read_warc

INFO = (
    b"WARC/1.1\r\nWARC-Type: warcinfo\r\nContent-Type: application/warc-fields\r\nContent-Length: 6\r\n\r\n"
    b"a: b\r\n\r\n\r\n"
)
PAGES = [good_page(number) for number in range(5)]
RECORDS = [INFO, *(warc_record(page, f"https://example.org/{n}") for n, page in enumerate(PAGES))]


LAYOUTS = pytest.mark.parametrize("layout", [plain, members, one_member])


def read_all(data: bytes, limits: Limits = DEFAULT_LIMITS, **options: object) -> Read:
    return Read(read_warc, data, limits=limits, options=ReadOptions(**options))


@LAYOUTS
def test_records_become_rows_named_by_their_offsets(layout: Callable[[list[bytes]], bytes]) -> None:
    read = read_all(layout(RECORDS))
    assert read.contents == PAGES
    assert [row["reason"] for row in read.dropped] == ["not_a_response"]
    assert not read.failed
    parts = [gzip.compress(record, mtime=0) for record in RECORDS] if layout is members else RECORDS
    offsets = [sum(map(len, parts[:number])) for number in range(1, len(parts))]
    assert [row["source"] for row in read.kept] == [f"crawl#{offset}" for offset in offsets]
    first = read.kept[0]
    assert first["id"] == document_id(first["source"])
    assert first["url"] == "https://example.org/0"
    assert (first["record.mime"], first["record.charset"], first["text"]) == ("text/html", "utf-8", "")
    assert dict(first["meta"])["warc.date"] == "2026-01-01T00:00:00Z"
    assert read.outcomes[0].kept.schema.names[-3:] == [field.name for field in CONTENT]


@LAYOUTS
def test_a_file_cut_anywhere_keeps_what_came_before_and_fails_one_row(layout: Callable[[list[bytes]], bytes]) -> None:
    data = layout(RECORDS)
    whole = read_all(data)
    ends = {0, *(len(layout(RECORDS[:number])) for number in range(1, len(RECORDS) + 1))}
    slack = 4 if layout is plain else 0  # the empty lines behind a record
    step = max(1, len(data) // 150)
    for cut in {*range(1, len(data), step), *range(len(data) - 60, len(data), 7)}:
        read = read_all(data[:cut])
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
    read = read_all(data)
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
    read = read_all(b"".join(parts))
    assert [content for content in read.contents if content in PAGES] == expected
    assert len(read.failed) == 2
    rows = [*read.failed, *read.kept, *read.dropped]
    assert len({row["id"] for row in rows}) == len(rows)


def test_each_fate_of_a_record_has_its_reason() -> None:
    no_length = warc_record(b"x").replace(b"Content-Length", b"X-Length")
    revisit = warc_record(b"<p>again", kind="revisit")
    records = [
        warc_record(b"<p>request", kind="request"),
        revisit.replace(b"WARC-Date", b"WARC-Refers-To-Target-URI: https://a.b/\r\nWARC-Date"),
        warc_record(b"<p>moved", status="301 Moved", http="Location: /there\r\nContent-Type: text/html\r\n"),
        warc_record(b"<p>not found", status="404 Not Found"),
        warc_record(b"%PDF", http="Content-Type: application/pdf\r\n"),
        warc_record(b"no type", http=""),
        warc_record(b""),
        warc_record(b"<p>no HTTP", status="").replace(b"HTTP/1.1", b"nonsense"),
        warc_record(b"x" * 3000),
        no_length,
        warc_record(PAGES[0]),
    ]
    read = read_all(members(records), Limits(max_record_bytes=2500))
    assert [row["reason"] for row in read.dropped] == [
        "not_a_response",
        "revisit",
        "redirect",
        "status_not_ok",
        "mime_not_wanted",
        "mime_not_wanted",
        "empty",
    ]
    assert read.reasons == ["malformed_record", "too_large", "malformed_record"]
    assert read.contents == [PAGES[0]]
    details = [row["detail"] for row in read.dropped]
    assert details[1:5] == ["of https://a.b/", "301 to /there", "404, wanted 200", "application/pdf"]
    assert "3000 bytes, at most 2500" in read.failed[1]["detail"]
    assert read_all(warc_record(b"<p>short", length=400)).reasons == ["truncated"]


def test_a_record_that_lies_about_its_length_fails_and_its_neighbours_stay() -> None:
    for layout in (plain, members, one_member):
        for length in (60, 1_000, 3_000, 500_000, 10**12):
            lie = warc_record(PAGES[1], "https://lie.example/", length=length)
            read = read_all(layout([*RECORDS[:2], lie, *RECORDS[2:], warc_record(b"<p>last")]))
            assert [*PAGES, b"<p>last"] == [content for content in read.contents if content in (*PAGES, b"<p>last")]
            assert "https://lie.example/" not in [row["url"] for row in read.kept]
            assert len(read.failed) == 1, (layout, length, read.failed)
            assert len(read.fates) == len(set(read.fates)) == len(RECORDS) + 2


def test_statuses_and_media_types_are_chosen() -> None:
    records = [
        warc_record("<p>caf\xe9".encode("latin-1"), http="Content-Type: text/plain; charset=iso-8859-1\r\n"),
        warc_record(b'{"a": "b"}', http="Content-Type: application/json\r\n"),
        warc_record(b"%PDF-1.7", http="Content-Type: application/pdf\r\n"),
        warc_record(bytes(range(256)) * 9, http="Content-Type: text/plain\r\n"),
        warc_record(PAGES[0], status="203 From elsewhere"),
        warc_record(PAGES[1]),
    ]
    read = read_all(plain(records), mime=("text/*", "application/json", "application/pdf"), status=(200, 203))
    assert [row["text"] for row in read.kept] == ["<p>caf\xe9", '{"a": "b"}', "", ""]
    assert read.contents == [b"", b"", *PAGES[:2]]
    assert [row["record.mime"] for row in read.kept] == ["text/plain", "application/json", "text/html", "text/html"]
    assert [row["reason"] for row in read.dropped] == ["not_text"]
    assert read.reasons == ["undecodable"]
    assert read_all(plain(records), mime=("text/plain",)).contents == [b""]


def test_texts_of_wet_files_are_kept_as_they_are() -> None:
    def conversion(text: bytes, mime: bytes = b"text/plain") -> bytes:
        head = b"WARC/1.0\r\nWARC-Type: conversion\r\nWARC-Target-URI: https://a.b/\r\nContent-Type: " + mime
        language = b"\r\nWARC-Identified-Content-Language: fra,eng"
        return head + language + b"\r\nContent-Length: %d\r\n\r\n" % len(text) + text + b"\r\n\r\n"

    texts = [" Le caf\xe9\n\nest <b>bon".encode(), b"caf\xe9", b" \n"]
    read = read_all(members([INFO, *map(conversion, texts), conversion(b"{}", b"application/json")]))
    (row,) = read.kept
    assert (row["text"], row["url"], row["record.content"]) == (" Le caf\xe9\n\nest <b>bon", "https://a.b/", b"")
    assert dict(row["meta"])["warc.language"] == "fra,eng"
    assert read.reasons == ["invalid_utf8"]
    assert [row["reason"] for row in read.dropped] == ["not_a_response", "empty", "mime_not_wanted"]


def test_what_a_server_says_of_use_and_of_length_is_recorded() -> None:
    link = "Link: </style.css>; rel=stylesheet, <https://creativecommons.org/licenses/by/4.0/>; rel=license\r\n"
    http = "Content-Type: text/html\r\nX-Robots-Tag: noindex\r\nX-Robots-Tag: otherbot: none\r\nContent-Length: 99\r\n"
    cut_off = warc_record(b"<p>second").replace(b"WARC-Date", b"WARC-Truncated: length\r\nWARC-Date")
    read = read_all(plain([warc_record(b"<p>first", http=http + link), cut_off, warc_record(b"<p>third")]))
    first, second, third = (dict(row["meta"]) for row in read.kept)
    assert first["http.robots"] == "noindex, otherbot: none"
    assert [row["license"] for row in read.kept] == ["CC-BY-4.0", None, None]
    assert (first["truncated"], second["truncated"]) == ("8 of 99 bytes", "length")
    assert not {"truncated", "http.robots"} & third.keys()
    noted = [(row["id"], row["reason"], row["detail"]) for row in read.noted]
    assert noted == [
        (read.kept[0]["id"], "truncated_payload", "8 of 99 bytes"),
        (read.kept[1]["id"], "truncated_payload", "length"),
    ]


def test_bodies_are_decoded_and_wrong_headers_are_forgiven() -> None:
    page = PAGES[0]
    chunked = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (page[:100], page[100:])) + b"0\r\n\r\n"
    html = "Content-Type: text/html\r\n"
    read = read_all(
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
    assert read_all(bomb, Limits(max_record_bytes=50_000)).reasons == ["too_large"]


def test_batches_are_bounded_by_rows_and_by_bytes() -> None:
    data = plain(RECORDS * 20)
    by_rows = read_all(data, Limits(batch_rows=7))
    assert max(o.kept.num_rows + o.dropped.num_rows for o in by_rows.outcomes) == 7
    by_bytes = read_all(data, Limits(batch_bytes=2 * len(PAGES[0])))
    assert max(outcome.kept.num_rows for outcome in by_bytes.outcomes) <= 3
    assert by_rows.contents == by_bytes.contents == PAGES * 20
