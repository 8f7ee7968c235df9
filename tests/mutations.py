"""Ways to harm bytes, for fuzzing: each takes what is whole and a source of chance, and gives what is harmed."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

Mutation = Callable[[bytes, random.Random], bytes]


def flip_bits(data: bytes, chance: random.Random) -> bytes:
    harmed = bytearray(data)
    for _ in range(chance.choice((1, 1, 3, 20))):
        if harmed:
            harmed[chance.randrange(len(harmed))] ^= 1 << chance.randrange(8)
    return bytes(harmed)


def cut_end(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data) + 1)]


def cut_out(data: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(data) + 1)
    return data[:start] + data[start + chance.choice((1, 2, 10, 100, 5_000)) :]


def insert(data: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(data) + 1)
    piece = chance.choice(
        (b"\0", b"\n", b"\r\n\r\n", b"\xff" * 50, b"<", chance.randbytes(chance.choice((1, 30, 3_000))))
    )
    return data[:start] + piece + data[start:]


def double(data: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(data) + 1)
    end = min(start + chance.choice((10, 200, 5_000)), len(data))
    return chance.choice((data + data, data[:end] + data[start:]))


def overwrite(data: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(data) + 1)
    piece = chance.randbytes(chance.choice((4, 40, 400)))
    return (data[:start] + piece + data[start + len(piece) :])[: len(data)]


def edit_header(data: bytes, chance: random.Random) -> bytes:
    lines = data[:2_000].split(b"\n")
    at = chance.randrange(len(lines))
    edits = (
        b"",
        lines[at].upper(),
        lines[at].replace(b":", b"", 1),
        lines[at] * 200,
        b" " + lines[at],
        lines[at].replace(b" ", b"\t"),
        b"\r",
        b"X" * 40_000,
        lines[chance.randrange(len(lines))],
        b"Content-Encoding: " + chance.choice((b"gzip", b"br", b"deflate", b"zstd", b"gzip, gzip, br")) + b"\r",
        b"Transfer-Encoding: chunked\r",
    )
    lines[at] = chance.choice(edits)
    return b"\n".join(lines) + data[2_000:]


def lie_of_length(data: bytes, chance: random.Random) -> bytes:
    """Changes the number that a header of WARC, HTTP or ARC declares."""
    numbers = list(re.finditer(rb"(?i)(?<=content-length: )\d+|(?<=[0-9a-z/] )\d+(?=\r?\n)", data[:3_000]))
    if not numbers:
        return flip_bits(data, chance)
    number = chance.choice(numbers)
    true = int(number[0])
    lies = (0, 1, true - 1, true + 1, true // 2, true + 50, true * 2, 10**6, 10**9, 10**15, 10**30, -1)
    return data[: number.start()] + b"%d" % chance.choice(lies) + data[number.end() :]


MUTATIONS: tuple[Mutation, ...] = (
    flip_bits, cut_end, cut_out, insert, double, overwrite, edit_header, lie_of_length
)  # fmt: skip
"""Those of records."""


def repeat_tags(page: bytes, chance: random.Random) -> bytes:
    tags = re.findall(rb"<[^<>]{1,200}>", page) or [b"<p>"]
    start = chance.randrange(len(page) + 1)
    return page[:start] + chance.choice(tags) * chance.choice((10, 500, 1_999, 20_000)) + page[start:]


def drop_tags(page: bytes, chance: random.Random) -> bytes:
    share = chance.choice((0.05, 0.5, 0.95))
    return re.sub(rb"<[^<>]*>", lambda tag: b"" if chance.random() < share else tag[0], page)


def shuffle_tags(page: bytes, chance: random.Random) -> bytes:
    parts = re.split(rb"(<[^<>]*>)", page)
    tags = parts[1::2]
    chance.shuffle(tags)
    parts[1::2] = tags
    return b"".join(parts)


def garble_attributes(page: bytes, chance: random.Random) -> bytes:
    edits = (b'="', b"='", b"=", b" =", b'=""', b"=>", b"=" + b"\xc3\xa9" * 9)
    return re.sub(rb"=\"", lambda _: chance.choice(edits) if chance.random() < 0.2 else b'="', page)


def odd_markup(page: bytes, chance: random.Random) -> bytes:
    pieces = (
        b"<!--", b"-->", b"<![CDATA[", b"]]>", b"<!DOCTYPE", b"<script>", b"</script>", b"<style>", b"<svg><math>",
        b"<template>", b"<plaintext>", b"<textarea>", b"<table><td><table>", b"<select><option>", b"<frameset>",
        b"&#0;", b"&#x110000;", b"&#55296;", b"&amp" * 99, b"<a <a <a", b"</", b"<?xml?>", b"<p " + b"x=y " * 3_000,
        b"\xef\xbb\xbf", b"\xff\xfe", b"<meta charset=utf-16>", b"<base href=x>", b"<b><i>" * 300,
    )  # fmt: skip
    for _ in range(chance.choice((1, 5, 50))):
        start = chance.randrange(len(page) + 1)
        page = page[:start] + chance.choice(pieces) + page[start:]
    return page


PAGE_MUTATIONS: tuple[Mutation, ...] = (
    flip_bits, cut_end, cut_out, insert, double, overwrite,
    repeat_tags, drop_tags, shuffle_tags, garble_attributes, odd_markup,
)  # fmt: skip
"""Those of HTML pages."""
