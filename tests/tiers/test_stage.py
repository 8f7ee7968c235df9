"""The contract of a stage that adds rows: what came in and what was made is once in the outcome."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pytest

from pipelines.ledger import check_balance, count_outcome, ledger_rows
from tiers.document import documents
from tiers.errors import StageError
from tiers.l3_edited.synthesis.preference_pairs import PreferencePairs
from tiers.l3_edited.synthesis.synthesise import Synthesise
from tiers.stage import Context, Outcome, Stage, check_outcome, fates, made


class Adds(Stage):
    name = "adds"

    def prepare(self, context: Context) -> Callable[[pa.Table], Outcome]:
        raise NotImplementedError


def row(source: str) -> dict[str, str]:
    return {"id": source, "text": source, "source": source}


TABLE = documents([row("a"), row("b")])


def outcome(kept: str, dropped: str = "", failed: str = "", births: tuple[tuple[str, str], ...] = ()) -> Outcome:
    gone = ([(row_id, "reason", "detail") for row_id in ids] for ids in (dropped, failed))
    return Outcome(documents([row(source) for source in kept]), *map(fates, gone), made=made(births))


BIRTHS = (("x", "a"), ("y", "a"), ("z", "b"))


def test_rows_that_were_made_may_be_kept_dropped_or_in_quarantine() -> None:
    good = outcome("abx", "y", "z", BIRTHS)
    check_outcome(Adds(), TABLE, good)
    counts = count_outcome(Adds(), TABLE.num_rows, good)
    assert (counts["rows_in"], counts["made"], counts["kept"], counts["rows_out"]) == (2, 3, 3, 3)
    check_balance([counts], "adds")
    ledger = ledger_rows(Adds(), good).to_pylist()
    assert [(line["id"], line["fate"]) for line in ledger] == [
        ("y", "dropped"),
        ("z", "quarantined"),
        ("x", "made"),
        ("y", "made"),
        ("z", "made"),
    ]
    assert [line["detail"] for line in ledger[2:]] == ["a", "a", "b"]


@pytest.mark.parametrize(
    "bad",
    [
        outcome("abx", "y", births=BIRTHS),  # z is lost
        outcome("abxz", "yz", births=BIRTHS),  # z is twice
        outcome("ax", "yz", births=BIRTHS),  # b is lost
        outcome("abxyzw", births=BIRTHS),  # w was never made
        outcome("abx", "y", births=(("x", "a"), ("y", "q"))),  # of a row that never came in
    ],
)
def test_rows_that_are_lost_or_invented_are_refused(bad: Outcome) -> None:
    with pytest.raises(StageError):
        check_outcome(Adds(), TABLE, bad)


def test_counts_that_do_not_add_up_are_refused() -> None:
    counts = count_outcome(Adds(), TABLE.num_rows, outcome("abx", "y", "z", BIRTHS))
    with pytest.raises(StageError, match="2 rows in and 4 made, 5 accounted for"):
        check_balance([{**counts, "made": 4}], "adds")


def test_where_servers_are_is_no_part_of_the_identity() -> None:
    def identity(host: str) -> dict:
        llm = f"openai:m@http://{host}/v1"
        stages = Synthesise(family="qa", llm=llm, solver=llm, judge=llm), PreferencePairs(llms=("here", llm), judge=llm)
        return {"identities": [stage.identity() for stage in stages], "asked": [s.asked_llms() for s in stages]}

    assert identity("a")["identities"] == identity("b")["identities"]
    assert identity("a")["asked"] == [["openai:m@http://a/v1"], ["here", "openai:m@http://a/v1"]]
