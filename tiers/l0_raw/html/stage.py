"""The stage that makes documents of HTML pages."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree

from tiers.document import DOCUMENT, add_column
from tiers.l0_raw.batches import CONTENT
from tiers.l0_raw.html.decoding import decode
from tiers.l0_raw.html.images import Image
from tiers.l0_raw.html.reasons import HtmlReason, Refused
from tiers.l0_raw.html.shape import ShapeLimits, check_shape
from tiers.l0_raw.html.trafilatura_process import TrafilaturaProcess
from tiers.l0_raw.math import write_formulas
from tiers.l0_raw.page_notes import occurrences, page_notes
from tiers.stage import Context, Outcome, Stage, fates


@dataclass(frozen=True)
class Page:
    """What was found in a page.

    Attributes:
        text: Its text.
        title: Its title; may be empty.
        images: The images in its text.
        notes: For `meta`: the language it declares, and what it tells robots and of its licence, with `license` its
            identifier; see `tiers.l0_raw.page_notes`.
    """

    text: str
    title: str = ""
    images: list[Image] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)


class ExtractHtml(Stage):
    """Extracts the text and images of HTML pages, and takes the `record.*` columns away.

    Rows that have a text and no `record.content` pass as they are. The title becomes a column, as does
    the licence that the page links to as its own; the `lang` attribute becomes `meta["html.lang"]`, what the page tells
    robots `meta["robots"]`, images entries of `media`. Formulas become LaTeX (see
    `tiers.l0_raw.math`).

    Attributes:
        extractor: What finds the main content and writes its text. `blocks` weighs the page's elements (see
            `tiers.l0_raw.html.main_content`) and writes Markdown with headings, lists, tables and code. `resiliparse`
            is the library's own choice and plain text (Bevendorff et al., ECIR 2018), without images. `trafilatura`
            is that library's (Barbaresi, ACL 2021), as Markdown and without comments. `cascade` is `blocks`, and
            `trafilatura` where its confidence is below `min_confidence`.
        main_content: Whether to leave out navigation, sidebars and footers.
        min_confidence: Below which confidence of `blocks`, from 0 to 1, the cascade asks `trafilatura`.
        formulas: Whether formulas become LaTeX.
        max_images: How many images of a page become media.
        max_seconds: How many seconds of processor time trafilatura may take for a page.
        max_depth: How many elements may be open at once. Resiliparse's time grows with the square of the depth:
            at 2,000 a page takes about 0.1 s, at 100,000 minutes.
        max_attributes: How many attributes one tag may have; the parser's time grows with their square.
        max_work: The most that a page's depth times its bytes may be, which Resiliparse's time grows with.
        max_reopened: The most that a page's tags times its unclosed formatting elements may be: the parser opens those
            anew in each paragraph, so that 35 kB can become 2.6 GB.
        max_undecodable: The share of a page's characters that may be replacement or control characters.
    """

    name: ClassVar[str] = "extract_html"
    version: ClassVar[int] = 4

    extractor: Literal["blocks", "resiliparse", "trafilatura", "cascade"] = "blocks"
    main_content: bool = True
    min_confidence: float = Field(default=0.5, ge=0, le=1)
    formulas: bool = True
    max_images: int = Field(default=50, ge=0)
    max_seconds: int = Field(default=20, ge=1)
    max_depth: int = Field(default=2000, ge=1)
    max_attributes: int = Field(default=5000, ge=1)
    max_work: int = Field(default=2_000_000_000, ge=1)
    max_reopened: int = Field(default=1_000_000, ge=1)
    max_undecodable: float = Field(default=0.05, ge=0, le=1)

    @model_validator(mode="after")
    def _trafilatura_finds_main_content(self) -> ExtractHtml:
        if not self.main_content and self.extractor in ("trafilatura", "cascade"):
            raise ValueError(f"main_content: false is for blocks and resiliparse, not for {self.extractor}")
        return self

    def prepare(self, context: Context) -> Callable[[pa.Table], Outcome]:
        """Gives the function that extracts one table; see `Stage`.

        Raises:
            StageError: trafilatura is wanted and not installed.
        """
        extract = self.extracting()
        return lambda table: _apply(extract, table)

    def extracting(self) -> Callable[[bytes, str | None, str | None], Page]:
        """Gives the function that extracts one page from its bytes, the charset its HTTP header declared, and its URL.

        It raises `Refused` where the page cannot be decoded or parsed, or has no text.

        Raises:
            StageError: trafilatura is wanted and not installed.
        """
        wants_trafilatura = self.extractor in ("trafilatura", "cascade")
        trafilatura = TrafilaturaProcess(self.max_seconds) if wants_trafilatura else None
        limits = ShapeLimits(self.max_depth, self.max_attributes, self.max_work, self.max_reopened)

        def extract(content: bytes, charset: str | None = None, url: str | None = None) -> Page:
            page = decode(content, charset, self.max_undecodable)
            # Only UTF-16 and ISO-2022 have bytes of markup that are none.
            source = page.encode() if b"\0" in content or b"\x1b" in content else content
            check_shape(source, limits)
            notes = _notes(source)
            text, title, images = self._parse(page, source, url, trafilatura)
            text = text.replace("\0", "").strip("\n")
            if not text or text.isspace():
                raise Refused(HtmlReason.EMPTY_PAGE, f"no text in {len(content)} bytes")
            return Page(text, " ".join(title.replace("\0", "").split()), images, notes)

        return extract

    def _parse(
        self, page: str, source: bytes, url: str | None, trafilatura: TrafilaturaProcess | None
    ) -> tuple[str, str, list[Image]]:
        from tiers.l0_raw.html.blocks import extract_blocks
        from tiers.l0_raw.math.marks import formula_selector, marks_of

        images: list[Image] = []
        confidence = 0.0
        try:
            tree = HTMLTree.parse(page)
            title = tree.title or ""
            if self.extractor in ("blocks", "cascade"):
                main, formulas, most = self.main_content, self.formulas, self.max_images
                text, images, confidence = extract_blocks(
                    tree, source, url, main=main, formulas=formulas, max_images=most
                )
            else:
                selector = formula_selector(marks_of(source), source) if self.formulas else None
                if selector is not None:
                    write_formulas(tree, selector)
                text = extract_plain_text(tree, main_content=self.main_content) if trafilatura is None else ""
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a panic of the parser is no Exception
            raise Refused(HtmlReason.PARSER_ERROR, f"{type(error).__name__}: {error}") from None
        if trafilatura is not None and (self.extractor == "trafilatura" or confidence < self.min_confidence):
            document = tree.document
            text = trafilatura.extract(page if document is None else document.html) or text
        return text, title, images


def _apply(extract: Callable[[bytes, str | None, str | None], Page], table: pa.Table) -> Outcome:
    content, _, charset = (column.name for column in CONTENT)
    if content not in table.column_names:
        return Outcome(kept=table)
    rest = table.drop_columns([column.name for column in CONTENT if column.name in table.column_names])
    keep: list[bool] = []
    columns: dict[str, list[Any]] = {"text": [], "title": [], "license": [], "media": [], "meta": []}
    gone: dict[bool, list[tuple[str, str, str]]] = {True: [], False: []}
    names = ("id", "text", "title", "url", "license", "media", "meta")
    rows = zip(
        *(rest[name].to_pylist() for name in names),
        table[charset].to_pylist(),
        _one_by_one(table[content]),
        strict=True,
    )
    for row_id, text, title, url, license, media, meta, declared, raw in rows:
        try:
            page = Page(text, title or "") if text and not raw else extract(raw, declared, url)
        except Refused as refused:
            gone[refused.reason is HtmlReason.EMPTY_PAGE].append((row_id, refused.reason, refused.detail))
            keep.append(False)
            continue
        keep.append(True)
        columns["text"].append(page.text)
        columns["title"].append(page.title or None)
        columns["media"].append([*media, *(image.medium() for image in page.images)])
        columns["license"].append(page.notes.get("license", license))
        columns["meta"].append([*meta, *((key, value) for key, value in page.notes.items() if key != "license")])
    kept = rest.filter(pa.array(keep, pa.bool_()))
    for name, values in columns.items():
        kept = add_column(kept, DOCUMENT.field(name), values)
    return Outcome(kept, dropped=fates(gone[True]), failed=fates(gone[False]))


def _one_by_one(contents: pa.ChunkedArray) -> Iterator[bytes]:
    """The values of a column of large binaries; the memory of one is free for the next."""
    for chunk in contents.chunks:
        _, bounds, data = chunk.buffers()
        ends = np.frombuffer(bounds, np.int64)[chunk.offset : chunk.offset + len(chunk) + 1].tolist() if bounds else []
        whole = memoryview(data or b"")
        for start, end in pairwise(ends):
            yield bytes(whole[start:end])


# The parser could tell too, but takes as long for it as for a tenth of the extraction.
_LANG = re.compile(rb"<html\b[^>]*?\slang\s*=\s*[\"']?([\w-]+)", re.IGNORECASE)
_FIRST, _HEAD = 1 << 13, 1 << 16


def _notes(page: bytes) -> dict[str, str]:
    """What a page says about itself; robots are spoken to in its head, licences linked to anywhere."""
    from tiers.l0_raw.kernels.shape import may_link_to_licence

    notes = {}
    lower = page if page.find(b"<html", 0, _FIRST) >= 0 else page[:_FIRST].lower()
    for at in occurrences(lower, b"<html", _FIRST):
        if match := _LANG.match(page, at, _FIRST):
            notes["html.lang"] = match[1].decode()
            break
    if may_link_to_licence(np.frombuffer(page, np.uint8)):  # looking at every tag takes longer than parsing
        return notes | page_notes(page)
    end = page.find(b"</head", 0, _HEAD)
    return notes | page_notes(page[: end if end > 0 else _HEAD])
