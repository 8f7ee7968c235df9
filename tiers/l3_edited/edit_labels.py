"""Labels for an editor: the edit program that turns a raw text into its refined one.

An expert, a model or a person, rewrites; the program is what an editor learns from it. UltraX (section "supervision
construction" of its released code) and RefineX (arXiv 2507.03253) make such labels by alignment too, but don't carry
them out: of UltraX's programs for synthetic edits about four in ten don't reproduce their target. Here every program
is carried out by the executor that an editor's programs meet, and only those that give the refined text exactly, blank
lines and trailing line breaks included, are labels.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from tiers.l3_edited.alignment import align_lines, changes
from tiers.l3_edited.edit_program import (
    Guards,
    InsertLines,
    KeepAll,
    Operation,
    Program,
    Rejection,
    RemoveAll,
    RemoveLines,
    Replace,
    apply_program,
    only_occurrence,
)
from tiers.l3_edited.protected import Protected, find_protected

LABEL_GUARDS = Guards(max_deleted=1, max_inserted=100_000, allow_remove_all=True)
"""Lets a label do what it must; give those of the editor instead to teach it nothing that they would stop."""


_SURROGATE = re.compile(r"[\ud800-\udfff]")


class LabelRejected(StrEnum):
    """Why a pair has no label; `edit_program.Rejected` has the reasons for which the executor refused one."""

    LONE_SURROGATE = "label_rejected.lone_surrogate"
    NOTHING_VISIBLE = "label_rejected.nothing_visible"
    NOT_REPRODUCED = "label_rejected.not_reproduced"
    MANY_OPERATIONS = "label_rejected.many_operations"
    LONG_REPLACEMENT = "label_rejected.long_replacement"
    LONG_INSERTION = "label_rejected.long_insertion"
    MANY_INSERTIONS = "label_rejected.many_insertions"


class Confidence(BaseModel):
    """From where on a label is too much rewriting to be trusted as an edit; `None` turns a bound off.

    The defaults are those of UltraX's released code, whose samples are dropped from these values on.

    Attributes:
        operations: Operations.
        replaced: Characters that one `replace` names, before or after.
        inserted: Characters of one inserted line.
        insertions: Inserted lines.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    operations: int | None = Field(default=20, ge=1)
    replaced: int | None = Field(default=150, ge=1)
    inserted: int | None = Field(default=200, ge=1)
    insertions: int | None = Field(default=10, ge=1)

    def check(self, program: Program) -> Rejection | None:
        """The first bound that `program` reaches."""
        replacements = [operation for operation in program if isinstance(operation, Replace)]
        added = [line for operation in program if isinstance(operation, InsertLines) for line in operation.lines]
        named = [len(text) for operation in replacements for text in (operation.old, operation.new)]
        measured = (
            (LabelRejected.MANY_OPERATIONS, len(program), self.operations),
            (LabelRejected.LONG_REPLACEMENT, max(named, default=0), self.replaced),
            (LabelRejected.LONG_INSERTION, max(map(len, added), default=0), self.inserted),
            (LabelRejected.MANY_INSERTIONS, len(added), self.insertions),
        )
        for reason, value, bound in measured:
            if bound is not None and value >= bound:
                return Rejection(reason, f"{value} >= {bound}")
        return None


def label(
    raw: str, refined: str, guards: Guards = LABEL_GUARDS, confidence: Confidence | None = None
) -> Program | Rejection:
    """The program that turns `raw` into `refined`, or why there is none.

    An empty `refined` is the verdict that the document be dropped, as in ProX (arXiv 2409.17115).

    Args:
        raw: The text before.
        refined: The text after.
        guards: What the executor lets a program do.
        confidence: What is too much rewriting; `None` for no bound.

    Returns:
        Operations in the order of their lines. `apply_program(raw, program, guards) == refined`.
    """
    if found := lone_surrogate(raw) or lone_surrogate(refined):
        return Rejection(LabelRejected.LONE_SURROGATE, found)
    protected = find_protected(raw)
    if raw != refined and refined and not refined.strip():
        return Rejection(LabelRejected.NOTHING_VISIBLE, f"{len(refined)} characters, all of them space")
    program = _program(raw, refined, protected)
    if rejection := confidence and confidence.check(program):
        return rejection
    result = apply_program(raw, program, guards, protected)
    if isinstance(result, Rejection):
        return result
    if result != refined:
        return Rejection(LabelRejected.NOT_REPRODUCED, f"{len(result)} characters for {len(refined)}")
    return program


def lone_surrogate(text: str) -> str:
    """The first lone surrogate, which neither JSON in UTF-8 nor a tokenizer can hold, and where; empty if none."""
    found = _SURROGATE.search(text)
    return f"U+{ord(found[0]):04X} at {found.start()}" if found else ""


def _program(raw: str, refined: str, protected: Protected) -> Program:
    if raw == refined:
        return (KeepAll(),)
    if not refined:
        return (RemoveAll(),)
    before, after = raw.split("\n"), refined.split("\n")
    operations: list[Operation] = []
    i = j = 0
    for next_i, next_j in (*align_lines(before, after), (len(before), len(after))):
        if j < next_j:
            operations.append(InsertLines(after=i, lines=tuple(after[j:next_j])))
        if i < next_i:
            operations.append(RemoveLines(start=i + 1, end=next_i))
        if next_i < len(before):
            operations += _replacements(next_i + 1, before[next_i], after[next_j], protected)
        i, j = next_i + 1, next_j + 1
    return tuple(operations)


def _replacements(number: int, old: str, new: str, protected: Protected) -> Iterator[Replace]:
    if old == new:
        return
    for start, end, text in changes(old, new, protected.spans.get(number, ())):
        first, last = _with_context(old, start, end)
        yield Replace(line=number, old=old[first:last], new=old[first:start] + text + old[end:last])


def _with_context(line: str, start: int, end: int) -> tuple[int, int]:
    """The least widening of `line[start:end]`, by as much on both sides, that occurs once in `line`.

    A wider one never occurs more often, so it is found by doubling and halving.
    """

    def widened(size: int) -> tuple[int, int]:
        return max(0, start - size), min(len(line), end + size)

    def unique(size: int) -> bool:
        first, last = widened(size)
        return only_occurrence(line, line[first:last]) is not None

    low, high = -1, 0
    while not unique(high):
        low, high = high, max(1, 2 * high)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if unique(middle) else (middle, high)
    return widened(high)
