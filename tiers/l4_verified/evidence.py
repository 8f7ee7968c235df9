"""The stage `evidence`: a document becomes passages, each an exact span of its text.

A passage is what a memory stores as one vector and a generator reads as one token, so it holds one or two sentences:
about 48–64 subword tokens, which is where reconstruction from one vector still succeeds (ICAE, arXiv 2307.06945, and
"Cramming 1568 Tokens into a Single Vector", arXiv 2502.13063, bound what a vector can carry). Its offsets make it
checkable: `document.text[start:end] == passage`, always, so a citation can be followed to the character.

What isn't prose (fenced code, symbols, fragments) doesn't become evidence, nor does what a model wrote (`synthesise`),
which no source could be cited for; both stay in the document's own tier.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

import pyarrow as pa
from pydantic import Field

from tiers.document import DOCUMENT, add_column, child_id
from tiers.l3_edited.synthesis.products import FAMILY
from tiers.stage import Context, Outcome, Stage, fates

START = pa.field("evidence.start", pa.int64(), nullable=False)
END = pa.field("evidence.end", pa.int64(), nullable=False)
NUMBER = pa.field("evidence.number", pa.int32(), nullable=False)
COUNT = pa.field("evidence.count", pa.int32(), nullable=False)
CONTEXT = pa.field("evidence.context", pa.string())


class NoEvidence(StrEnum):
    """Why a document gives no evidence."""

    NO_EVIDENCE = "no_evidence"
    SYNTHETIC = "synthetic"


@dataclass(frozen=True)
class Passage:
    """A span of a text in characters, `start` included and `end` not, and the heading that it stands under."""

    start: int
    end: int
    heading: str = ""


class Evidence(Stage):
    """Splits each document into passages with exact spans; one row each, with the document as its parent.

    A passage's `source`, `url`, `title`, `lang`, `license` and every column of earlier stages are the document's.
    `evidence.start` and `evidence.end` are character (code point) offsets into the document's text;
    `evidence.number` counts from 0 to `evidence.count` - 1 in reading order; `evidence.context` is the title and the
    nearest heading above, which help a reader but aren't part of the span.

    Attributes:
        max_chars: The longest passage. 256 characters of English are about 60 tokens of SmolLM2.
        min_chars: Shorter passages are no evidence.
        min_words: Passages of fewer words are no evidence.
        min_letters: The smallest share of letters among the characters that aren't white space; code and tables of
            figures lie below it.
        max_passages: Only so many passages of one document, from its beginning; `None` for all.
    """

    name: ClassVar[str] = "evidence"
    version: ClassVar[int] = 2
    fans_out: ClassVar[bool] = True
    gives: ClassVar[tuple[pa.Field, ...]] = (START, END, NUMBER, COUNT, CONTEXT)

    max_chars: int = Field(default=256, ge=16)
    min_chars: int = Field(default=40, ge=1)
    min_words: int = Field(default=6, ge=1)
    min_letters: float = Field(default=0.75, ge=0, le=1)
    max_passages: int | None = Field(default=None, ge=1)

    def prepare(self, context: Context) -> Callable[[pa.Table], Outcome]:
        """The splitting needs nothing of the worker."""
        return self._split

    def _split(self, table: pa.Table) -> Outcome:
        rows: list[dict[str, Any]] = []
        makers: list[int] = []
        dropped: list[tuple[str, str, str]] = []
        columns = (table[name].to_pylist() for name in ("id", "text", "title"))
        families = table[FAMILY.name].to_pylist() if FAMILY.name in table.column_names else [None] * table.num_rows
        for index, (row_id, text, title, family) in enumerate(zip(*columns, families, strict=True)):
            if family is not None:
                dropped.append((row_id, NoEvidence.SYNTHETIC, family))
                continue
            found = list(passages(text, self.max_chars))
            good = [p for p in found if self._is_evidence(text[p.start : p.end])][: self.max_passages]
            if not good:
                detail = f"0 of {len(found)} passages are prose of {self.min_chars} to {self.max_chars} characters"
                dropped.append((row_id, NoEvidence.NO_EVIDENCE, detail))
            for number, passage in enumerate(good):
                makers.append(index)
                rows.append(_child(row_id, text, title, passage, number, len(good)))
        return Outcome(kept=_children(table, makers, rows), dropped=fates(dropped))

    def _is_evidence(self, passage: str) -> bool:
        visible = "".join(passage.split())
        letters = sum(map(str.isalpha, visible))
        words = len(passage.split()) + len(_HAN.findall(passage)) // 2  # a Chinese word is about two characters
        return (
            len(passage) >= self._shortest(passage)
            and words >= self.min_words
            and letters >= self.min_letters * len(visible)
        )

    def _shortest(self, passage: str) -> int:
        """`min_chars` for what is written in letters; Han characters say about three times as much each."""
        return self.min_chars // 3 if len(_HAN.findall(passage)) > len(passage) // 3 else self.min_chars


def _child(parent: str, text: str, title: str | None, passage: Passage, number: int, count: int) -> dict[str, Any]:
    context = " › ".join(dict.fromkeys(part for part in (title, passage.heading) if part))
    return {
        "id": child_id(parent, "evidence", number),
        "text": text[passage.start : passage.end],
        "media": [],
        "parents": [parent],
        START.name: passage.start,
        END.name: passage.end,
        NUMBER.name: number,
        COUNT.name: count,
        CONTEXT.name: context or None,
    }


def _children(table: pa.Table, makers: list[int], rows: list[dict[str, Any]]) -> pa.Table:
    """The rows of `table` at `makers`, with the values of `rows` over theirs."""
    kept = table.take(pa.array(makers, pa.int64()))
    own = [DOCUMENT.field(name) for name in ("id", "text", "media", "parents")]
    for field in (*own, *Evidence.gives):
        kept = add_column(kept, field, [row[field.name] for row in rows])
    return kept


_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff\u3040-\u30ff]")
_FENCED = re.compile(r"^ {0,3}(`{3,}|~{3,}).*?(?:^ {0,3}\1[`~]*[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)
_BLANK = re.compile(r"\n[^\S\n]*(?:\n[^\S\n]*)+")
_BULLET = re.compile(r"\n(?=\s*(?:[-*+•‣◦–]|\d{1,3}[.)])\s)")
_HEADING = re.compile(r"(?![-*+•‣◦–]\s)(?:#{1,6}\s+)?(?=.*\w)(?P<words>[^\n]{1,80}?)[\s#]*(?:\n[=~^-]{3,}\s*)?")
_END = re.compile(r"[。！？]+[”’」』）)]*|[.!?…]+[\"'”’»)\]]*(?=\s)")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\[])(?:[A-Za-z]|[A-Z]?[a-z]?\.[A-Za-z]|Mrs?|Ms|Dr|Prof|St|Jr|Sr|vs|etc|cf|Fig|Figs|Eq|No|Nos|Vol|pp?"
    r"|ed|eds|al|approx|resp|ca|bzw|usw|Nr|Inc|Ltd|Co|Corp|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)\.$"
)


def passages(text: str, max_chars: int) -> Iterator[Passage]:
    """Splits the prose of `text` at the borders of paragraphs and sentences into spans of at most `max_chars`.

    Sentences of one paragraph are joined as long as they fit. A heading (a line of its own without a full stop)
    is context for what follows, and no passage. Fenced code is left out.
    """
    heading = ""
    for start, end in _paragraphs(text):
        if (found := _HEADING.fullmatch(text, start, end)) and found["words"][-1] not in ".!?…:;,。！？：；":
            heading = found["words"].strip()
            continue
        spans = (piece for span in sentences(text, start, end) for piece in _pieces(text, *span, max_chars))
        for first, last in _joined(spans, max_chars):
            yield Passage(first, last, heading)


def sentences(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The spans of the sentences and list items in one paragraph, without the white space between them.

    A full stop ends a sentence unless it follows an initial or a common abbreviation, or a small letter follows it.
    """
    at = start
    for stop in sorted({*_stops(text, start, end), *(m.start() for m in _BULLET.finditer(text, start, end)), end}):
        first, last = _trimmed(text, at, stop)
        if first < last:
            yield first, last
        at = stop


