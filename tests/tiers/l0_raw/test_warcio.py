"""What another library finds in real archives is what our readers find."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.tiers.l0_raw.archives import ARCHIVES, Read
from tiers.l0_raw import FORMATS, format_of

warcio = pytest.importorskip("warcio.archiveiterator")
URL = {"warc": "WARC-Target-URI", "arc": "uri"}
HTML = ("text/html", "application/xhtml+xml")


def pages_and_kinds(path: Path) -> tuple[list[tuple[str, bytes]], Counter[str]]:
    """URL and payload of each page that must be kept, and how many records there are of each kind."""
    pages, kinds = [], Counter[str]()
    with path.open("rb") as stream:
        for record in warcio.ArchiveIterator(stream):
            kinds[record.rec_type] += 1
            if record.rec_type == "conversion" or is_page(record):
                pages.append((record.rec_headers.get_header(URL[record.format]), record.content_stream().read()))
    return [(url, payload) for url, payload in pages if payload], kinds


def is_page(record: Any) -> bool:
    http = record.http_headers
    if record.rec_type != "response" or http is None or http.get_statuscode() != "200":
        return False
    return (http.get_header("Content-Type") or "").partition(";")[0].strip().lower() in HTML


@pytest.mark.parametrize("path", ARCHIVES or [pytest.param(None, marks=pytest.mark.skip("no archives are here"))])
def test_records_and_payloads(path: Path) -> None:
    read = Read(FORMATS[format_of(path.name)].read, path.read_bytes())
    pages, kinds = pages_and_kinds(path)
    assert not read.failed
    assert len(read.fates) == sum(kinds.values())
    assert [(row["url"], row["record.content"] or row["text"].encode()) for row in read.kept] == pages
    others = Counter(row["detail"].split()[0] for row in read.dropped if row["reason"] == "not_a_response")
    others["arc_header"] = others.pop("filedesc", 0)
    for kind in ("arc_header", "warcinfo", "request", "metadata", "resource"):
        assert others[kind] == kinds[kind]
    assert [row["reason"] for row in read.dropped].count("revisit") == kinds["revisit"]
