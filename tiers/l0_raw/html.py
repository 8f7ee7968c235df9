"""From HTML bytes to text."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5
from resiliparse.parse.html import HTMLTree

from tiers.document import DOCUMENT, add_column
from tiers.l0_raw.batches import CONTENT
from tiers.stage import Context, Outcome, Stage, fates


class HtmlReason(StrEnum):
    """Why a page gave no document. An empty page is dropped; the others fail."""

    EMPTY_PAGE = "empty_page"
    UNDECODABLE = "undecodable"
    TOO_DEEP = "too_deep"
    TOO_MANY_ATTRIBUTES = "too_many_attributes"
    PARSER_ERROR = "parser_error"


class Refused(Exception):
    """A page that cannot become a document.

    Args:
        reason: Why.
        detail: The measured value and the threshold.
    """

    def __init__(self, reason: HtmlReason, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(detail)


@dataclass(frozen=True)
class Page:
    """What was found in a page: its text, title and declared language; the last two may be empty."""

    text: str
    title: str
    lang: str


class ExtractHtml(Stage):
    """Extracts the text of HTML pages, and takes the `record.*` columns away.

    Rows that have a text and no `record.content` pass as they are. The title becomes a column, the `lang` attribute
    `meta["html.lang"]`. Extraction is that of Resiliparse (Bevendorff et al., ECIR 2018), which keeps the lines of
    preformatted text and of tables.

    Attributes:
        main_content: Whether to leave out navigation, sidebars and footers.
        max_depth: How many elements may be open at once. The extractor's time grows with the square of the depth:
            at 2,000 a page takes about 0.1 s, at 100,000 minutes.
        max_attributes: How many attributes one tag may have; the parser's time grows with their square.
        max_undecodable: The share of a page's characters that may be replacement or control characters.
    """

    name: ClassVar[str] = "extract_html"

    main_content: bool = True
    max_depth: int = Field(default=2000, ge=1)
    max_attributes: int = Field(default=5000, ge=1)
    max_undecodable: float = Field(default=0.05, ge=0, le=1)

    def prepare(self, context: Context) -> Callable[[pa.Table], Outcome]:
        """Gives the function that extracts one table; see `Stage`."""
        return self._apply

    def _apply(self, table: pa.Table) -> Outcome:
        content, _, charset = (field.name for field in CONTENT)
        if content not in table.column_names:
            return Outcome(kept=table)
        rest = table.drop_columns([field.name for field in CONTENT if field.name in table.column_names])
        columns = (rest["id"], rest["text"], rest["title"], rest["meta"], table[content], table[charset])
        texts, titles, metas, keep = [], [], [], []
        gone: dict[bool, list[tuple[str, str, str]]] = {True: [], False: []}
        for row_id, text, title, meta, raw, declared in zip(*(column.to_pylist() for column in columns), strict=True):
            try:
                page = Page(text, title or "", "") if text and not raw else self.extract(raw, declared)
            except Refused as refused:
                gone[refused.reason is HtmlReason.EMPTY_PAGE].append((row_id, refused.reason, refused.detail))
                keep.append(False)
                continue
            keep.append(True)
            texts.append(page.text)
            titles.append(page.title or None)
            metas.append([*meta, ("html.lang", page.lang)] if page.lang else meta)
        kept = rest.filter(pa.array(keep, pa.bool_()))
        for name, values in (("text", texts), ("title", titles), ("meta", metas)):
            kept = add_column(kept, DOCUMENT.field(name), values)
        return Outcome(kept, dropped=fates(gone[True]), failed=fates(gone[False]))

    def extract(self, content: bytes, charset: str | None = None) -> Page:
        """Extracts one page.

        Args:
            content: The page as it was sent.
            charset: What its HTTP header declared.

        Raises:
            Refused: the page cannot be decoded or parsed, or has no text.
        """
        page = decode(content, charset, self.max_undecodable)
        check_shape(page, self.max_depth, self.max_attributes)
        try:
            tree = HTMLTree.parse(page)
            text = extract_plain_text(tree, main_content=self.main_content)
            title = tree.title or ""
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a panic of the parser is no Exception
            raise Refused(HtmlReason.PARSER_ERROR, f"{type(error).__name__}: {error}") from None
        text = text.replace("\0", "").strip("\n")
        if not text.strip():
            raise Refused(HtmlReason.EMPTY_PAGE, f"no text in {len(content)} bytes")
        return Page(text, " ".join(title.replace("\0", "").split()), _lang(page))


# The parser could tell too, but takes as long for it as for a tenth of the extraction.
_LANG = re.compile(r"<html\b[^>]*?\slang\s*=\s*[\"']?([\w-]+)", re.IGNORECASE)


def _lang(page: str) -> str:
    """The language that the page's root element declares; empty if none."""
    match = _LANG.search(page, 0, 8192)
    return match[1] if match else ""


_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
# Control characters that no text holds in any encoding of the web but UTF-16; ISO-2022-JP uses escape, 0x1b.
_CONTROLS = bytes(code for code in range(32) if code not in b"\t\n\f\r\x1b")


