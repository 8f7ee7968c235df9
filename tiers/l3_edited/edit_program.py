"""Edit programs: what is to be done to a text, as data, and the one executor that does it.

A model never rewrites a document here; it names operations on numbered lines, and the executor carries them out or,
where a guard trips, leaves the text exactly as it was and says why. Programmes instead of rewriting follow ProX
(arXiv 2409.17115) and UltraX; the guards answer what their released code lets through: ranges that empty a document,
lines counted one way in the prompt and another in the executor, a `replace` that hits several places, insertions
lost beside another edit of the line, and blank lines that vanish.

One rule of numbering: lines are what "\\n" separates, numbered from 1. Form feeds, "\\r" and U+2028 separate nothing.
Every operation speaks of the lines of the original text, so their order doesn't matter.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain, takewhile
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from tiers.l3_edited.protected import Protected, find_protected, opens_fence


class _Operation(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, json_schema_serialization_defaults_required=True
    )


class KeepAll(_Operation):
    """The text is good as it is."""

    op: Literal["keep_all"] = "keep_all"

    def __str__(self) -> str:
        return "keep_all()"


class RemoveAll(_Operation):
    """Nothing in the text is worth keeping: a verdict on the document, not an edit."""

    op: Literal["remove_all"] = "remove_all"

    def __str__(self) -> str:
        return "remove_all()"


class RemoveLines(_Operation):
    """Removes the lines from `start` to `end`, both included."""

    op: Literal["remove_lines"] = "remove_lines"
    start: int
    end: int

    def __str__(self) -> str:
        return f"remove_lines({self.start},{self.end})"


class Replace(_Operation):
    """Replaces `old`, which occurs exactly once in the line, by `new`."""

    op: Literal["replace"] = "replace"
    line: int
    old: str
    new: str

    def __str__(self) -> str:
        return f"replace({self.line},{self.old!r},{self.new!r})"


class InsertLines(_Operation):
    """Inserts `lines`, in their order, behind line `after`; 0 is the beginning of the text."""

    op: Literal["insert_lines"] = "insert_lines"
    after: int
    lines: tuple[str, ...] = Field(min_length=1)

    def __str__(self) -> str:
        return f"insert_lines({self.after},{','.join(map(repr, self.lines))})"


Operation = Annotated[KeepAll | RemoveAll | RemoveLines | Replace | InsertLines, Field(discriminator="op")]
Program = tuple[Operation, ...]
_PROGRAM: TypeAdapter[Program] = TypeAdapter(Annotated[Program, Field(min_length=1)])


class Rejected(StrEnum):
    """Why a program wasn't carried out."""

    MALFORMED = "edit_rejected.malformed"
    CONFLICTING = "edit_rejected.conflicting"
    REMOVE_ALL = "edit_rejected.remove_all"
    OUT_OF_BOUNDS = "edit_rejected.out_of_bounds"
    NOT_UNIQUE = "edit_rejected.not_unique"
    PROTECTED = "edit_rejected.protected"
    DELETES_TOO_MUCH = "edit_rejected.deletes_too_much"
    INSERTS_TOO_MUCH = "edit_rejected.inserts_too_much"
    INSERTS_STRUCTURE = "edit_rejected.inserts_structure"


@dataclass(frozen=True)
class Rejection:
    """A program that wasn't carried out: the reason, one of `Rejected`, and the measured value beside the limit."""

    reason: StrEnum
    detail: str


