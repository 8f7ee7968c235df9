"""Archives for tests, made or real."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Iterator
from pathlib import Path

from tiers.stage import Outcome

DATA = Path(__file__).parents[4] / "shared" / "data" / "warc"
ARCHIVES = sorted(DATA.glob("*arc*.gz"))
DESCRIPTION = (
    b"filedesc://test.arc 0.0.0.0 20080430204825 text/plain 66\n"
    b"1 0 Test\nURL IP-address Archive-date Content-type Archive-length\n\n"
)


def arc_record(
    body: bytes,
    url: str = "http://example.org/",
    *,
    status: str = "200 OK",
    http: str = "Content-Type: text/html; charset=utf-8\r\n",
    fields: str = "",
    length: int | None = None,
) -> bytes:
    """An ARC record, uncompressed; `fields` are those that version 2 has before the length."""
    block = f"HTTP/1.1 {status}\r\n{http}\r\n".encode() + body
    declared = len(block) if length is None else length
    return f"{url} 10.0.0.1 20080430204826 text/html {fields}{declared}\n".encode() + block + b"\n"


def plain(records: list[bytes]) -> bytes:
    return b"".join(records)


def members(records: list[bytes]) -> bytes:
    return b"".join(gzip.compress(record, mtime=0) for record in records)


def one_member(records: list[bytes]) -> bytes:
    return gzip.compress(b"".join(records), mtime=0)


class Read:
    """All outcomes of a reading."""

    def __init__(self, reader: Callable[..., Iterator[Outcome]], data: bytes, **settings: object) -> None:
        self.outcomes = list(reader(io.BytesIO(data), "crawl", **settings))
        self.kept = [row for outcome in self.outcomes for row in outcome.kept.to_pylist()]
        self.dropped = [row for outcome in self.outcomes for row in outcome.dropped.to_pylist()]
        self.failed = [row for outcome in self.outcomes for row in outcome.failed.to_pylist()]
        self.noted = [row for outcome in self.outcomes for row in outcome.noted.to_pylist()]

    @property
    def contents(self) -> list[bytes]:
        return [row["record.content"] for row in self.kept]

    @property
    def reasons(self) -> list[str]:
        return [row["reason"] for row in self.failed]

    @property
    def fates(self) -> list[tuple[str, str]]:
        """(id, what became of it) of every row."""
        gone = [(row["id"], row["reason"]) for row in [*self.dropped, *self.failed]]
        return [(row["id"], "kept") for row in self.kept] + gone
