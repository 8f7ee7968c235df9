"""Long documents in windows: each is a text of its own, numbered from 1, and their programs become one.

Windows overlap, so that a model sees what stands before the lines that it decides about; the earlier window owns the
overlap, as in UltraX, whose released code loses insertions at seams and at the beginning of a document. Here what a
window inserts at the seam before its own lines stays, unless the window before inserts there itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

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
)
from tiers.l3_edited.protected import Protected, find_protected

SIZE = 12_000
"""Characters of a window. UltraX takes 48,000, which in Chinese are more tokens than its model reads."""

OVERLAP = 0.2
"""The share of a window that may repeat the one before, as in UltraX."""

_NOTHING: Program = (KeepAll(),)
_EVERYTHING: Program = (RemoveAll(),)


@dataclass(frozen=True)
class Window:
    """Lines of a text that are shown together.

    Attributes:
        first: The number of the first line.
        owned: The first line that the window decides about; the window before decides about those before it.
        last: The number of the last line.
    """

    first: int
    owned: int
    last: int

    def of(self, lines: Sequence[str]) -> str:
        """What it shows of the `lines` of a text."""
        return "\n".join(lines[self.first - 1 : self.last])


def windows(
    text: str, size: int = SIZE, overlap: float = OVERLAP, length: Callable[[str], int] = len
) -> tuple[Window, ...]:
    """Cuts a text into windows, each as large as can be.

    Args:
        text: Cut between lines only; a longer line is a window of its own.
        size: How much a window may hold, lines with their numbers.
        overlap: How much of that, as a share, may repeat the end of the window before.
        length: How long a string is: its characters, or a tokenizer's count.
    """
    lengths = [length(f"{number}: {line}\n") for number, line in enumerate(text.split("\n"), 1)]
    found: list[Window] = []
    owned = 1
    while owned <= len(lengths):
        first = last = owned
        held = lengths[owned - 1]
        repeated = 0
        while first > 1 and repeated + lengths[first - 2] <= min(overlap * size, size - held):
            first -= 1
            repeated += lengths[first - 1]
        held += repeated
        while last < len(lengths) and held + lengths[last] <= size:
            held += lengths[last]
            last += 1
        found.append(Window(first, owned, last))
        owned = last + 1
    return tuple(found)


def restrict(program: Program, window: Window) -> Program:
    """What a program for a whole text says about the lines that a window shows, in the window's numbers."""
    if isinstance(program[0], KeepAll | RemoveAll):
        return program
    after = 0 if window.first == 1 else window.first
    return tuple(_renumbered(_clipped(program, window.first, window.last, after), 1 - window.first)) or _NOTHING


def merge(found: Sequence[Window], programs: Sequence[Program]) -> Program:
    """One program for the whole text from those of its windows, each in its window's numbers.

    Of each program counts what it says about the lines that its window owns. `remove_all` means all of these, and is
    the verdict on the text where all windows agree on it.
    """
    if all(program == _EVERYTHING for program in programs):
        return _EVERYTHING
    merged: list[Operation] = []
    for window, program in zip(found, programs, strict=True):
        seam = window.owned - 1
        taken = any(isinstance(operation, InsertLines) and operation.after == seam for operation in merged)
        placed = _renumbered(_spelled_out(program, window), window.first - 1)
        for operation in _clipped(placed, window.owned, window.last, seam + taken):
            match merged[-1:], operation:
                case [RemoveLines(start=start, end=end)], RemoveLines() if (
                    end == seam and operation.start == window.owned
                ):
                    merged[-1] = RemoveLines(start=start, end=operation.end)
                case _:
                    merged.append(operation)
    return tuple(merged) or _NOTHING


@dataclass(frozen=True)
class Edited:
    """What became of a text.

    Attributes:
        text: The text, edited or as it was.
        program: The program that was carried out.
        rejections: For each window whose program wasn't, its number, from 1, and why; 0 stands for all windows
            together.
    """

    text: str
    program: Program
    rejections: tuple[tuple[int, Rejection], ...] = ()


def apply_windows(
    text: str, found: Sequence[Window], programs: Sequence[Program | Rejection], guards: Guards
) -> Edited:
    """Carries out the programs of the windows of a text, each wholly or not at all.

    A window whose program can't be carried out, or is none to begin with, stays as it is; where the guards stop what
    the windows do together, the whole text does.
    """
    lines, protected = text.split("\n"), find_protected(text)
    rejections: list[tuple[int, Rejection]] = []
    sound: list[Program] = []
    agreed = all(program == _EVERYTHING for program in programs)
    for number, (window, program) in enumerate(zip(found, programs, strict=True), 1):
        if not (agreed or isinstance(program, Rejection)):
            program = _checked(lines, window, program, guards.max_inserted, protected)
        if isinstance(program, Rejection):
            rejections.append((number, program))
            program = _NOTHING
        sound.append(program)
    merged = merge(found, sound)
    result = apply_program(text, merged, guards, protected)
    if isinstance(result, Rejection):
        return Edited(text, _NOTHING, (*rejections, (0, result)))
    return Edited(result, merged, tuple(rejections))


def _checked(
    lines: Sequence[str], window: Window, program: Program, max_inserted: int, protected: Protected
) -> Program | Rejection:
    """The program of a window, unless it couldn't be carried out there."""
    guards = Guards(max_deleted=1, max_inserted=max_inserted)
    result = apply_program(
        window.of(lines), _spelled_out(program, window), guards, protected.around(window.first, window.last)
    )
    return result if isinstance(result, Rejection) else program


def _spelled_out(program: Program, window: Window) -> Program:
    """A window's program, with `remove_all` as the removal of the lines that it owns."""
    if program != _EVERYTHING:
        return program
    return (RemoveLines(start=window.owned - window.first + 1, end=window.last - window.first + 1),)


def _renumbered(program: Iterable[Operation], by: int) -> Iterator[Operation]:
    for operation in program:
        match operation:
            case RemoveLines(start=start, end=end):
                yield RemoveLines(start=start + by, end=end + by)
            case Replace():
                yield operation.model_copy(update={"line": operation.line + by})
            case InsertLines():
                yield operation.model_copy(update={"after": operation.after + by})
            case _:
                yield operation


def _clipped(program: Iterable[Operation], first: int, last: int, after: int) -> Iterator[Operation]:
    """What concerns the lines from `first` to `last`, and insertions behind the lines from `after` to `last`."""
    for operation in program:
        match operation:
            case RemoveLines(start=start, end=end) if start <= last and first <= end:
                yield RemoveLines(start=max(start, first), end=min(end, last))
            case Replace(line=line) if first <= line <= last:
                yield operation
            case InsertLines(after=behind) if after <= behind <= last:
                yield operation
            case _:
                pass
