"""The strings of benchmark files: JSON, JSON lines, Parquet or plain text, compressed or not, told by their content."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tiers.errors import SourceError
from tiers.reference import Reference

_URL = re.compile(r"\s*https?://\S*\s*")


@dataclass(frozen=True)
class Item:
    """A string of a benchmark.

    Attributes:
        benchmark: The benchmark's name.
        place: Its row, counted from 0, and where in the row it stands.
        text: The string.
    """

    benchmark: str
    place: str
    text: str


def read_items(name: str, reference: Reference, fields: tuple[str, ...]) -> Iterator[Item]:
    """The strings of a benchmark, URLs left out.

    The rows of a JSON file are the elements of its list; in an object that holds one list of objects, as SQuAD's
    `data`, those of that; in an object of objects, its values. A row of plain text is a line.

    Args:
        name: What the benchmark is called.
        reference: Its file, or a folder of files.
        fields: Keys; of each row the strings below one of them count, at any depth. All do where there are none.

    Raises:
        SourceError: a file can't be read, or some of its lines are JSON and others not.
    """
    for file, content in reference.read().items():
        where = f"{name}/{file}" if file else name
        for number, row in enumerate(_rows(content, where)):
            for path, text in _strings(row, ""):
                if (not fields or _is_below(path, fields)) and not _URL.fullmatch(text):
                    yield Item(name, f"{f'{file} ' if file else ''}row {number} {path.lstrip('.')}".rstrip(), text)


def _rows(content: bytes, where: str) -> Iterator[Any]:
    if content.startswith(b"PAR1"):
        try:
            for batch in pq.ParquetFile(pa.BufferReader(content)).iter_batches(batch_size=1024):
                yield from batch.to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise SourceError("the file is damaged Parquet", where=where, got=str(error)) from None
        return
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError("the file is neither Parquet nor UTF-8", where=where, got=str(error)) from None
    if text.lstrip()[:1] not in ("{", "["):
        yield from text.splitlines()
        return
    try:
        yield from _elements(json.loads(text))
    except json.JSONDecodeError:
        yield from _json_lines(text, where)


def _elements(value: Any) -> list[Any]:
    """The rows of a JSON file."""
    if isinstance(value, list):
        return value
    if not isinstance(value, dict):
        return [value]
    lists = [each for each in value.values() if isinstance(each, list) and each and isinstance(each[0], dict)]
    if len(lists) == 1:
        return list(lists[0])
    if value and all(isinstance(each, dict) for each in value.values()):
        return list(value.values())
    return [value]


def _json_lines(text: str, where: str) -> Iterator[Any]:
    for number, line in enumerate(text.split("\n")):
        if not line.strip():
            continue
        try:
            yield json.loads(line)
        except ValueError as error:
            raise SourceError("the line is not JSON", where=f"{where}, line {number + 1}", got=str(error)) from None


def _strings(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """(path, string) of every string in a row."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _strings(each, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for number, each in enumerate(value):
            yield from _strings(each, f"{path}[{number}]")


def _is_below(path: str, fields: tuple[str, ...]) -> bool:
    return not set(fields).isdisjoint(re.sub(r"\[\d+\]", "", path).split("."))
