"""L0, raw: readers of inputs, and the extraction of text from HTML."""

from __future__ import annotations

from tiers.l0_raw.arc import read_arc
from tiers.l0_raw.batches import (
    CONTENT,
    DEFAULT_LIMITS,
    DEFAULT_OPTIONS,
    WHOLE,
    Limits,
    ReadOptions,
    ReadReason,
    Span,
)
from tiers.l0_raw.columns import read_arrow, read_parquet
from tiers.l0_raw.files import read_html, read_text
from tiers.l0_raw.formats import FORMATS, Format, cut, format_of
from tiers.l0_raw.html import ExtractHtml, HtmlReason
from tiers.l0_raw.lines import read_csv, read_jsonl
from tiers.l0_raw.page_notes import page_notes
from tiers.l0_raw.warc import read_warc
from tiers.stage import Stage

STAGES: tuple[type[Stage], ...] = (ExtractHtml,)

__all__ = [
    "CONTENT",
    "DEFAULT_LIMITS",
    "DEFAULT_OPTIONS",
    "FORMATS",
    "STAGES",
    "WHOLE",
    "ExtractHtml",
    "Format",
    "HtmlReason",
    "Limits",
    "ReadOptions",
    "ReadReason",
    "Span",
    "cut",
    "format_of",
    "page_notes",
    "read_arc",
    "read_arrow",
    "read_csv",
    "read_html",
    "read_jsonl",
    "read_parquet",
    "read_text",
    "read_warc",
]
