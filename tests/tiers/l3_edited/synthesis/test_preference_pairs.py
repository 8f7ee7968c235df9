from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.tiers.l3_edited.synthesis.authors import Author
from tests.tiers.l3_edited.synthesis.test_checkable_tasks import products
from tiers.l3_edited.synthesis.gates import index_of
from tiers.l3_edited.synthesis.maths_answers import MathsAnswers
from tiers.l3_edited.synthesis.preference_pairs import PreferencePairs
from tiers.l3_edited.synthesis.products import CONTENT, FAMILY
from tiers.llm.transformers_llm import TransformersLLM
from tiers.reference import Reference
from tiers.stage import Outcome, check_outcome

QUESTION = {
    "question": "When was the bridge destroyed?",
    "context": "The bridge was destroyed in 1993.",
    "answer": "in 1993",
    "compared_as": "text",
}


@pytest.fixture(scope="module")
def maths() -> MathsAnswers:
    return MathsAnswers()


def rated(rating: int) -> dict[str, float]:
    """All probability on one rating."""
    return {str(n): 0.0 if n == rating else -30.0 for n in range(1, 6)}


def make(author: Author, maths: MathsAnswers, table: pa.Table | None = None, **parameters: Any) -> Outcome:
    stage = PreferencePairs(llms=("author", "other"), judge="judge", **parameters)
    table = products(QUESTION) if table is None else table
    outcome = stage.make(table, [author.llm(), author.llm("other")], author.llm("judge"), maths)
    check_outcome(stage, table, outcome)
    return outcome


def test_a_pair_is_the_best_and_the_worst_of_what_was_rated(author: Author, maths: MathsAnswers) -> None:
    author.rules = [
        ("author", "bridge", lambda payload: f"It was destroyed in 1993 ({payload['seed']})."),
        ("other", "bridge", lambda payload: f"I guess nobody knows ({payload['seed']})."),
        ("judge", "in 1993 (0)", rated(4)),
        ("judge", "in 1993 (2)", rated(5)),
        ("judge", "knows (1)", rated(2)),
        ("judge", "knows (3)", rated(1)),
    ]
    outcome = make(author, maths)
    pair = outcome.kept.to_pylist()[-1]
    content = json.loads(pair[CONTENT.name])
    assert pair[FAMILY.name] == "preference"
    assert pair["text"] == "When was the bridge destroyed?\n\nIt was destroyed in 1993 (2)."
    assert content["context"] == QUESTION["context"]
    chosen, rejected = content["chosen"], content["rejected"]
    assert (chosen["text"], chosen["model"], chosen["mean"]) == ("It was destroyed in 1993 (2).", "author", 5.0)
    assert (rejected["text"], rejected["model"], rejected["mean"]) == ("I guess nobody knows (3).", "other", 1.0)
    assert list(chosen["ratings"]) == ["instruction_following", "truthfulness", "honesty", "helpfulness"]
    assert chosen["principle"] != rejected["principle"]
    assert outcome.usage.requests == 4 + 4 * 4


def test_a_rating_is_the_expected_value_over_the_answers(author: Author, maths: MathsAnswers) -> None:
    half = {**rated(4), "5": 0.0}
    author.rules = [
        ("author", "bridge", "It was in 1993."),
        ("other", "bridge", "Never."),
        ("judge", "1993.\n</reply>", half),
        ("judge", "Never", {**rated(1), "2": math.log(3)}),
    ]
    content = json.loads(make(author, maths).kept[CONTENT.name].to_pylist()[-1])
    assert content["chosen"]["mean"] == 4.5
    assert content["rejected"]["mean"] == 1.75


@pytest.mark.parametrize(
    ("replies", "ratings", "reason", "detail"),
    [
        (("In 1993.", "In 1993, yes."), (4, 4), "too_close", "4.00 - 4.00 = 0.00 < 0.5"),
        (("In 1993.", ("In", "length")), (4, 4), "too_few_completions", "1 of 2 are whole, 2 are needed"),
        (("In 1993.", " "), (4, 4), "too_few_completions", "1 of 2 are whole, 2 are needed"),
        (("In 1994.", "In 1993."), (2, 4), "chosen_is_wrong", "without 1993"),
        (("In 1993.", "Not in 1993."), (2, 4), "chosen_is_wrong", "'Not' in one alone"),
        (("In 1993.", f"In 1993. {'I like bridges. ' * 21}"), (2, 4), "chosen_is_wrong", "F1 0.06 < 0.5"),
    ],
)
def test_what_is_no_pair_says_why(
    author: Author, maths: MathsAnswers, replies: tuple[Any, Any], ratings: tuple[int, int], reason: str, detail: str
) -> None:
    author.rules = [("author", "bridge", replies[0]), ("other", "bridge", replies[1])]
    author.rules += [("judge", "In 1993.\n", rated(ratings[0])), ("judge", "", rated(ratings[1]))]
    outcome = make(author, maths, completions=2)
    assert outcome.dropped["reason"].to_pylist() == [reason]
    assert outcome.dropped["detail"].to_pylist()[0].startswith(detail)


def test_a_model_or_judge_that_fails_costs_one_row(author: Author, maths: MathsAnswers) -> None:
    second = {**QUESTION, "question": "When was the mosque destroyed?"}
    third = {**QUESTION, "question": "When was the tower destroyed?"}
    author.rules = [
        ("other", "mosque", 400),
        ("author", "destroyed", "In 1993."),
        ("other", "destroyed", "No."),
        ("judge", "tower", 400),
        ("judge", "In 1993.\n", rated(5)),
        ("judge", "", rated(1)),
    ]
    outcome = make(author, maths, products(QUESTION, second, third), completions=2)
    assert outcome.failed["reason"].to_pylist() == ["model_failed"] * 2
    assert outcome.kept[FAMILY.name].to_pylist() == [None, "qa", "qa", "qa", "preference"]


def test_no_completion_shares_words_with_a_benchmark(author: Author, maths: MathsAnswers, tmp_path: Path) -> None:
    benchmark = tmp_path / "bench.txt"
    benchmark.write_text("Nobody could ever have known when that old bridge was to be destroyed.\n")
    author.rules = [
        ("author", "bridge", "In 1993."),
        ("other", "bridge", benchmark.read_text()),
        ("judge", "In 1993.\n", rated(5)),
        ("judge", "", rated(1)),
    ]
    index = index_of({"bench": Reference.model_validate(str(benchmark))})
    stage, table = PreferencePairs(llms=("author", "other"), judge="judge", completions=2), products(QUESTION)
    outcome = stage.make(table, [author.llm(), author.llm("other")], author.llm("judge"), maths, index)
    assert outcome.dropped["reason"].to_pylist() == ["contaminated"]


def test_real_models_write_and_rate(smollm: TransformersLLM, maths: MathsAnswers) -> None:
    stage = PreferencePairs(llms=("smollm2-135m",), judge="smollm2-135m", completions=2, max_tokens=20, min_margin=0)
    table = products(QUESTION)
    outcome = stage.make(table, [smollm], smollm, maths)
    check_outcome(stage, table, outcome)
    assert outcome.made.num_rows == 1
    assert outcome.usage.requests in (2 + 4, 2 + 8)
    assert set(outcome.dropped["reason"].to_pylist()) <= {"too_few_completions", "chosen_is_wrong"}
    if outcome.kept.num_rows == 3:
        content = json.loads(outcome.kept[CONTENT.name].to_pylist()[-1])
        assert 1 <= content["rejected"]["mean"] <= content["chosen"]["mean"] <= 5
