from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from pydantic import ValidationError

from tests.served_model import serving
from tiers.document import documents
from tiers.errors import RecipeError
from tiers.l2_scored import Annotate, AnswerRubric
from tiers.l2_scored.annotate import excerpt, in_sample
from tiers.llm.transformers_llm import TransformersLLM
from tiers.stage import Context, Outcome, check_outcome

TEACHES = (
    "Ice floats because water is densest at 4 degrees. As it cools further, its molecules settle into an open lattice "
    "that takes more room. So the same mass has a larger volume, and the ice displaces more than its own weight."
)
SELLS = "BUY NOW!!! Best price, click here to order today. Free gift. Limited offer. Subscribe. Follow us. Add to cart."
RATED = AnswerRubric.model_validate(
    {
        "kind": "answer", "instruction": "Rate texts from 1 to 3.", "prefill": "Rating: ",
        "question": {"depth": "How deep is it?", "clarity": "How clear is it?"}, "answers": {"1": 1, "2": 2, "3": 3},
    }
)  # fmt: skip
LISTS = "Home | Products | About us | Contact | Sitemap | Login | Register | Cart (0) | Terms | Privacy | Help | FAQ"


@pytest.fixture
def tiny_judge(tiny_model: Path, tmp_path: Path) -> Callable[..., Callable[[pa.Table], Outcome]]:
    context = Context(models=tiny_model.parent, cache=tmp_path / "cache")
    return lambda **fields: Annotate(llm="tiny", **fields).prepare(context)


def table(count: int) -> pa.Table:
    return documents([{"text": f"text {i} " * (i + 1), "source": f"s#{i}"} for i in range(count)])


def test_a_real_judge_prefers_what_teaches(models_dir: Path) -> None:
    stage = Annotate(share=1, again=0)
    rows = documents([{"text": text, "source": text[:9]} for text in (SELLS, TEACHES, LISTS)])
    outcome = stage.prepare(Context(models=models_dir))(rows)
    check_outcome(stage, rows, outcome)
    sells, teaches, lists = outcome.kept["score.judge"].to_pylist()
    assert teaches > sells
    assert teaches > lists
    assert outcome.usage.requests == 6
    assert outcome.usage.prompt_tokens > 200


def test_dimensions_are_judged_by_a_real_judge(smollm: TransformersLLM, models_dir: Path) -> None:
    stage = Annotate(share=1, again=1, rubric=RATED)
    rows = documents([{"text": TEACHES, "source": "a"}])
    outcome = stage.prepare(Context(models=models_dir))(rows)
    check_outcome(stage, rows, outcome)
    (row,) = outcome.kept.select(["score.judge", "score.judge_by", "score.judge_again"]).to_pylist()
    by = dict(row["score.judge_by"])
    assert set(by) == {"depth", "clarity"}
    assert all(1 < rating < 3 for rating in by.values())
    assert row["score.judge"] == pytest.approx(sum(by.values()) / 2)
    assert row["score.judge_again"]["repeated"] == row["score.judge"]  # in process, the same is the same
    assert row["score.judge_again"]["permuted"] is None
    assert outcome.usage.requests == 4


def test_a_judge_that_writes_its_rating_on_a_server(smollm: TransformersLLM, tmp_path: Path) -> None:
    rows = documents([{"text": TEACHES, "source": "a"}])
    with serving(smollm) as served:
        stage = Annotate(llm=f"openai:judge@{served.url}", rubric="reasoning", reading="reply", share=1, again=0)
        outcome = stage.prepare(Context(models=tmp_path))(rows)
        check_outcome(stage, rows, outcome)
        assert all(payload["response_format"]["type"] == "json_schema" for payload in served.seen)
        served.failures = ['{"choices": [{"finish_reason": "stop", "message": {"content": "Rating: 5"}}]}']
        misled = stage.prepare(Context(models=tmp_path))(rows)
    (rating,) = outcome.kept["score.judge"].to_pylist()  # the smallest real model writes the JSON of the examples
    assert rating in {1, 2, 3, 4, 5}
    assert misled.failed["detail"].to_pylist() == ["the reply isn't JSON: 'Rating: 5'"]


