"""The stage `edit_by_program`: a language model writes the edit program of a document, window by window.

It is for models that were taught to (`editor_training`; an adapter for qwen2.5-coder-0.5b is packaged) or are large
enough to follow the prompt; `edit` is for untaught small ones. Whatever the model writes, the executor's guards bind
it, and a window without a program that holds stays as it is and says why. A server that can is made to keep to the JSON
schema of programs.

Where it is wanted, the model judges each document first, and worthless ones go (see `edit_verdict`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, ClassVar

import pyarrow as pa
from pydantic import BeforeValidator, Field

from tiers.l3_edited.edit_program import Guards, Program, Rejection, RemoveAll, describe, parse_program, program_schema
from tiers.l3_edited.edit_prompt import conversation
from tiers.l3_edited.edit_verdict import BEGINNING, judge
from tiers.l3_edited.edit_windows import OVERLAP, SIZE, Edited, apply_windows, windows
from tiers.l3_edited.editor import CHANGED, OPERATIONS, EditNote, with_edits, without
from tiers.llm import LLM, Finish, Request, Result, open_llm
from tiers.reference import Reference
from tiers.stage import Context, Outcome, Stage, Usage, fates

PACKAGED = Path(__file__).parent / "pretrained" / "adapter"
"""Of qwen2.5-coder-0.5b; the README beside it says what it was trained on, and what it is worth."""


def _packaged(value: Any) -> Any:
    return str(PACKAGED) if value == "packaged" else value


class ReplyRejected(StrEnum):
    """Why a window has no program; the reasons of `edit_program.Rejected` are the others."""

    TRUNCATED = "edit_rejected.truncated"
    LONG_LINE = "edit_rejected.long_line"


class EditDropped(StrEnum):
    """Why `edit_by_program` drops a document."""

    REMOVE_ALL = "edit_dropped.remove_all"


class EditByProgram(Stage):
    """Carries out the edit programs that a language model writes.

    `edit.operations` is the program that was carried out on the whole document, as JSON, and `edit.changed` whether it
    changed the text. The note `edited` lists its operations; each window whose program couldn't be read or carried out
    is noted with the reason and its number. A document of which the model didn't answer a window goes to quarantine.

    Attributes:
        llm: Who writes, as `open_llm` names it.
        adapter: What `train-editor` made for this model, a folder, or `packaged`; `None` for the model as it is.
        window: How many characters a window holds, lines with their numbers; longer lines aren't shown.
        overlap: What share of that may repeat the end of the window before, which decides about these lines.
        max_tokens: How long a reply may be; one that is cut off isn't carried out.
        max_deleted: See `Guards`.
        max_inserted: See `Guards`.
        drop_worthless: Whether a document goes when the model says `remove_all` to each of its windows.
        drop_above: The probability from which on a document is dropped that the model, asked first, takes for
            worthless; `None` for not asking.
        judged: How many characters of a document's beginning it is judged by.
    """

    name: ClassVar[str] = "edit_by_program"
    version: ClassVar[int] = 2
    uses_model: ClassVar[bool] = True
    gives: ClassVar[tuple[pa.Field, ...]] = (OPERATIONS, CHANGED)

    llm: str
    adapter: Annotated[Reference, BeforeValidator(_packaged)] | None = None
    window: int = Field(default=SIZE, ge=200)
    overlap: float = Field(default=OVERLAP, ge=0, lt=1)
    max_tokens: int = Field(default=1024, ge=16)
    max_deleted: float = Field(default=0.3, ge=0, lt=1)
    max_inserted: int = Field(default=200, ge=0)
    drop_worthless: bool = False
    drop_above: float | None = Field(default=None, gt=0, lt=1)
    judged: int = Field(default=BEGINNING, ge=200)

    def prepare(self, context: Context) -> Callable[[pa.Table], Outcome]:
        """Loads the model, with its adapter."""
        with TemporaryDirectory() as scratch:
            adapter = _copied(self.adapter, Path(scratch)) if self.adapter else None
            llm = open_llm(self.llm, context.models, context.cache, context.threads, adapter)
        return lambda table: self.edit(table, llm)

    def edit(self, table: pa.Table, llm: LLM) -> Outcome:
        """Edits every document of `table`, or drops it; what several of them share is shown once."""
        if self.drop_above is None:
            return self._edit(table, llm)
        judged = judge(table, llm, self.drop_above, self.judged)
        edited = self._edit(judged.kept, llm)
        return replace(
            edited,
            dropped=pa.concat_tables([judged.dropped, edited.dropped]),
            failed=pa.concat_tables([judged.failed, edited.failed]),
            usage=judged.usage + edited.usage,
        )

    def _edit(self, table: pa.Table, llm: LLM) -> Outcome:
        ids, texts = table["id"].to_pylist(), table["text"].to_pylist()
        found = [windows(text, self.window, self.overlap) for text in texts]
        lines = (text.split("\n") for text in texts)
        shown = [[window.of(some) for window in each] for some, each in zip(lines, found, strict=True)]
        asked = list(dict.fromkeys(one for each in shown for one in each if len(one) <= self.window))
        results = llm.complete([self.request(one) for one in asked])
        replies = dict(zip(asked, results, strict=True))
        edited: list[Edited] = []
        failed, dropped, notes = [], [], []
        for row_id, text, each, parts in zip(ids, texts, found, shown, strict=True):
            errors = [replies[one].error for one in parts if one in replies and replies[one].finish is Finish.ERROR]
            if errors:
                failed.append((row_id, EditNote.MODEL_FAILED, errors[0]))
                continue
            programs = [self.program(one, replies.get(one)) for one in parts]
            result = apply_windows(text, each, programs, self._guards())
            if result.program == (RemoveAll(),):
                dropped.append((row_id, EditDropped.REMOVE_ALL, f"{len(each)} of {len(each)} windows"))
                continue
            edited.append(result)
            notes += [(row_id, *note) for note in _notes(text, result, len(each))]
        left = without(table, [row_id for row_id, _, _ in (*failed, *dropped)])
        kept = with_edits(left, [one.text for one in edited], [one.program for one in edited])
        return Outcome(kept, fates(dropped), fates(failed), fates(notes), Usage.of(results))

    def request(self, text: str) -> Request:
        """Asks for the program of one window."""
        return Request(conversation(text), self.max_tokens, schema=program_schema())

    def program(self, text: str, reply: Result | None) -> Program | Rejection:
        """The program that the model wrote for a window."""
        if reply is None:
            return Rejection(ReplyRejected.LONG_LINE, f"{len(text)} > {self.window} characters")
        if reply.finish is not Finish.STOP:
            return Rejection(ReplyRejected.TRUNCATED, f"{reply.completion_tokens} tokens")
        return parse_program(reply.text.strip())

    def _guards(self) -> Guards:
        return Guards(
            max_deleted=self.max_deleted, max_inserted=self.max_inserted, allow_remove_all=self.drop_worthless
        )


def _copied(adapter: Reference, folder: Path) -> Path:
    """`folder`, with the files of an adapter, which may lie on any file system."""
    for name, content in adapter.read().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def _notes(text: str, edited: Edited, count: int) -> Iterable[tuple[str, str]]:
    for number, rejection in edited.rejections:
        where = f"window {number} of {count}" if number else f"all {count} windows"
        yield rejection.reason, f"{where}: {rejection.detail}"
    if edited.text != text:
        yield EditNote.EDITED, f"{describe(edited.program)}; {count} windows"
