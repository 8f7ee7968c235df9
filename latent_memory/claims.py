"""Questions that tier L4 verified in the user's own documents, as training data for the memory that is to hold them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds

from tiers.errors import SourceError

COLUMNS = {
    "text": "text",
    "heading": "evidence.context",
    "question": "claim.question",
    "answer": "claim.answer",
    "status": "claim.status",
}


def read_rows(path: Path) -> list[dict[str, Any]]:
    """A row for each passage, in order: `evidence` as it is compressed, and `question` and `answer` where verified.

    Args:
        path: A release of L4 (`tierline release L4`), or Parquet with its columns.

    Raises:
        SourceError: when it is missing, isn't Parquet or lacks a column.
    """
    data = path / "data" if (path / "data").is_dir() else path
    if not data.exists():
        raise SourceError("a data file is missing", where=str(path), hint="tierline release L4 --at RUN --to FOLDER")
    try:
        table = ds.dataset(data, format="parquet").to_table(columns={k: ds.field(v) for k, v in COLUMNS.items()})
    except (pa.ArrowException, OSError) as error:
        raise SourceError(
            "this is no release of L4", where=str(path), got=str(error).splitlines()[0], expected=list(COLUMNS.values())
        ) from error
    return [
        {
            "evidence": f"{row['heading']}: {row['text']}" if row["heading"] else row["text"],
            "question": row["question"] if row["status"] == "verified" else None,
            "answer": row["answer"],
        }
        for row in table.to_pylist()
    ]