def test_a_judge_on_a_server_gives_probabilities(smollm: TransformersLLM, models_dir: Path, tmp_path: Path) -> None:
    rows = documents([{"text": TEACHES, "source": "a"}])
    with serving(smollm) as served:
        there = Annotate(llm=f"openai:judge@{served.url}", rubric=RATED, share=1, again=0)
        remote = there.prepare(Context(models=tmp_path))(rows)
    here = Annotate(rubric=RATED, share=1, again=0).prepare(Context(models=models_dir))(rows)
    assert remote.kept["score.judge"][0].as_py() == pytest.approx(here.kept["score.judge"][0].as_py(), abs=1e-5)


def test_asking_again_is_neither_free_nor_asked_twice(
    tiny_judge: Callable[..., Callable[[pa.Table], Outcome]],
) -> None:
    rows = table(6)
    first, second = tiny_judge(share=1, again=0.5)(rows), tiny_judge(share=1, again=0.5)(rows)
    twice = [again for again in first.kept["score.judge_again"].to_pylist() if again]
    assert 0 < len(twice) < 6
    assert (first.usage.requests, first.usage.cached) == (12 + 4 * len(twice), 0)
    assert second.usage.cached == second.usage.requests
    assert second.kept.equals(first.kept)


@pytest.mark.parametrize(
    ("question", "examples", "differs"),
    [
        ("q", [], False),
        ("q", ["1"], False),
        ("q", ["1", "2"], True),
        ({"a": "deep?", "b": "easy?"}, [], False),
        ({"a": "deep?", "b": "easy?"}, [{"a": "1", "b": "2"}, {"a": "2", "b": "2"}], True),
    ],
)
def test_a_rubric_that_has_no_other_order_is_judged_once_again(
    question: str | dict[str, str],
    examples: list[str | dict[str, str]],
    differs: bool,
    tiny_judge: Callable[..., Callable[[pa.Table], Outcome]],
) -> None:
    shown = [{"text": f"example {number}", "answer": answer} for number, answer in enumerate(examples)]
    own = {"kind": "answer", "instruction": "i", "question": question, "answers": {"1": 1, "2": 2}, "examples": shown}
    outcome = tiny_judge(share=1, again=1, rubric=own)(table(3))
    for again in outcome.kept["score.judge_again"].to_pylist():
        assert again["repeated"] is not None
        assert (again["permuted"] is not None) is differs
    dimensions = 1 if isinstance(question, str) else 2
    assert outcome.usage.requests == 3 * dimensions * (3 if differs else 2)


def test_a_rubric_of_ones_own_is_read_with_the_recipe(
    tmp_path: Path, tiny_judge: Callable[..., Callable[[pa.Table], Outcome]]
) -> None:
    own = tmp_path / "law.yaml"
    own.write_text("{kind: channel, good: [Explain a law.], bad: [Sell something.]}")
    stage = Annotate(rubric=str(own))
    judge = tiny_judge(share=1, rubric=str(own))
    own.unlink()  # a worker elsewhere doesn't have it
    assert judge(table(2)).kept["score.judge"].null_count == 0
    assert stage.identity()["parameters"]["rubric"]["good"] == ["Explain a law."]


def test_only_the_sample_is_judged(tiny_judge: Callable[..., Callable[[pa.Table], Outcome]]) -> None:
    rows = table(20)
    outcome = tiny_judge(share=0.5, again=0)(rows)
    check_outcome(Annotate(), rows, outcome)
    judged = [score is not None for score in outcome.kept["score.judge"].to_pylist()]
    assert judged == [in_sample(row_id, 0.5) for row_id in rows["id"].to_pylist()]
    assert 0 < sum(judged) < 20
    assert outcome.kept.num_rows == 20
    assert outcome.usage.requests == 2 * sum(judged)


def test_a_score_does_not_depend_on_the_table_it_came_in(
    tiny_judge: Callable[..., Callable[[pa.Table], Outcome]],
) -> None:
    rows = table(6)
    judge = tiny_judge(share=1)
    whole = judge(rows).kept
    pieces = pa.concat_tables([judge(rows.slice(at, 2)).kept for at in (4, 0, 2)])
    assert pieces.sort_by("id").equals(whole.sort_by("id"))


