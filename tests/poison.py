"""A corpus with everything in it that has ever brought a pipeline down, among good documents."""

from __future__ import annotations

import gzip
import json
import random
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import tiers.l0_raw.html.stage

PARSER_BREAKER = "this sentence breaks the parser"

WORDS = (
    "the of a to in and that it is for was on with as by at from this which or an be are have not but their one had "
    "river stone engine harvest letter window market teacher garden winter bridge music science village journey paper "
    "measure water history language mountain reason question answer morning evening harbour forest kitchen doctor"
).split()


def warc_record(
    body: bytes,
    url: str = "https://example.org/",
    *,
    kind: str = "response",
    status: str = "200 OK",
    http: str = "Content-Type: text/html; charset=utf-8\r\n",
    length: int | None = None,
) -> bytes:
    """A WARC record, uncompressed; `length` is what it declares, if not the truth."""
    block = f"HTTP/1.1 {status}\r\n{http}\r\n".encode() + body
    head = (
        f"WARC/1.1\r\nWARC-Type: {kind}\r\nWARC-Record-ID: <urn:uuid:00000000-0000-0000-0000-000000000000>\r\n"
        f"WARC-Date: 2026-01-01T00:00:00Z\r\nWARC-Target-URI: {url}\r\n"
        f"Content-Type: application/http; msgtype={kind}\r\n"
        f"Content-Length: {len(block) if length is None else length}\r\n\r\n"
    )
    return head.encode() + block + b"\r\n\r\n"


def good_text(number: int, sentences: int = 24) -> str:
    """Prose of its own for each number."""
    draw = random.Random(number)
    lines = []
    for _ in range(sentences):
        words = draw.choices(WORDS, k=draw.randint(8, 18))
        lines.append(" ".join(words).capitalize() + ".")
    return "\n".join(" ".join(lines[at : at + 4]) for at in range(0, sentences, 4))


def good_page(number: int, extra: str = "") -> bytes:
    """An HTML page around `good_text`."""
    paragraphs = "".join(f"<p>{line}</p>\n" for line in good_text(number).split("\n"))
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Page {number}</title></head>'
        f"<body><main><h1>Page {number}</h1>{paragraphs}{extra}</main></body></html>"
    ).encode()


def poisoned_pages() -> list[tuple[str, bytes]]:
    """(reason, page) for each kind of page that no document can be made of."""
    noise = random.Random(0).randbytes(20_000)
    return [
        ("undecodable", b"<html><body><p>" + b"\xff\xfe\xfd\xfc" * 5_000),
        ("undecodable", b"<html><body><p>" + noise),
        ("undecodable", b"\0" * 4_000),
        ("too_large", b"x" * 50_000_000),
        ("too_deep", b"<div>" * 100_000 + b"text" + b"</div>" * 100_000),
        ("too_many_attributes", b"<p " + b" ".join(b"a%d=1" % n for n in range(100_000)) + b">text"),
        ("parser_error", good_page(0, f"<p>{PARSER_BREAKER}</p>")),
    ]


def poisoned_lines() -> list[tuple[str, bytes]]:
    """(reason, line) for each kind of JSON line that no document can be made of."""
    return [
        ("invalid_utf8", b'{"text": "caf\xe9 \xff"}'),
        ("lone_surrogate", rb'{"text": "half a pair: \ud800"}'),
        ("no_text", b'{"text": null}'),
        ("no_text", b'{"title": "no text"}'),
        ("text_not_a_string", b'{"text": 7}'),
        ("invalid_json", b'{"text": "cut of'),
        ("invalid_json", b"[1, 2]"),
        ("invalid_json", b"[" * 100_000),
    ]


@dataclass(frozen=True)
class PoisonCorpus:
    """Attributes:
    folder: Where the files lie; give it as an input.
    good: How many good documents there are.
    failed: How many rows must fail at L0, by reason.
    """

    folder: Path
    good: int
    failed: dict[str, int] = field(default_factory=dict)


def write_poison(folder: Path, good: int = 30, per_file: int = 500) -> PoisonCorpus:
    """Writes good documents with ten bad ones and more among them, and three broken files beside them.

    The page with `PARSER_BREAKER` fails only where `break_parser` was called in the same process.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pages = [("good", good_page(number)) for number in range(good)]
    lines = [("good", json.dumps({"text": good_text(good + number)}).encode()) for number in range(10)]
    for rows, poison in ((pages, poisoned_pages()), (lines, poisoned_lines())):
        for number, bad in enumerate(poison):
            rows.insert((number + 1) * len(rows) // (len(poison) + 2), bad)
    for start in range(0, len(pages), per_file):
        records = (
            gzip.compress(warc_record(page, f"https://example.org/{start + number}"), 1, mtime=0)
            for number, (_, page) in enumerate(pages[start : start + per_file])
        )
        (folder / f"crawl-{start // per_file:03}.warc.gz").write_bytes(b"".join(records))
    (folder / "lines.jsonl").write_bytes(b"\n".join(line for _, line in lines) + b"\n")

    last = gzip.compress(warc_record(good_page(-1), "https://example.org/torn"), mtime=0)
    whole = gzip.compress(warc_record(good_page(-2), "https://example.org/whole"), mtime=0)
    (folder / "truncated.warc.gz").write_bytes(whole + last[: len(last) // 2])
    (folder / "garbage.warc.gz").write_bytes(random.Random(1).randbytes(10_000))
    (folder / "empty.warc.gz").write_bytes(b"")
    failed = {"truncated": 1, "not_a_warc": 1, "empty_file": 1}
    for reason, _ in [*pages, *lines]:
        if reason != "good":
            failed[reason] = failed.get(reason, 0) + 1
    return PoisonCorpus(folder, good + 11, failed)


def break_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the HTML library raise on pages that hold `PARSER_BREAKER`, since no page is known that does."""
    parse = tiers.l0_raw.html.stage.HTMLTree.parse

    class BreakableTree:
        @staticmethod
        def parse(page: str) -> object:
            if PARSER_BREAKER in page:
                raise ValueError("the parser gave up")
            return parse(page)

    monkeypatch.setattr(tiers.l0_raw.html.stage, "HTMLTree", BreakableTree)