class Guards(BaseModel):
    """What a program may do to a text.

    Attributes:
        max_deleted: The largest share of the text's characters (line breaks not counted) that may be removed or
            replaced.
        max_inserted: The most characters that insertions and replacements may bring in, together.
        allow_remove_all: Whether `remove_all` is a permitted verdict.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_deleted: float = Field(default=0.3, ge=0, le=1)
    max_inserted: int = Field(default=200, ge=0)
    allow_remove_all: bool = False


def parse_program(text: str) -> Program | Rejection:
    """Reads a program from JSON: a list of at least one operation, and nothing else.

    An unknown operation, an unknown or missing argument, an argument of another type, and anything behind the list
    reject the program as a whole: half of a misunderstood program is worse than none.
    """
    try:
        return _PROGRAM.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        return Rejection(Rejected.MALFORMED, f"{where}: {first['msg']}" if where else first["msg"])


def program_schema() -> dict[str, Any]:
    """The JSON schema of a program, one verdict or a list of edits, for servers that enforce one while they decode."""
    verdict = Annotated[list[KeepAll | RemoveAll], Field(min_length=1, max_length=1)]
    edits = Annotated[list[RemoveLines | Replace | InsertLines], Field(min_length=1)]
    return TypeAdapter(verdict | edits).json_schema(mode="serialization")


def dump_program(program: Sequence[Operation]) -> str:
    """The program as canonical JSON; `parse_program` reads it back."""
    return json.dumps([operation.model_dump() for operation in program], ensure_ascii=False, separators=(",", ":"))


def describe(program: Iterable[Operation]) -> str:
    """The program on one line, for people: `remove_lines(1,3); replace(5,'teh','the')`."""
    return "; ".join(str(operation) for operation in program)


def numbered(text: str) -> str:
    """The lines of `text`, each behind its number, as a prompt shows them."""
    return "\n".join(f"{number}: {line}" for number, line in enumerate(text.split("\n"), 1))


def apply_program(
    text: str, program: Sequence[Operation], guards: Guards, protected: Protected | None = None
) -> str | Rejection:
    """Carries `program` out on `text`, wholly or not at all.

    Args:
        text: What to edit.
        program: What to do; of a replacement, what `old` and `new` begin and end with in common stays as it is.
        guards: What it may do.
        protected: What `find_protected` found in this text, where that is known already.

    Returns:
        The edited text ("" for a permitted `remove_all`), or the first guard that tripped. Both are the same for any
        order of the operations.
    """
    ordered = sorted(program, key=lambda operation: operation.model_dump_json())
    if any(isinstance(operation, KeepAll | RemoveAll) for operation in ordered):
        if len(ordered) > 1:
            return Rejection(Rejected.CONFLICTING, f"{describe(ordered)}: a verdict stands alone")
        if isinstance(ordered[0], KeepAll):
            return text
        return "" if guards.allow_remove_all else Rejection(Rejected.REMOVE_ALL, "remove_all isn't permitted")
    edits = _Edits(text.split("\n"), protected or find_protected(text))
    for operation in ordered:
        if rejection := edits.add(operation):
            return rejection
    return edits.check(guards) or edits.result()


class _Edits:
    """The operations on one text, gathered line by line and checked against each other."""

    def __init__(self, lines: list[str], protected: Protected) -> None:
        self.lines = lines
        self.protected = protected
        self.removed: set[int] = set()
        self.replaced: dict[int, list[tuple[int, int, str]]] = {}
        self.inserted: dict[int, tuple[str, ...]] = {}

    def add(self, operation: Operation) -> Rejection | None:
        if isinstance(operation, RemoveLines):
            return self._remove(operation)
        if isinstance(operation, Replace):
            return self._replace(operation)
        assert isinstance(operation, InsertLines)
        return self._insert(operation)

    def _remove(self, operation: RemoveLines) -> Rejection | None:
        if not 1 <= operation.start <= operation.end <= len(self.lines):
            return self._out_of_bounds(operation)
        span = set(range(operation.start, operation.end + 1))
        if held := span & self.protected.lines:
            return self._protected(operation, min(held))
        if twice := span & (self.removed | self.replaced.keys()):
            return Rejection(Rejected.CONFLICTING, f"{operation}: line {min(twice)} is edited twice")
        self.removed |= span
        return None

    def _replace(self, operation: Replace) -> Rejection | None:
        if not 1 <= operation.line <= len(self.lines):
            return self._out_of_bounds(operation)
        if operation.line in self.protected.lines:
            return self._protected(operation, operation.line)
        line = self.lines[operation.line - 1]
        if (at := only_occurrence(line, operation.old)) is None:
            found = "more than once" if operation.old and operation.old in line else "nowhere"
            return Rejection(Rejected.NOT_UNIQUE, f"{operation}: found {found}, expected once")
        start, end, new = changed_span(operation.old, operation.new, at)
        if any(start < e and s < end for s, e in self.protected.spans.get(operation.line, ())):
            return Rejection(Rejected.PROTECTED, f"{operation}: within a formula")
        spans = self.replaced.setdefault(operation.line, [])
        if operation.line in self.removed or any((start < e and s < end) or s == start for s, e, _ in spans):
            return Rejection(Rejected.CONFLICTING, f"{operation}: line {operation.line} is edited twice")
        spans.append((start, end, new))
        return None

    def _insert(self, operation: InsertLines) -> Rejection | None:
        if not 0 <= operation.after <= len(self.lines):
            return self._out_of_bounds(operation)
        if {operation.after, operation.after + 1} <= self.protected.lines:
            return self._protected(operation, operation.after)
        if operation.after in self.inserted:
            return Rejection(Rejected.CONFLICTING, f"{operation}: two insertions at the same place")
        self.inserted[operation.after] = operation.lines
        return None

    def _out_of_bounds(self, operation: Operation) -> Rejection:
        return Rejection(Rejected.OUT_OF_BOUNDS, f"{operation}: the text has {len(self.lines)} lines")

    def _protected(self, operation: Operation, line: int) -> Rejection:
        return Rejection(Rejected.PROTECTED, f"{operation}: line {line} is code, a table or a formula")

    def check(self, guards: Guards) -> Rejection | None:
        """The guards on the program as a whole."""
        spans = [span for line in self.replaced.values() for span in line]
        deleted = sum(len(self.lines[number - 1]) for number in self.removed)
        deleted += sum(end - start for start, end, _ in spans)
        share = deleted / max(1, sum(map(len, self.lines)))
        if share > guards.max_deleted:
            return Rejection(Rejected.DELETES_TOO_MUCH, f"{share:.3f} > {guards.max_deleted:g} of the characters")
        added = list(chain.from_iterable(self.inserted.values()))
        inserted = sum(map(len, added)) + sum(len(new) for _, _, new in spans)
        if inserted > guards.max_inserted:
            return Rejection(Rejected.INSERTS_TOO_MUCH, f"{inserted} > {guards.max_inserted} characters")
        for line in (*added, *map(self._line, self.replaced)):
            if "\n" in line or opens_fence(line):
                return Rejection(Rejected.INSERTS_STRUCTURE, f"{line!r}: new text must be one plain line")
        return None

    def _line(self, number: int) -> str:
        line = self.lines[number - 1]
        for start, end, new in sorted(self.replaced.get(number, ()), reverse=True):
            line = line[:start] + new + line[end:]
        return line

    def result(self) -> str:
        out = list(self.inserted.get(0, ()))
        for number in range(1, len(self.lines) + 1):
            if number not in self.removed:
                out.append(self._line(number))
            out.extend(self.inserted.get(number, ()))
        return "\n".join(out)


def only_occurrence(line: str, old: str) -> int | None:
    """Where `old` begins in `line`, if it occurs exactly once; an empty `old` occurs nowhere."""
    at = line.find(old) if old else -1
    return at if at >= 0 and line.find(old, at + 1) < 0 else None


def changed_span(old: str, new: str, start: int = 0) -> tuple[int, int, str]:
    """What differs between `old`, which begins at `start`, and `new`: from where, to where, and what comes there."""
    prefix = _common(old, new)
    suffix = min(_common(old[::-1], new[::-1]), min(len(old), len(new)) - prefix)
    return start + prefix, start + len(old) - suffix, new[prefix : len(new) - suffix]


def _common(a: str, b: str) -> int:
    """How many characters `a` and `b` begin with in common."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))