def decode(content: bytes, declared: str | None, max_undecodable: float = 0.05) -> str:
    """Decodes a page as browsers do: by byte order mark, declared charset, meta tag, else by what its bytes look like.

    Bytes that make no character become U+FFFD. Where most of the characters beyond ASCII are such, the charset that
    the bytes look like is tried too, since servers often declare what isn't so. The order is that of the HTML
    standard, section 13.2.3.2.

    Raises:
        Refused: more than a share of `max_undecodable` are replacement or control characters.
    """
    encoding = _named_encoding(content, declared)
    text, strange = _decode(content, encoding)
    if strange and 2 * strange > len(text) - len(text.encode("ascii", "ignore")):
        guessed = _guessed_encoding(content)
        if guessed is not None and guessed != encoding:
            other, other_strange = _decode(content, guessed)
            if other_strange < strange:
                text, strange, encoding = other, other_strange, guessed
    if strange > max_undecodable * len(text):
        share = strange / len(text)
        raise Refused(HtmlReason.UNDECODABLE, f"{share:.3f} of it is not {encoding}, at most {max_undecodable}")
    return text


def _named_encoding(content: bytes, declared: str | None) -> str:
    for mark, encoding in _BOMS:
        if content.startswith(mark):
            return encoding
    known = map_encoding_to_html5(declared, False) if declared else None
    named: str = known or detect_encoding(content, from_html_meta=True) or "utf-8"
    # A page whose ASCII markup can be read is not UTF-16, whatever it says.
    return "utf-8" if named.startswith("utf-16") and b"\0" not in content[:1024] else named


def _guessed_encoding(content: bytes) -> str | None:
    guessed = detect_encoding(content)
    # Windows-1252 decodes anything, and is what a detector says when it does not know; in text it is mostly ASCII.
    if guessed == "cp1252" and len(content.decode("ascii", "ignore")) < 0.7 * len(content):
        return None
    return guessed


def _decode(content: bytes, encoding: str) -> tuple[str, int]:
    """The text, and how many of its characters are replacements or controls."""
    text = content.decode(encoding, "replace")
    strange = text.count("\ufffd")
    if not encoding.startswith("utf-16"):
        strange += len(content) - len(content.translate(None, _CONTROLS))
    return text, strange


_TAG = re.compile(r"<(/?)([a-zA-Z][^\s/>]*)")
_HIDDEN = re.compile(r"(?is)<!--.*?-->|<(script|style)\b.*?</\1\s*>")
_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")
# Elements that cannot hold another of their kind without an element between them that is counted.
_UNCOUNTED = frozenset(
    "area base br col embed hr img input link meta param source track wbr html head body "
    "p li dt dd option optgroup tr td th thead tbody tfoot colgroup caption rt rp".split()
)


def check_shape(page: str, max_depth: int, max_attributes: int) -> None:
    """Refuses a page that would keep the parser or the extractor busy for minutes, in time linear in its length.

    Raises:
        Refused: more elements than `max_depth` are open at once, or a tag has more attributes than `max_attributes`.
    """
    if page.count("<") > max_depth and _balance(page) > max_depth and _depth(page, max_depth) > max_depth:
        # Scripts hold markup whose end tags are escaped; only now is it worth the time to look past them.
        if _depth(_HIDDEN.sub("", page), max_depth) > max_depth:
            raise Refused(HtmlReason.TOO_DEEP, f"more than {max_depth} elements open at once")
    # A tag with that many attributes spans a whole block that holds no ">".
    if any(page.find(">", at, at + max_attributes) < 0 for at in range(0, len(page), max_attributes)):
        for piece in page.split(">"):
            if len(piece) > max_attributes:
                _check_attributes(piece, max_attributes)


def _check_attributes(piece: str, max_attributes: int) -> None:
    tag = re.search(r"<[a-zA-Z].*", piece, re.DOTALL)
    if tag is None:
        return
    count = len(re.findall(r"[^\s/]+", _QUOTED.sub("", tag[0]))) - 1
    if count > max_attributes:
        raise Refused(HtmlReason.TOO_MANY_ATTRIBUTES, f"{count} in one tag, at most {max_attributes}")


def _balance(page: str) -> int:
    """The most start tags without an end tag so far: quicker than `_depth`, but it counts what needs no end tag."""
    code = np.frombuffer(page.encode("utf-8") + b" ", np.uint8)
    following = code[np.flatnonzero(code[:-1] == ord("<")) + 1]
    letter = (following | 0x20) - ord("a") < 26
    unclosed = np.cumsum(letter.astype(np.int32) - (following == ord("/")))
    return int((unclosed - np.minimum.accumulate(np.minimum(unclosed, 0))).max(initial=0))


def _depth(page: str, enough: int) -> int:
    """The most elements that are open at once, counted no further than just above `enough`."""
    open_by_name: dict[str, int] = {}
    depth = most = 0
    for closing, name in _TAG.findall(page):
        name = name.lower()
        if name in _UNCOUNTED:
            continue
        if not closing:
            open_by_name[name] = open_by_name.get(name, 0) + 1
            depth += 1
            most = max(most, depth)
            if most > enough:
                break
        elif open_by_name.get(name):
            open_by_name[name] -= 1
            depth -= 1
    return most
