"""The stage `edit`: a language model decides, block by block, what of a page is no content, and that is removed.

Small models can't write edit programs that hold, nor answer when asked about a whole page; what they can do is label
short pieces after two dozen labelled examples. So the model is only asked for one label a block, read from the
probabilities of two tokens, and the edit program follows from the labels. The executor's guards bind it as they
would bind any other program (`edit_program`).

What navigation, banners and footers there are stands at the ends of a page: in an audit of published edit programs
deletion follows position. So only the outermost blocks are judged; the middle of a document is never touched.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import groupby
from typing import ClassVar

import pyarrow as pa
from pydantic import Field

from tiers.document import DOCUMENT, add_column
from tiers.l3_edited.edit_program import (
    Guards,
    KeepAll,
    Program,
    Rejection,
    RemoveLines,
    apply_program,
    describe,
    dump_program,
    protected_lines,
)
from tiers.llm import LLM, Finish, Message, Request, Result, open_llm
from tiers.stage import Context, Outcome, Stage, Usage, fates

OPERATIONS = pa.field("edit.operations", pa.string(), nullable=False)
CHANGED = pa.field("edit.changed", pa.bool_(), nullable=False)


class EditNote(StrEnum):
    """What `edit` notes about a document; the reasons of `edit_program.Rejected` are the others."""

    EDITED = "edited"
    MODEL_FAILED = "model_failed"


@dataclass(frozen=True)
class Block:
    """Lines between blank lines: the numbers of the first and the last, and what they say, between slashes."""

    first: int
    last: int
    text: str


class Edit(Stage):
    """Removes navigation, banners and footers that a language model recognises at the ends of a document.

    `edit.operations` is the program that was carried out, as JSON (`edit_program.parse_program` reads it), and
    `edit.changed` whether it changed the text. The note `edited` lists its operations and says how many of the
    document's blocks were judged; a program that a guard stopped is noted with the guard's reason, and its
    document stays as it was. A document whose judge failed goes to quarantine.

    Attributes:
        llm: Who judges, as `open_llm` names it.
        window: How many blocks at either end are judged, protected and long ones counted.
        max_block: Longer blocks, in characters, are content.
        shown: So many characters of a block, from its beginning, are shown to the judge.
        threshold: The probability of being no content from which on a block is removed.
        max_deleted: See `Guards`.
    """

    name: ClassVar[str] = "edit"
    uses_model: ClassVar[bool] = True
    gives: ClassVar[tuple[pa.Field, ...]] = (OPERATIONS, CHANGED)

    llm: str = "qwen2.5-coder-0.5b"
    window: int = Field(default=3, ge=1)
    max_block: int = Field(default=800, ge=1)
    shown: int = Field(default=240, ge=1)
    threshold: float = Field(default=0.5, ge=0, le=1)
    max_deleted: float = Field(default=0.3, ge=0, lt=1)

    def prepare(self, context: Context) -> Callable[[pa.Table], Outcome]:
        """Loads the model."""
        llm = open_llm(self.llm, context.models, context.cache, context.threads)
        return lambda table: self.edit(table, llm)

    def edit(self, table: pa.Table, llm: LLM) -> Outcome:
        """Edits every document of `table`; a block that several of them share is judged once."""
        texts = table["text"].to_pylist()
        windows = [list(self.judged(text)) for text in texts]
        asked = list(dict.fromkeys(block.text for window in windows for block in window))
        results = dict(zip(asked, llm.complete([request(text) for text in asked]), strict=True))
        edited: list[_Edited] = []
        notes, failed = [], []
        for row_id, text, window in zip(table["id"].to_pylist(), texts, windows, strict=True):
            errors = [results[b.text].error for b in window if results[b.text].finish is Finish.ERROR]
            if errors:
                failed.append((row_id, EditNote.MODEL_FAILED, errors[0]))
                continue
            junk = [block for block in window if removal(results[block.text]) >= self.threshold]
            edited.append(self._carry_out(text, removal_program(text, junk), len(window)))
            if note := edited[-1].note:
                notes.append((row_id, *note))
        kept = _with_edits(_without(table, [row_id for row_id, _, _ in failed]), edited)
        return Outcome(kept=kept, failed=fates(failed), noted=fates(notes), usage=Usage.of(results.values()))

    def judged(self, text: str) -> Iterator[Block]:
        """The blocks of `text` that the model is asked about, in order."""
        found, protected = list(blocks(text)), protected_lines(text)
        for number, block in enumerate(found):
            outermost = number < self.window or number >= len(found) - self.window
            if outermost and len(block.text) <= self.max_block and protected.isdisjoint(_lines(block)):
                yield replace(block, text=block.text[: self.shown])

    def _carry_out(self, text: str, program: Program, judged: int) -> _Edited:
        result = apply_program(text, program, Guards(max_deleted=self.max_deleted, max_inserted=0))
        if isinstance(result, Rejection):
            detail = f"{result.detail} ({describe(program)})"
            return _Edited(text, (KeepAll(),), (result.reason, detail))
        if result == text:
            return _Edited(text, (KeepAll(),))
        detail = f"{describe(program)}; judged {judged} of {sum(1 for _ in blocks(text))} blocks"
        return _Edited(result, program, (EditNote.EDITED, detail))


@dataclass(frozen=True)
class _Edited:
    """A text after editing, the program that was carried out, and what to note."""

    text: str
    program: Program
    note: tuple[str, str] | None = None


def blocks(text: str) -> Iterator[Block]:
    """The runs of lines of `text` that aren't blank, in order."""
    numbered = enumerate(text.split("\n"), 1)
    for visible, run in groupby(numbered, key=lambda pair: bool(pair[1].strip())):
        if visible:
            lines = list(run)
            yield Block(lines[0][0], lines[-1][0], " / ".join(" ".join(line.split()) for _, line in lines))


