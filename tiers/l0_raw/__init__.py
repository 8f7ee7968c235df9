"""L0, raw: readers of inputs, and the extraction of text from HTML."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

from tiers.errors import SourceError
from tiers.l0_raw.batches import CONTENT, DEFAULT_LIMITS, Limits, ReadReason
from tiers.l0_raw.files import read_html, read_jsonl, read_parquet
from tiers.l0_raw.html import ExtractHtml, HtmlReason
from tiers.l0_raw.warc import read_warc
from tiers.stage import Outcome, Stage

FORMATS: dict[str, Callable[..., Iterator[Outcome]]] = {
    "warc": read_warc,
    "jsonl": read_jsonl,
    "parquet": read_parquet,
    "html": read_html,
}
"""Readers by the name of their format; each is called with (stream, uri) and, at will, limits."""

_SUFFIXES = {
    "warc": "warc",
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "parquet": "parquet",
    "html": "html",
    "htm": "html",
    "xhtml": "html",
}
_COMPRESSED = {"warc": ("gz", "zst"), "jsonl": ("gz", "zst", "bz2", "xz")}

STAGES: tuple[type[Stage], ...] = (ExtractHtml,)

__all__ = [
    "CONTENT",
    "DEFAULT_LIMITS",
    "FORMATS",
    "STAGES",
    "ExtractHtml",
    "HtmlReason",
    "Limits",
    "ReadReason",
    "format_of",
    "read_html",
    "read_jsonl",
    "read_parquet",
    "read_warc",
]


def format_of(filename: str) -> str:
    """The format that a file's name tells.

    Raises:
        SourceError: the name ends in nothing known; the message lists what is.
    """
    parts = PurePosixPath(filename).name.lower().split(".")[1:]
    if parts and parts[-1] in _SUFFIXES:
        return _SUFFIXES[parts[-1]]
    if len(parts) > 1 and parts[-1] in _COMPRESSED.get(_SUFFIXES.get(parts[-2], ""), ()):
        return _SUFFIXES[parts[-2]]
    allowed = [f".{suffix}" for suffix in _SUFFIXES]
    allowed += [f".{name}.{end}" for name, ends in _COMPRESSED.items() for end in ends]
    raise SourceError("no reader knows files of this name", where=filename, expected=allowed, hint="Name its format")
