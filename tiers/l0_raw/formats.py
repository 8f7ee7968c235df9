"""The formats of inputs: their names, their readers, and where their files may be cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from tiers.errors import SourceError
from tiers.l0_raw.arc import ARC, read_arc
from tiers.l0_raw.batches import WHOLE, ReadOptions, Span
from tiers.l0_raw.columns import read_arrow, read_parquet, row_group_spans
from tiers.l0_raw.compression import is_compressed
from tiers.l0_raw.files import read_html, read_text
from tiers.l0_raw.lines import read_csv, read_jsonl
from tiers.l0_raw.records import Grammar, is_splittable
from tiers.l0_raw.warc import WARC, read_warc
from tiers.stage import Outcome

_COMPRESSIONS = ("gz", "zst", "bz2", "xz")
_ROW_OPTIONS = frozenset({"text_field", "id_field"})
_ARCHIVE_OPTIONS = frozenset({"mime", "status"})


@dataclass(frozen=True)
class Format:
    """A format of input files.

    Attributes:
        read: Called with (stream, uri) and, at will, `limits` and `options`; with `span` where the format has a `cut`.
        suffixes: How names of such files end, before the suffix of a compression.
        compressed: Whether such files may be compressed as a whole.
        options: The `ReadOptions` that bear on it.
        cut: Cuts a file, given as (stream, its bytes, bytes of a part), into spans; `None` where it can't be cut.
    """

    read: Callable[..., Iterator[Outcome]]
    suffixes: tuple[str, ...]
    compressed: bool = True
    options: frozenset[str] = frozenset()
    cut: Callable[[BinaryIO, int, int], list[Span]] | None = None

    def identity(self, options: ReadOptions) -> dict[str, Any]:
        """The options that distinguish what is read."""
        return options.model_dump(mode="json", include=set(self.options))


def _even_spans(size: int, shard_bytes: int) -> list[Span]:
    """Parts of nearly equal size, none above `shard_bytes`; the last is open at its end."""
    count = -(-size // shard_bytes)
    cuts = [size * number // count for number in range(count)]
    return [Span(start, end) for start, end in zip(cuts, [*cuts[1:], WHOLE.end], strict=True)]


def _cut_archive(grammar: Grammar, stream: BinaryIO, size: int, shard_bytes: int) -> list[Span]:
    return _even_spans(size, shard_bytes) if is_splittable(stream, grammar) else [WHOLE]


def _cut_lines(stream: BinaryIO, size: int, shard_bytes: int) -> list[Span]:
    return [WHOLE] if is_compressed(stream) else _even_spans(size, shard_bytes)


def _cut_parquet(stream: BinaryIO, size: int, shard_bytes: int) -> list[Span]:
    return row_group_spans(stream, shard_bytes)


FORMATS: dict[str, Format] = {
    "warc": Format(read_warc, ("warc", "wet", "wat"), options=_ARCHIVE_OPTIONS, cut=partial(_cut_archive, WARC)),
    "arc": Format(read_arc, ("arc",), options=_ARCHIVE_OPTIONS, cut=partial(_cut_archive, ARC)),
    "jsonl": Format(read_jsonl, ("jsonl", "ndjson"), options=_ROW_OPTIONS, cut=_cut_lines),
    "csv": Format(read_csv, ("csv",), options=_ROW_OPTIONS),
    "tsv": Format(partial(read_csv, delimiter="\t"), ("tsv",), options=_ROW_OPTIONS),
    "parquet": Format(read_parquet, ("parquet",), compressed=False, options=_ROW_OPTIONS, cut=_cut_parquet),
    "arrow": Format(read_arrow, ("arrow", "feather"), compressed=False, options=_ROW_OPTIONS),
    "html": Format(read_html, ("html", "htm", "xhtml")),
    "text": Format(read_text, ("txt", "md")),
}
"""Formats by their names."""


def format_of(filename: str) -> str:
    """The format that a file's name tells.

    Raises:
        SourceError: the name ends in nothing known; the message lists what is.
    """
    suffix, *rest = reversed(PurePosixPath(filename).name.lower().split(".")[1:] or [""])
    compressed = suffix in _COMPRESSIONS and bool(rest)
    suffix = rest[0] if compressed else suffix
    for name, form in FORMATS.items():
        if suffix in form.suffixes and (form.compressed or not compressed):
            return name
    raise SourceError(
        "no reader knows files of this name",
        where=filename,
        got=f".{suffix}" if suffix else "no suffix",
        expected=[f".{end}" for form in FORMATS.values() for end in form.suffixes],
        hint=f"All but .parquet, .arrow and .feather may end in .{', .'.join(_COMPRESSIONS)} too; or name the format: "
        + ", ".join(FORMATS),
    )


def cut(form: str, stream: BinaryIO, size: int, shard_bytes: int) -> list[Span]:
    """Cuts a file of `size` bytes into parts of about `shard_bytes`, at the borders of its records.

    Each record begins in exactly one part. What can't be cut is one part, `WHOLE`.
    """
    cutting = FORMATS[form].cut
    return cutting(stream, size, shard_bytes) if cutting and size > shard_bytes else [WHOLE]