def removal_program(text: str, junk: Iterable[Block]) -> Program:
    """The program that removes the blocks in `junk`, and with each the blank lines up to the next block.

    Behind the last block of a text, the blank lines before it go instead, so that none is left at the end.
    """
    lines = text.split("\n")
    gone: set[int] = set()
    for block in junk:
        gone.update(_lines(block))
        after = _blank(lines, range(block.last + 1, len(lines) + 1))
        if block.last + len(after) == len(lines):
            after += _blank(lines, range(block.first - 1, 0, -1))
        gone.update(after)
    runs = [list(run) for _, run in groupby(enumerate(sorted(gone)), key=lambda pair: pair[1] - pair[0])]
    return tuple(RemoveLines(start=run[0][1], end=run[-1][1]) for run in runs) or (KeepAll(),)


def _blank(lines: Sequence[str], numbers: Iterable[int]) -> list[int]:
    """The numbers, from the first on, whose lines are blank."""
    found = []
    for number in numbers:
        if lines[number - 1].strip():
            break
        found.append(number)
    return found


def _lines(block: Block) -> range:
    return range(block.first, block.last + 1)


def _without(table: pa.Table, ids: Sequence[str]) -> pa.Table:
    gone = set(ids)
    return table.filter(pa.array([row_id not in gone for row_id in table["id"].to_pylist()], pa.bool_()))


def _with_edits(table: pa.Table, edited: Sequence[_Edited]) -> pa.Table:
    table = add_column(table, DOCUMENT.field("text"), [one.text for one in edited])
    table = add_column(table, OPERATIONS, [dump_program(one.program) for one in edited])
    return add_column(table, CHANGED, [not isinstance(one.program[0], KeepAll) for one in edited])


JUNK, CONTENT = "1", "0"

_TASK = (
    "Label pieces of web pages: 1 for menus, adverts, cookie notices, sharing buttons, forms and footers; "
    "0 for content."
)

_EXAMPLES = (
    ("Home / About us / Products / Contact / Log in", JUNK),
    ("The function returns a list of all paths that match the pattern, in sorted order.", CONTENT),
    ("Accept cookies / We and our partners store information on your device. / Manage settings", JUNK),
    ("Installation", CONTENT),
    ("© 2021 Acme Inc. All rights reserved. Terms | Privacy", JUNK),
    ("After three days of talks the ministers agreed to lower the tariff on steel, officials said.", CONTENT),
    ("Tweet / Pin it / Email this to a friend", JUNK),
    ("class Queue(object) / Methods defined here: / put(self, item)", CONTENT),
    ("• shelf module / • shell module / • signal module / • site module / • socket module / • ssl module", JUNK),
    ("• Fast: parses a gigabyte a second / • Small: has no dependencies", CONTENT),
    ("Jump to navigation | Search", JUNK),
    ("parse(text, strict=True) / Parse text and return a tree.", CONTENT),
    ("Sign up for our weekly newsletter and never miss a story.", JUNK),
    ("Reading and writing of archive files.", CONTENT),
    ("« Older posts / Newer posts »", JUNK),
    ('Data / VERSION = "1.2" / __all__ = ["Queue"]', CONTENT),
    ("Was this article useful? Yes / No", JUNK),
    ("See also", CONTENT),
    ("Read next", JUNK),
    ("queue.PriorityQueue", CONTENT),
    ("• Five gardens to see this summer / • Our ten best soups / • Why cats purr", JUNK),
    (">>> rank([3, 1, 2]) / [2, 0, 1]", CONTENT),
    ("Page last modified on 4 June 2018 by admin", JUNK),
    ("I could not believe how good this soup was.", CONTENT),
    ("Copyright Acme Manual. All rights reserved. Imprint", JUNK),
    ("Raised when a task is cancelled before it has begun.", CONTENT),
    ("Your comment / Name / Email / Post comment", JUNK),
    ("By Maria Lopez, 12 May 2019", CONTENT),
)


def request(block: str) -> Request:
    """Asks for the label of one block; everything but the last turn is the same for all blocks, and read once.

    The block is the whole of its turn, which no text can end, and the reply is one of two tokens. So delimiters within
    the turn would protect nothing more, and they cost a small model much of its judgement.
    """
    turns = [Message("system", _TASK)]
    for text, label in _EXAMPLES:
        turns += [Message("user", text), Message("assistant", label)]
    return Request((*turns, Message("user", block)), choices=(JUNK, CONTENT))


def removal(result: Result) -> float:
    """The probability that a block is no content, of the two labels alone."""
    junk, content = result.logprobs
    return 1 / (1 + math.exp(content - junk))
