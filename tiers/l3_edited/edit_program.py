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
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError


class _Operation(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


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


class InsertLine(_Operation):
    """Inserts `text` as a line of its own behind line `after`; 0 is the beginning of the text."""

    op: Literal["insert_line"] = "insert_line"
    after: int
    text: str

    def __str__(self) -> str:
        return f"insert_line({self.after},{self.text!r})"


Operation = Annotated[KeepAll | RemoveAll | RemoveLines | Replace | InsertLine, Field(discriminator="op")]
Program = tuple[Operation, ...]
_PROGRAM: TypeAdapter[Program] = TypeAdapter(Program)


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
    """A program that wasn't carried out: the reason, and the measured value beside the limit."""

    reason: Rejected
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
        program = _PROGRAM.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        return Rejection(Rejected.MALFORMED, f"{where}: {first['msg']}" if where else first["msg"])
    if not program:
        return Rejection(Rejected.MALFORMED, "no operation")
    return program


def dump_program(program: Sequence[Operation]) -> str:
    """The program as canonical JSON; `parse_program` reads it back."""
    return json.dumps([operation.model_dump() for operation in program], ensure_ascii=False, separators=(",", ":"))


def describe(program: Iterable[Operation]) -> str:
    """The program on one line, for people: `remove_lines(1,3); replace(5,'teh','the')`."""
    return "; ".join(str(operation) for operation in program)


def numbered(text: str, first: int = 1, last: int | None = None) -> str:
    """The lines `first` to `last` of `text`, each behind its number, as a prompt shows them."""
    lines = text.split("\n")[first - 1 : last]
    return "\n".join(f"{number}: {line}" for number, line in enumerate(lines, first))


_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_INDENTED = re.compile(r"(?: {4,}|\t)\s*(?![-*+•‣◦–]\s|\d{1,3}[.)]\s)\S")
_TABLE_ROW = re.compile(r"\s*\|.*\|\s*$")


def protected_lines(text: str) -> frozenset[int]:
    """The numbers of lines that no program may touch: code and tables.

    Code is what stands in a fence (CommonMark 4.5; one that is never closed runs to the end) or is indented by four
    spaces or a tab (4.4) without being an item of a nested list; blank lines within an indented block belong to it.
    A table is a run of rows between pipes.
    """
    lines = text.split("\n")
    protected: set[int] = set()
    fence, indented = "", 0
    for number, line in enumerate(lines, 1):
        mark = _FENCE.match(line)
        if fence:
            protected.add(number)
            if mark and mark[1].startswith(fence) and not line[mark.end() :].strip():
                fence = ""
        elif mark:
            protected.add(number)
            fence, indented = mark[1], 0
        elif _INDENTED.match(line):
            protected.update(range(indented or number, number + 1))
            indented = number
        elif _TABLE_ROW.match(line):
            protected.add(number)
        if not fence and line.strip() and indented != number:
            indented = 0
    return frozenset(protected)


def apply_program(text: str, program: Sequence[Operation], guards: Guards) -> str | Rejection:
    """Carries `program` out on `text`, wholly or not at all.

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
    edits = _Edits(text.split("\n"), protected_lines(text))
    for operation in ordered:
        if rejection := edits.add(operation):
            return rejection
    return edits.check(guards) or edits.result()


class _Edits:
    """The operations on one text, gathered line by line and checked against each other."""

    def __init__(self, lines: list[str], protected: frozenset[int]) -> None:
        self.lines = lines
        self.protected = protected
        self.removed: set[int] = set()
        self.replaced: dict[int, list[tuple[int, int, str]]] = {}
        self.inserted: dict[int, str] = {}

    def add(self, operation: Operation) -> Rejection | None:
        if isinstance(operation, RemoveLines):
            return self._remove(operation)
        if isinstance(operation, Replace):
            return self._replace(operation)
        assert isinstance(operation, InsertLine)
        return self._insert(operation)

    def _remove(self, operation: RemoveLines) -> Rejection | None:
        if not 1 <= operation.start <= operation.end <= len(self.lines):
            return self._out_of_bounds(operation)
        span = set(range(operation.start, operation.end + 1))
        if held := span & self.protected:
            return Rejection(Rejected.PROTECTED, f"{operation}: line {min(held)} is code or a table")
        if twice := span & (self.removed | self.replaced.keys()):
            return Rejection(Rejected.CONFLICTING, f"{operation}: line {min(twice)} is edited twice")
        self.removed |= span
        return None

    def _replace(self, operation: Replace) -> Rejection | None:
        if not 1 <= operation.line <= len(self.lines):
            return self._out_of_bounds(operation)
        if operation.line in self.protected:
            return Rejection(Rejected.PROTECTED, f"{operation}: line {operation.line} is code or a table")
        starts = _occurrences(self.lines[operation.line - 1], operation.old)
        if len(starts) != 1:
            return Rejection(Rejected.NOT_UNIQUE, f"{operation}: found {len(starts)} times, expected 1")
        start, end = starts[0], starts[0] + len(operation.old)
        spans = self.replaced.setdefault(operation.line, [])
        if operation.line in self.removed or any(start < e and s < end for s, e, _ in spans):
            return Rejection(Rejected.CONFLICTING, f"{operation}: line {operation.line} is edited twice")
        spans.append((start, end, operation.new))
        return None

    def _insert(self, operation: InsertLine) -> Rejection | None:
        if not 0 <= operation.after <= len(self.lines):
            return self._out_of_bounds(operation)
        if {operation.after, operation.after + 1} <= self.protected:
            return Rejection(Rejected.PROTECTED, f"{operation}: within code or a table")
        if operation.after in self.inserted:
            return Rejection(Rejected.CONFLICTING, f"{operation}: two insertions at the same place")
        self.inserted[operation.after] = operation.text
        return None

    def _out_of_bounds(self, operation: Operation) -> Rejection:
        return Rejection(Rejected.OUT_OF_BOUNDS, f"{operation}: the text has {len(self.lines)} lines")

    def check(self, guards: Guards) -> Rejection | None:
        """The guards on the program as a whole."""
        spans = [span for line in self.replaced.values() for span in line]
        deleted = sum(len(self.lines[number - 1]) for number in self.removed)
        deleted += sum(end - start for start, end, _ in spans)
        share = deleted / max(1, sum(map(len, self.lines)))
        if share > guards.max_deleted:
            return Rejection(Rejected.DELETES_TOO_MUCH, f"{share:.3f} > {guards.max_deleted:g} of the characters")
        inserted = sum(map(len, self.inserted.values())) + sum(len(new) for _, _, new in spans)
        if inserted > guards.max_inserted:
            return Rejection(Rejected.INSERTS_TOO_MUCH, f"{inserted} > {guards.max_inserted} characters")
        for line in (*self.inserted.values(), *map(self._line, self.replaced)):
            if "\n" in line or _FENCE.match(line):
                return Rejection(Rejected.INSERTS_STRUCTURE, f"{line!r}: new text must be one plain line")
        return None

    def _line(self, number: int) -> str:
        line = self.lines[number - 1]
        for start, end, new in sorted(self.replaced.get(number, ()), reverse=True):
            line = line[:start] + new + line[end:]
        return line

    def result(self) -> str:
        out = [self.inserted[0]] if 0 in self.inserted else []
        for number in range(1, len(self.lines) + 1):
            if number not in self.removed:
                out.append(self._line(number))
            if number in self.inserted:
                out.append(self.inserted[number])
        return "\n".join(out)


def _occurrences(line: str, old: str) -> list[int]:
    """Where `old` begins in `line`, overlapping occurrences included; an empty `old` is nowhere."""
    return [match.start() for match in re.finditer(f"(?={re.escape(old)})", line)] if old else []
