"""The stages that change texts, in a run: order, counts in the ledger, and no value of a person's anywhere in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from pipelines.artifact import Store, read_table
from pipelines.recipe import load_recipe

VALUES = ("jane.doe@mail.org", "+49 221 4701234", "4539578763621486", "Tr0ub4dor&3x")
TEXT = (
    "Skip to content\r\n\r\nThe keeper\u00a0wasnâ€™t at home.\r\n\r\n\r\n"
    f"Write to {VALUES[0]} or call {VALUES[1]}, card {VALUES[2]}, password = '{VALUES[3]}'.\r\n\r\nRead more"
)


def test_texts_are_cleaned_and_the_ledger_holds_no_value(
    tmp_path: Path, write_recipe: Callable[..., Path], run: Callable[..., object], store: Callable[[Path], Store]
) -> None:
    source = tmp_path / "texts.jsonl"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in (TEXT, "Home\nContact", "A lamp.")))
    recipe = write_recipe(
        inputs=[{"path": str(source)}],
        l1=[
            "normalise",
            {"boilerplate": {"min_left": 0.5}},
            {"personal_data": {"kinds": ["email", "phone", "card", "secret"]}},
        ],
        max_failed=0.5,
    )
    assert [stage.name for stage in load_recipe(recipe).l1] == ["normalise", "boilerplate", "personal_data"]
    output = tmp_path / "out"
    run(recipe, output)

    (data,) = (path.relative_to(output) for path in output.glob("L1/*/data/*.arrow"))
    table = read_table(store(output), str(data))
    assert table["text"].to_pylist() == [
        "The keeper wasn’t at home.\n\nWrite to [EMAIL] or call [PHONE], card [CARD], password = '[SECRET]'.",
        "A lamp.",
    ]
    ledger = [
        row
        for path in sorted(output.glob("**/ledger/*.arrow"))
        for row in read_table(store(output), str(path.relative_to(output))).to_pylist()
    ]
    assert {(row["stage"], row["fate"], row["reason"]) for row in ledger} == {
        ("normalise", "noted", "normalise.encoding_repaired"),
        ("boilerplate", "noted", "boilerplate.navigation"),
        ("boilerplate", "noted", "boilerplate.read_more"),
        ("boilerplate", "dropped", "boilerplate.little_left"),
        *(("personal_data", "noted", f"personal_data.{kind}") for kind in ("email", "phone", "card", "secret")),
    }
    records = [path.read_text("utf-8", "replace") for path in output.rglob("*.json")]
    assert not [value for value in VALUES for written in (str(ledger), *records) if value in written]