def test_a_second_run_is_paid_by_the_cache(tiny_judge: Callable[..., Callable[[pa.Table], Outcome]]) -> None:
    rows = table(6)
    first, second = tiny_judge(share=1, again=0)(rows), tiny_judge(share=1, again=0)(rows)
    assert second.kept.equals(first.kept)
    assert (second.usage.cached, second.usage.prompt_tokens) == (12, 0)
    assert first.usage.prompt_tokens > 0


def test_a_row_that_the_judge_cannot_read_fails_alone(tiny_judge: Callable[..., Callable[[pa.Table], Outcome]]) -> None:
    rows = documents([{"text": text, "source": str(i)} for i, text in enumerate(("ok", "x" * 5000, "fine"))])
    outcome = tiny_judge(share=1, excerpt_chars=6000)(rows)
    check_outcome(Annotate(), rows, outcome)
    (failed,) = outcome.failed.to_pylist()
    assert failed["id"] == rows["id"][1].as_py()
    assert failed["reason"] == "judge_failed"
    assert "too long" in failed["detail"]
    assert outcome.kept["score.judge"].null_count == 0


def test_a_rating_that_is_no_number_is_a_failed_verdict(
    tiny_judge: Callable[..., Callable[[pa.Table], Outcome]],
) -> None:
    answers = {"1": 1.0, "2": float("inf"), "3": float("-inf")}
    rubric = AnswerRubric(kind="answer", instruction="i", question="q", answers=answers)
    outcome = tiny_judge(share=1, rubric=rubric)(table(2))
    assert outcome.kept.num_rows == 0
    assert outcome.failed["reason"].to_pylist() == ["judge_failed"] * 2
    assert outcome.failed["detail"].to_pylist() == ["nan is no rating"] * 2


def test_an_empty_table(tiny_judge: Callable[..., Callable[[pa.Table], Outcome]]) -> None:
    outcome = tiny_judge()(table(0))
    assert outcome.kept.num_rows == 0
    assert outcome.kept.schema.field("score.judge").type == pa.float32()


def test_a_rubric_of_ones_own_rates_with_the_answers_it_names(
    tiny_judge: Callable[..., Callable[[pa.Table], Outcome]],
) -> None:
    rubric = AnswerRubric(kind="answer", instruction="i", question="q", answers={"1": 1, "2": 2, "3": 3})
    scores = tiny_judge(share=1, rubric=rubric)(table(5)).kept["score.judge"].to_pylist()
    assert all(1 < score < 3 for score in scores)


def test_the_contents_of_the_rubric_are_identity() -> None:
    named = Annotate()
    assert Annotate(rubric=named._rubric()).identity() == named.identity()
    changed = named._rubric().model_copy(update={"good": ("Something else.",)})
    assert Annotate(rubric=changed).identity() != named.identity()


def test_a_larger_sample_contains_a_smaller_one() -> None:
    ids = [f"{i:032x}" for i in range(2000)]
    small, large = ({i for i in ids if in_sample(i, share)} for share in (0.1, 0.3))
    assert small < large
    assert 150 < len(small) < 250
    assert all(in_sample(i, 1) for i in ids)


@pytest.mark.parametrize(
    ("text", "cut"), [("one two three", "one two"), ("unbroken" * 5, "unbrokenun"), ("short", "short")]
)
def test_an_excerpt_ends_behind_a_word(text: str, cut: str) -> None:
    assert excerpt(text, 10) == cut


def test_an_excerpt_of_a_text_without_spaces_is_as_long_as_others() -> None:
    text = "数学 " + "勾股定理是几何学的基本定理之一" * 200
    assert excerpt(text, 700) == text[:700]
    assert excerpt(f"{'word ' * 140}{'x' * 60}", 698) == ("word " * 140)[:694]


@pytest.mark.parametrize(
    "fields", [{"share": 0}, {"share": 1.5}, {"rubric": "no-such"}, {"temperature": 1}, {"reading": "reply"}]
)
def test_wrong_parameters_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises((ValidationError, RecipeError), match=r"share|rubric|temperature|reply"):
        Annotate(**fields)


@pytest.mark.parametrize("llm", ["openai:judge@http://host/v1", "llamacpp:smollm2-135m"])
def test_a_rubric_that_weighs_texts_is_refused_with_a_back_end_that_cannot(llm: str) -> None:
    with pytest.raises(ValidationError, match="educational-rating"):
        Annotate(llm=llm)
    Annotate(llm=llm, rubric="educational-rating")
