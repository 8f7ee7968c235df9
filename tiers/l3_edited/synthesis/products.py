"""What models wrote, as rows beside the documents it was written from.

The columns `synthesis.family`, `synthesis.variant` and `synthesis.content` are null for documents, so that one can
always be told from the other. A product has its source's `source`, `url`, `title`, `lang` and `license`, since it is
derived from it, and every column of earlier stages as its source has it; `parents` leads from the document to the row
that it was made from.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from tiers.document import DOCUMENT, add_column, child_id
from tiers.l2_scored.annotate import in_sample
from tiers.llm import LLM
from tiers.stage import Outcome, Usage, fates, made

FAMILY = pa.field("synthesis.family", pa.string())
VARIANT = pa.field("synthesis.variant", pa.string())
CONTENT = pa.field("synthesis.content", pa.string())
COLUMNS = (FAMILY, VARIANT, CONTENT)
TASK, PREFERENCE = "task", "preference"
"""The families of what is made of other products."""


@dataclass
class Draft:
    """One row in the making.

    Attributes:
        id: Its identity.
        row: The number of the row that it is made from.
        variant: Level, setting or style, with the domain before it.
        content: What the model wrote, field by field; empty until it has been read.
        text: The same as running text.
        dropped: The gate that it failed, and the measured value.
        failed: What went wrong where no model answered.
        rehearsed: Whether nobody wrote it, so that no gate can tell anything.
    """

    id: str
    row: int
    variant: str
    content: dict[str, Any] = field(default_factory=dict)
    text: str = ""
    dropped: tuple[str, str] | None = None
    failed: tuple[str, str] | None = None
    rehearsed: bool = False

    @property
    def open(self) -> bool:
        """Whether it has failed no gate so far."""
        return self.dropped is None and self.failed is None

    def drop(self, reason: str, detail: str | None) -> None:
        """Drops it for `reason`, if there is a detail of why."""
        if detail is not None and self.open and not self.rehearsed:
            self.dropped = (reason, detail)


def with_columns_of_products(table: pa.Table) -> pa.Table:
    """`table` with the three columns, null where it hasn't got them yet."""
    for column in COLUMNS:
        if column.name not in table.column_names:
            table = add_column(table, column, pa.nulls(table.num_rows, column.type))
    return table


def product_id(maker: str, kind: str, number: int, *authors: LLM, seed: int) -> str:
    """The identity of the `number`-th product of `kind` that `authors` made of the row `maker`, with this seed."""
    return child_id(maker, f"{kind}/{'+'.join(author.name for author in authors)}/{seed}", number)


def rows_of(table: pa.Table, wanted: Callable[[str, str | None], bool]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number and row of those whose id and family are wanted."""
    table = with_columns_of_products(table)
    both = zip(table["id"].to_pylist(), table[FAMILY.name].to_pylist(), strict=True)
    numbers = [number for number, (row_id, family) in enumerate(both) if wanted(row_id, family)]
    yield from zip(numbers, table.take(pa.array(numbers, pa.int64())).to_pylist(), strict=True)


def content_of(row: dict[str, Any]) -> dict[str, Any]:
    """What a row that is a product holds, field by field; nothing of a document."""
    found: dict[str, Any] = json.loads(row[CONTENT.name]) if row.get(CONTENT.name) else {}
    return found


def answerable(table: pa.Table, share: float) -> Iterator[tuple[int, dict[str, Any], dict[str, Any]]]:
    """The products of a sample that have a question and an answer that can be compared: number, row, content."""
    others = (None, TASK, PREFERENCE)
    for number, row in rows_of(table, lambda row_id, family: family not in others and in_sample(row_id, share)):
        content = content_of(row)
        if "compared_as" in content:
            yield number, row, content


def outcome(table: pa.Table, family: str, drafts: Sequence[Draft], usage: Usage) -> Outcome:
    """All rows of `table`, the drafts that failed no gate behind them, and the fates of the others."""
    table = with_columns_of_products(table)
    good = [draft for draft in drafts if draft.open]
    ids = table["id"].to_pylist()
    rows = table.take(pa.array([draft.row for draft in good], pa.int64()))
    parents = [
        [*before, maker] for before, maker in zip(rows["parents"].to_pylist(), rows["id"].to_pylist(), strict=True)
    ]
    own: dict[pa.Field, list[Any]] = {
        DOCUMENT.field("id"): [draft.id for draft in good],
        DOCUMENT.field("text"): [draft.text for draft in good],
        DOCUMENT.field("media"): [[] for _ in good],
        DOCUMENT.field("parents"): parents,
        FAMILY: [family] * len(good),
        VARIANT: [draft.variant for draft in good],
        CONTENT: [json.dumps(draft.content, ensure_ascii=False) for draft in good],
    }
    for column, values in own.items():
        rows = add_column(rows, column, values)
    return Outcome(
        kept=pa.concat_tables([table, rows.cast(table.schema)]),
        dropped=fates([(draft.id, *draft.dropped) for draft in drafts if draft.dropped]),
        failed=fates([(draft.id, *draft.failed) for draft in drafts if draft.failed]),
        made=made([(draft.id, ids[draft.row]) for draft in drafts]),
        usage=usage,
    )
