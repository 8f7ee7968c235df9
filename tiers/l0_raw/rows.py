"""How a row of a table, or an object of JSON, becomes a document."""

from __future__ import annotations

import json
from typing import Any

from tiers.l0_raw.batches import Batch, ReadOptions, ReadReason

COLUMNS = ("url", "title", "lang", "license")
"""Keys that become columns of the document; other plain values go to its `meta`."""


class BadRow(Exception):
    """A row that can't become a document.

    Args:
        reason: Why.
        detail: What was found.
    """

    def __init__(self, reason: ReadReason, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(detail)


def add_row(batch: Batch, place: int, value: dict[str, Any], options: ReadOptions) -> None:
    """Keeps the document that `value` holds, or fails the row at `place`."""
    try:
        row = _document(value, options.text_field)
        name = place if options.id_field is None else _name(value, options.id_field)
    except BadRow as bad:
        batch.fail(place, bad.reason, bad.detail)
    else:
        batch.keep(name, len(row["text"]), row)


def _name(value: dict[str, Any], id_field: str) -> str:
    name = value.get(id_field)
    if not isinstance(name, str | int) or isinstance(name, bool):
        raise BadRow(ReadReason.NO_ID, f"{id_field!r} is {type(name).__name__}, not a string or number")
    return str(name)


def _document(value: dict[str, Any], text_field: str) -> dict[str, Any]:
    text = value.get(text_field)
    if text is None:
        raise BadRow(ReadReason.NO_TEXT, f"{text_field!r} is {'null' if text_field in value else 'missing'}")
    if not isinstance(text, str):
        raise BadRow(ReadReason.TEXT_NOT_A_STRING, f"{text_field!r} is a {type(text).__name__}")
    row: dict[str, Any] = {"text": text, "meta": {}}
    for key, item in value.items():
        if key in COLUMNS and isinstance(item, str):
            row[key] = item
        elif key != text_field and isinstance(item, str | int | float | bool):
            row["meta"][key] = item if isinstance(item, str) else json.dumps(item)
    try:
        json.dumps(row, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadRow(ReadReason.LONE_SURROGATE, f"character {error.start}: {error.reason}") from None
    return row
