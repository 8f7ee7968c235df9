"""From HTML bytes to text."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, ClassVar

import pyarrow as pa
from pydantic import Field
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5
from resiliparse.parse.html import HTMLTree

from tiers.document import DOCUMENT
from tiers.l0_raw.batches import CONTENT
from tiers.stage import Context, Outcome, Stage, fates


class HtmlReason(StrEnum):
    """Why a page gave no document."""

    EMPTY_PAGE = "empty_page"
    UNDECODABLE = "undecodable"
    TOO_DEEP = "too_deep"
    PARSER_ERROR = "parser_error"


class _Refused(Exception):
    def __init__(self, reason: HtmlReason, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(detail)


class ExtractHtml(Stage):
    """Extracts the text of HTML pages, and takes the `record.*` columns away.

    Rows without `record.content` pass unchanged. The title becomes a column, the `lang` attribute `meta["html.lang"]`.

    Attributes:
        main_content: Whether to leave out navigation, sidebars and footers.
        max_depth: Elements that may be nested in each other. The extractor's time grows with the square of the
            depth: 10,000 take seconds, 100,000 minutes.
        max_undecodable: The share of characters that are no text in the page's encoding.
    """

    name: ClassVar[str] = "extract_html"

    main_content: bool = True
    max_depth: int = Field(default=2000, ge=1)
    max_undecodable: float = Field(default=0.05, ge=0, le=1)

    def prepare(self, context: Context) -> Callable[[pa.Table], Outcome]:
        """Gives the function that extracts one table; see `Stage`."""
        return self._apply

    def _apply(self, table: pa.Table) -> Outcome:
        if CONTENT[0].name not in table.column_names:
            return Outcome(kept=table)
        rows = table.to_pylist(maps_as_pydicts="strict")
        kept: list[Mapping[str, Any]] = []
        dropped: list[tuple[str, str, str]] = []
        failed: list[tuple[str, str, str]] = []
        for row in rows:
            try:
                kept.append(self._extract(row))
            except _Refused as refused:
                gone = dropped if refused.reason is HtmlReason.EMPTY_PAGE else failed
                gone.append((row["id"], refused.reason, refused.detail))
        fields = [field for field in table.schema if field not in CONTENT]
        schema = pa.schema(fields, metadata=DOCUMENT.metadata)
        return Outcome(pa.Table.from_pylist(kept, schema=schema), fates(dropped), fates(failed))

    def _extract(self, row: dict[str, Any]) -> Mapping[str, Any]:
        content = row["record.content"]
        if row["text"] and not content:
            return row
        page = decode(content, row["record.charset"], self.max_undecodable)
        depth = nesting_depth(page, self.max_depth)
        if depth > self.max_depth:
            raise _Refused(HtmlReason.TOO_DEEP, f"more than {self.max_depth} elements deep")
        try:
            tree = HTMLTree.parse(page)
            text = extract_plain_text(tree, main_content=self.main_content)
            title = tree.title or None
            lang = _lang(tree)
        except Exception as error:
            raise _Refused(HtmlReason.PARSER_ERROR, f"{type(error).__name__}: {error}") from None
        text = text.replace("\0", "").strip()
        if not text:
            raise _Refused(HtmlReason.EMPTY_PAGE, f"no text in {len(content)} bytes")
        meta = {**row["meta"], **({"html.lang": lang} if lang else {})}
        return {**row, "text": text, "title": title, "meta": meta}


def decode(content: bytes, declared: str | None, max_undecodable: float) -> str:
    """Decodes a page by its byte order mark, its declared charset, its meta tag, or what its bytes look like.

    Raises:
        _Refused: the share of replacement and control characters is above `max_undecodable`.
    """
    encoding = map_encoding_to_html5(declared, False) if declared else None
    if encoding is None:
        encoding = detect_encoding(content, from_html_meta=True) or "utf-8"
    text = content.decode(encoding, "replace")
    strange = text.count("\ufffd") + len(_CONTROL.findall(text))
    if strange > max_undecodable * len(text):
        raise _Refused(HtmlReason.UNDECODABLE, f"{strange / len(text):.3f} of it, at most {max_undecodable}")
    return text


def _lang(tree: HTMLTree) -> str:
    root = tree.document.query_selector("html") if tree.document is not None else None
    return (root.getattr("lang") or "") if root is not None else ""


_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f]")
_TAG = re.compile(r"<(/?)([a-zA-Z][^\s/>]*)")
_VOID = frozenset("area base br col embed hr img input link meta param source track wbr".split())


def nesting_depth(page: str, enough: int) -> int:
    """An upper bound on how deep the page's elements are nested, counted no further than just above `enough`."""
    if page.count("<") - page.count("</") <= enough:
        return 0
    open_by_name: dict[str, int] = {}
    depth = 0
    for match in _TAG.finditer(page):
        name = match[2].lower()
        if match[1]:
            if open_by_name.get(name, 0):
                open_by_name[name] -= 1
                depth -= 1
        elif name not in _VOID:
            open_by_name[name] = open_by_name.get(name, 0) + 1
            depth += 1
            if depth > enough:
                break
    return depth