def _stops(text: str, start: int, end: int) -> Iterator[int]:
    for found in _END.finditer(text, start, end):
        follows = text[found.end() : min(end, found.end() + 20)].lstrip()[:1]
        before = text[max(start, found.start() - 12) : found.start() + 1]
        if not follows.islower() and not _ABBREVIATION.search(before):
            yield found.end()


def _paragraphs(text: str) -> Iterator[tuple[int, int]]:
    """What stands between blank lines, outside of fenced code."""
    fences = [(found.start(), found.end()) for found in _FENCED.finditer(text)]
    at = 0
    for border in (*fences, (len(text), len(text))):
        first = at
        for blank in _BLANK.finditer(text, at, border[0]):
            yield from _visible(text, first, blank.start())
            first = blank.end()
        yield from _visible(text, first, border[0])
        at = border[1]


def _visible(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    start, end = _trimmed(text, start, end)
    if start < end:
        yield start, end


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    piece = text[start:end]
    return start + len(piece) - len(piece.lstrip()), end - len(piece) + len(piece.rstrip())


def _pieces(text: str, start: int, end: int, max_chars: int) -> Iterator[tuple[int, int]]:
    """A sentence that is too long, cut behind the last clause or word that fits, else after `max_chars`."""
    while end - start > max_chars:
        window = text[start : start + max_chars]
        cuts = (max(window.rfind(mark) for mark in marks) for marks in ((", ", "; ", ": ", "，", "；"), (" ", "\n")))
        cut = next((cut + 1 for cut in cuts if cut >= max_chars // 2), max_chars)
        yield from _visible(text, start, start + cut)
        start = _trimmed(text, start + cut, end)[0]
    yield from _visible(text, start, end)


def _joined(spans: Iterable[tuple[int, int]], max_chars: int) -> Iterator[tuple[int, int]]:
    """Neighbouring spans together, as many as fit."""
    held: tuple[int, int] | None = None
    for start, end in spans:
        if held and end - held[0] <= max_chars:
            held = held[0], end
            continue
        if held:
            yield held
        held = start, end
    if held:
        yield held
