"""Training examples for an editor: numbered lines in, program out, as the stage that asks an editor shows them.

A long document gives one example for each of its windows. Rows are plain text columns, so that any trainer reads them
without this package: `messages` is the conversation in the form of chat trainers, and what it consists of stands beside
it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from tiers.l3_edited.edit_labels import LABEL_GUARDS, Confidence, label
from tiers.l3_edited.edit_program import (
    Guards,
    Program,
    Rejection,
    RemoveAll,
    RemoveLines,
    dump_program,
    numbered,
)
from tiers.l3_edited.edit_prompt import conversation
from tiers.l3_edited.edit_windows import OVERLAP, SIZE, Window, restrict, windows
from tiers.stage import fates

_CONFIDENCE = Confidence()
_MESSAGE = pa.struct([pa.field("role", pa.string(), nullable=False), pa.field("content", pa.string(), nullable=False)])

EXAMPLE = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("first_line", pa.int32(), nullable=False),
        pa.field("last_line", pa.int32(), nullable=False),
        pa.field("document", pa.string(), nullable=False),
        pa.field("program", pa.string(), nullable=False),
        pa.field("messages", pa.list_(_MESSAGE), nullable=False),
    ]
)
"""`document` is lines behind their numbers in the window, `program` what is to be done to them as JSON; the window is
lines `first_line` to `last_line` of the raw text `id`."""


@dataclass(frozen=True)
class Examples:
    """Training examples, and (id, reason, detail) of the pairs, and of the windows, that gave none."""

    table: pa.Table
    rejected: pa.Table


def edit_examples(
    pairs: Iterable[tuple[str, str, str]],
    *,
    guards: Guards = LABEL_GUARDS,
    confidence: Confidence | None = _CONFIDENCE,
    size: int = SIZE,
    overlap: float = OVERLAP,
) -> Examples:
    """Makes examples of pairs (id, raw text, refined text).

    Args:
        pairs: What an expert made of raw texts.
        guards: See `label`.
        confidence: What is too much rewriting of one window; the bounds of UltraX by default.
        size: See `windows`; that of the stage that will ask the editor.
        overlap: See `windows`.
    """
    rows: list[dict[str, Any]] = []
    rejected: list[tuple[str, str, str]] = []
    for row_id, raw, refined in pairs:
        program = label(raw, refined, guards)
        if isinstance(program, Rejection):
            rejected.append((row_id, program.reason, program.detail))
            continue
        lines = raw.split("\n")
        for window in windows(raw, size, overlap):
            part = _shortest(restrict(program, window), window)
            if too_much := confidence and confidence.check(part):
                where = f"lines {window.first} to {window.last}"
                rejected.append((row_id, too_much.reason, f"{where}: {too_much.detail}"))
                continue
            row = {"id": row_id, "first_line": window.first, "last_line": window.last}
            rows.append(row | _told(window.of(lines), dump_program(part)))
    return Examples(pa.Table.from_pylist(rows, schema=EXAMPLE), fates(rejected))


def _shortest(program: Program, window: Window) -> Program:
    """The program of a window, with the removal of all its lines as what it is."""
    return (RemoveAll(),) if program == (RemoveLines(start=1, end=window.last - window.first + 1),) else program


def _told(shown: str, reply: str) -> dict[str, Any]:
    turns = [{"role": turn.role, "content": turn.content} for turn in conversation(shown)]
    return {
        "document": numbered(shown),
        "program": reply,
        "messages": [*turns, {"role": "assistant", "content": reply}],
    }


def write_jsonl(examples: pa.Table, path: Path) -> None:
    """Writes examples as JSON lines, one a row, in UTF-8."""
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        for row in examples.to_pylist():
            stream.write(json.dumps(row, ensure_ascii=False).translate(_LINE_BREAKS) + "\n")


_LINE_BREAKS = {ord(mark): f"\\u{ord(mark):04x}" for mark in "\x85\u2028\u2029"}
"""JSON leaves these as they are, but some readers of lines end a line there."""
