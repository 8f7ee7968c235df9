from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest

from tests.tiers.l3_edited.synthesis.authors import Author
from tiers.document import add_column, documents
from tiers.l3_edited.synthesis.checkable_tasks import CheckableTasks, PassRate
from tiers.l3_edited.synthesis.maths_answers import MathsAnswers
from tiers.l3_edited.synthesis.products import CONTENT, FAMILY, VARIANT, with_columns_of_products
from tiers.llm.transformers_llm import TransformersLLM
from tiers.stage import Outcome, check_outcome


@pytest.fixture(scope="module")
def maths() -> MathsAnswers:
    return MathsAnswers()


def products(*contents: dict[str, Any]) -> pa.Table:
    """A document, and questions with these contents behind it."""
    rows = [{"text": "A document.", "source": "d"}]
    rows += [{"text": content["question"], "source": f"q{n}"} for n, content in enumerate(contents)]
    table = with_columns_of_products(documents(rows))
    table = add_column(table, FAMILY, [None, *("qa" for _ in contents)])
    table = add_column(table, VARIANT, [None, *("maths.college" for _ in contents)])
    return add_column(table, CONTENT, [None, *map(json.dumps, contents)])


def sum_of(a: int, b: int, answer: int | None = None) -> dict[str, Any]:
    return {"question": f"What is {a} + {b}?", "answer": str(answer or a + b), "solution": "", "compared_as": "maths"}


def make(stage: CheckableTasks, table: pa.Table, llm: Any, maths: MathsAnswers) -> Outcome:
    outcome = stage.make(table, llm, maths)
    check_outcome(stage, table, outcome)
    return outcome


def right_in(solved: int, right: str = "Answer: 5", wrong: str = "Answer: {seed}0") -> Any:
    """Replies that are right for the first `solved` seeds; the others differ among themselves."""
    return lambda payload: right if payload["seed"] < solved else wrong.format(seed=payload["seed"])


def test_a_task_has_its_estimated_pass_rate(author: Author, maths: MathsAnswers) -> None:
    author.rules = [("author", "2 + 3", right_in(5))]
    table = products(sum_of(2, 3))
    outcome = make(CheckableTasks(rollouts=8, temperature=0.7), table, author.llm(), maths)
    task = outcome.kept.to_pylist()[-1]
    content = json.loads(task[CONTENT.name])
    assert (task[FAMILY.name], task[VARIANT.name], task["text"]) == (
        "task",
        "maths.college",
        "What is 2 + 3?\n\nAnswer: 5",
    )
    assert task["parents"] == [table["id"][1].as_py()]
    assert (content["rollouts"], content["solved"], content["pass_rate"]) == (8, 5, 0.625)
    assert content["pass_rate_interval"] == [0.3057, 0.8632]
    assert "solution" not in content
    assert sorted(payload["seed"] for payload in author.seen) == list(range(8))
    assert {payload["temperature"] for payload in author.seen} == {0.7}


@pytest.mark.parametrize(
    ("reply", "reason", "detail"),
    [
        (right_in(8), "too_easy", "8 of 8 solved, 1.00 > 0.9"),
        (right_in(0), "too_hard", "0 of 8 solved, 0.00 < 0.1"),
        (right_in(2, wrong="Answer: 6"), "label_disputed", "6 of 8 say '6', not '5'"),
        (right_in(1, wrong="I have no end"), "task", ""),
        ("Answer: \\frac{10}{2}", "too_easy", "8 of 8 solved, 1.00 > 0.9"),
        (("Answer: 5", "length"), "too_hard", "0 of 8 solved, 0.00 < 0.1"),
    ],
)
def test_what_is_no_task_says_why(author: Author, maths: MathsAnswers, reply: Any, reason: str, detail: str) -> None:
    author.rules = [
        ("author", "2 + 3", reply),
        ("author", "4 + 4", lambda payload: f"Answer: {8 + payload['seed'] % 2}"),
    ]
    outcome = make(CheckableTasks(), products(sum_of(2, 3), sum_of(4, 4)), author.llm(), maths)
    families = outcome.kept[FAMILY.name].to_pylist()
    if reason == "task":
        assert families == [None, "qa", "qa", "task", "task"]
    else:
        assert families == [None, "qa", "qa", "task"]
        assert outcome.dropped.select(["reason", "detail"]).to_pylist() == [{"reason": reason, "detail": detail}]


def test_a_task_that_is_never_solved_is_kept_where_its_answer_is_sure(author: Author, maths: MathsAnswers) -> None:
    author.rules = [("author", "2 + 3", right_in(0))]
    outcome = make(CheckableTasks(min_pass_rate=0), products(sum_of(2, 3)), author.llm(), maths)
    assert json.loads(outcome.kept[CONTENT.name].to_pylist()[-1])["pass_rate"] == 0


def test_calls_that_fail_are_not_counted_and_cost_no_other_task(author: Author, maths: MathsAnswers) -> None:
    author.rules = [
        ("author", "2 + 3", lambda payload: 400 if payload["seed"] == 3 else right_in(2)(payload)),
        ("author", "1 + 1", 400),
    ]
    outcome = make(CheckableTasks(rollouts=5), products(sum_of(2, 3), sum_of(1, 1)), author.llm(), maths)
    assert outcome.failed["reason"].to_pylist() == ["model_failed"]
    assert json.loads(outcome.kept[CONTENT.name].to_pylist()[-1])["pass_rate"] == 0.5


def test_products_without_an_answer_are_passed_over(author: Author, maths: MathsAnswers) -> None:
    table = products({"question": "Why?", "turns": []})
    outcome = make(CheckableTasks(), table, author.llm(), maths)
    assert outcome.kept.equals(table)
    assert not author.seen


def test_the_interval_is_wilsons() -> None:
    assert PassRate(0, 10).interval() == pytest.approx((0, 0.2775), abs=1e-4)  # Wilson 1927; Brown et al. 2001, table
    assert PassRate(5, 10).interval() == pytest.approx((0.2366, 0.7634), abs=1e-4)


def test_a_real_model_solves_and_disputes(smollm: TransformersLLM, maths: MathsAnswers) -> None:
    known = {"question": "What is the capital of France?", "context": "Paris is the capital of France."}
    table = products(*({**known, "answer": answer, "compared_as": "text"} for answer in ("Paris", "Lyon")))
    outcome = make(CheckableTasks(rollouts=4, temperature=0.3, max_tokens=12, max_pass_rate=1), table, smollm, maths)
    task = json.loads(outcome.kept[CONTENT.name].to_pylist()[-1])
    assert (task["answer"], task["rollouts"]) == ("Paris", 4)
    assert task["pass_rate"] >= 0.5
    assert outcome.dropped["reason"].to_pylist()[0] in {"label_disputed", "too_hard"}
