"""The stage `edit`: a language model tells the content of a page from the rest, block by block, and the rest goes.

Small models can neither write edit programs that hold nor label a text when asked to. What they can do is say how
likely a text is. So each block is weighed twice, as the next one in a list of menus, banners and footers and as the
next one in a list of content: a channel classifier with examples in the context (Min et al., arXiv 2108.04106). The
edit program follows from the weights, and the executor's guards bind it as they would any other (`edit_program`).

What navigation, banners and footers there are stands at the ends of a page. So only the outermost blocks are weighed;
the middle of a document is never touched, however long it is.
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
)
from tiers.l3_edited.protected import protected_lines
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
    document's blocks were weighed; a program that a guard stopped is noted with the guard's reason, and its
    document stays as it was. A document whose blocks couldn't be weighed goes to quarantine.

    Attributes:
        llm: Who weighs, as `open_llm` names it: a model in this process, since chat servers don't weigh given text.
        window: How many blocks at either end are weighed, protected and long ones counted.
        max_block: Longer blocks, in characters, are content.
        shown: So many characters of a block, from its beginning, are weighed.
        threshold: The weight (see `weight`) from which on a block is removed. 0 is where both lists are as likely.
        max_deleted: See `Guards`.
    """

    name: ClassVar[str] = "edit"
    version: ClassVar[int] = 3
    uses_model: ClassVar[bool] = True
    gives: ClassVar[tuple[pa.Field, ...]] = (OPERATIONS, CHANGED)

    llm: str = "smollm2-135m"
    window: int = Field(default=3, ge=1)
    max_block: int = Field(default=800, ge=1)
    shown: int = Field(default=240, ge=1)
    threshold: float = 0.5
    max_deleted: float = Field(default=0.3, ge=0, lt=1)

    def prepare(self, context: Context) -> Callable[[pa.Table], Outcome]:
        """Loads the model."""
        llm = open_llm(self.llm, context.models, context.cache, context.threads)
        return lambda table: self.edit(table, llm)

    def edit(self, table: pa.Table, llm: LLM) -> Outcome:
        """Edits every document of `table`; a block that several of them share is weighed once."""
        texts = table["text"].to_pylist()
        windows = [list(self.judged(text)) for text in texts]
        asked = list(dict.fromkeys(block.text for window in windows for block in window))
        results = llm.complete([request(text, kind) for kind in Kind for text in asked])
        pairs = dict(zip(asked, zip(results[: len(asked)], results[len(asked) :], strict=True), strict=True))
        edited: list[_Edited] = []
        notes, failed = [], []
        for row_id, text, window in zip(table["id"].to_pylist(), texts, windows, strict=True):
            answers = [pairs[block.text] for block in window]
            if error := next((one.error for pair in answers for one in pair if one.finish is Finish.ERROR), ""):
                failed.append((row_id, EditNote.MODEL_FAILED, error))
                continue
            junk = [block for block, pair in zip(window, answers, strict=True) if weight(*pair) >= self.threshold]
            edited.append(self._carry_out(text, removal_program(text, junk), len(window)))
            if note := edited[-1].note:
                notes.append((row_id, *note))
        left = without(table, [row_id for row_id, _, _ in failed])
        kept = with_edits(left, [one.text for one in edited], [one.program for one in edited])
        return Outcome(kept=kept, failed=fates(failed), noted=fates(notes), usage=Usage.of(results))

    def judged(self, text: str) -> Iterator[Block]:
        """The blocks of `text` that are weighed, in order, cut to what is shown of them."""
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
        detail = f"{describe(program)}; weighed {judged} of {sum(1 for _ in blocks(text))} blocks"
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


def without(table: pa.Table, ids: Iterable[str]) -> pa.Table:
    """`table` without the rows of `ids`."""
    gone = set(ids)
    return table.filter(pa.array([row_id not in gone for row_id in table["id"].to_pylist()], pa.bool_()))


def with_edits(table: pa.Table, texts: Sequence[str], programs: Sequence[Program]) -> pa.Table:
    """`table` with the edited texts, the programs that were carried out, and whether they changed anything."""
    changed = [old != new for old, new in zip(table["text"].to_pylist(), texts, strict=True)]
    table = add_column(table, DOCUMENT.field("text"), list(texts))
    table = add_column(table, OPERATIONS, [dump_program(program) for program in programs])
    return add_column(table, CHANGED, changed)


class Kind(StrEnum):
    """What a block may be."""

    JUNK = "junk"
    CONTENT = "content"


_TASKS = {
    Kind.JUNK: "You write the menus, lists of links, adverts, cookie notices, sharing buttons, forms and footers of "
    "web pages.",
    Kind.CONTENT: "You write the content of web pages: articles, documentation and their headings.",
}

_EXAMPLES = {
    Kind.JUNK: (
        "Home / About us / Products / Contact / Log in",
        "Accept cookies / We and our partners store information on your device. / Manage settings",
        "© 2021 Acme Inc. All rights reserved. Terms | Privacy",
        "Tweet / Pin it / Email this to a friend",
        "• shelf module / • shell module / • signal module / • site module / • socket module / • ssl module",
        "Jump to navigation | Search",
        "Sign up for our weekly newsletter and never miss a story.",
        "« Older posts / Newer posts »",
        "Was this article useful? Yes / No",
        "Read next",
        "• Five gardens to see this summer / • Our ten best soups / • Why cats purr",
        "Page last modified on 4 June 2018 by admin",
        "Copyright Acme Manual. All rights reserved. Imprint",
        "Your comment / Name / Email / Post comment",
    ),
    Kind.CONTENT: (
        "The function returns a list of all paths that match the pattern, in sorted order.",
        "Installation",
        "After three days of talks the ministers agreed to lower the tariff on steel, officials said.",
        "class Queue(object) / Methods defined here: / put(self, item)",
        "• Fast: parses a gigabyte a second / • Small: has no dependencies",
        "parse(text, strict=True) / Parse text and return a tree.",
        "Reading and writing of archive files.",
        'Data / VERSION = "1.2" / __all__ = ["Queue"]',
        "See also",
        "queue.PriorityQueue",
        ">>> rank([3, 1, 2]) / [2, 0, 1]",
        "I could not believe how good this soup was.",
        "Raised when a task is cancelled before it has begun.",
        "By Maria Lopez, 12 May 2019",
    ),
}

_NEXT = "The next piece:"


def request(block: str, kind: Kind) -> Request:
    """Asks how likely `block` is behind the examples of one kind; all before it is read once for all blocks.

    The block is the whole of its turn, which no text can end, and nothing is generated: a text can make itself
    likelier as one kind or the other, and no more.
    """
    turns = [Message("system", _TASKS[kind])]
    for example in _EXAMPLES[kind]:
        turns += [Message("user", _NEXT), Message("assistant", example)]
    return Request((*turns, Message("user", _NEXT)), reply=block)


def weight(junk: Result, content: Result) -> float:
    """How much likelier a block is as no content than as content, from the results of the two requests.

    The sum of the tokens' log ratios, over the root of their number: the sum of that many differences of one size is
    by chance about that large, so one threshold serves short and long blocks.
    """
    ratios = (one - other for one, other in zip(junk.logprobs, content.logprobs, strict=True))
    return sum(ratios) / math.sqrt(max(1, len(junk.logprobs)))
