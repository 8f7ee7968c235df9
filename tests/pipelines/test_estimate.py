"""What a recipe will come to is estimated from a sample, without asking a server anything."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.artifact import Store
from pipelines.cli import app
from pipelines.estimate import estimate
from pipelines.recipe import load_recipe
from pipelines.spending import run_spending
from pipelines.status import run_status
from tests.pipelines.conftest import paragraphs
from tests.served_model import serving
from tiers.errors import LLMError
from tiers.llm.prices import Price
from tiers.llm.spending import total
from tiers.llm.token_guess import BYTES_PER_TOKEN
from tiers.llm.transformers_llm import TransformersLLM

DOCUMENTS, FILES = 320, 10
RUBRIC = {"kind": "answer", "instruction": "Rate.", "question": "How good?", "answers": {"1": 1.0, "2": 2.0}}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of unlike sizes."""
    folder = tmp_path_factory.mktemp("estimated")
    texts = list(dict.fromkeys(paragraphs()))[:DOCUMENTS]
    start = 0
    for number in range(FILES):
        end = DOCUMENTS if number == FILES - 1 else start + 12 + 4 * number
        rows = [json.dumps({"text": text}) for text in texts[start:end]]
        (folder / f"part-{number}.jsonl").write_text("\n".join(rows))
        start = end
    return folder


@pytest.fixture
def recipe(inputs: Path, write_recipe: Callable[..., Path]) -> Callable[..., Path]:
    def write(llm: str, share: float = 1.0, last: int = FILES, **changes: object) -> Path:
        judge = {"llm": llm, "rubric": RUBRIC, "share": share, "excerpt_chars": 300}
        stages = [{"annotate": judge}, {"distil": {"least": 10}}, {"select": {"keep_share": 0.25}}]
        files = [{"path": str(file)} for file in sorted(inputs.glob("*.jsonl"))[-last:]]
        return write_recipe(inputs=files, l1=["exact_duplicates"], l2=stages, **changes)

    return write


def test_an_estimate_foretells_the_run_and_asks_nobody(recipe: Callable, tiny_model: Path, tmp_path: Path) -> None:
    price = Price(prompt=3, completion=10)
    with serving(TransformersLLM(str(tiny_model), tiny_model.parent)) as served:
        written = recipe(f"openai:tiny@{served.url}", prices={"openai:tiny": price.model_dump()})
        found = estimate(load_recipe(written), tiny_model.parent, documents=160)
        assert served.seen == []
        assert (
            CliRunner().invoke(app, ["run", str(written), "--out", str(tmp_path), "--engine", "local"]).exit_code == 0
        )
    raw, filtered, scored = run_status(Store(str(tmp_path)))["tiers"]
    assert found.ended == ""
    assert found.sampled < DOCUMENTS
    assert found.documents == pytest.approx(DOCUMENTS, rel=0.1)
    for told, tier in zip(found.tiers, (raw, filtered, scored), strict=True):
        assert told.rows.value == pytest.approx(tier["rows"], rel=0.2)
        assert told.tokens.low * 0.9 <= tier["tokens"] <= told.tokens.high * 1.1
        assert told.rows.low <= told.rows.value <= told.rows.high
    spent = total(run_spending(Store(str(tmp_path))))
    judged = found.tiers[2]
    assert judged.llm_requests.value == pytest.approx(spent.requests, rel=0.2)
    guessed = judged.llm_prompt_tokens.value * BYTES_PER_TOKEN  # the tiny model's tokens are bytes
    assert guessed == pytest.approx(spent.prompt_tokens, rel=0.2)
    assert judged.cost.value == pytest.approx(
        price.of(judged.llm_prompt_tokens.value, judged.llm_completion_tokens.value), rel=1e-6
    )
    assert found.total.cost == judged.cost


def test_where_every_document_is_tried_nothing_is_uncertain(recipe: Callable, tiny_model: Path) -> None:
    found = estimate(load_recipe(recipe("openai:m@http://nowhere/v1", last=1)), tiny_model.parent, 10 * DOCUMENTS)
    assert found.sampled == found.documents
    assert found.total.llm_requests.low == found.total.llm_requests.high > 0
    assert found.unpriced == ["openai:m@http://nowhere/v1"]


def test_a_share_is_of_all_and_not_of_the_sample(recipe: Callable, tiny_model: Path) -> None:
    whole, part = (
        estimate(load_recipe(recipe("openai:m@http://nowhere/v1", share)), tiny_model.parent, 100).total
        for share in (1.0, 0.001)
    )
    assert part.llm_requests.value == pytest.approx(whole.llm_requests.value / 1000)


def test_what_is_made_of_products_is_counted(inputs: Path, write_recipe: Callable[..., Path], tiny_model: Path) -> None:
    """Documents pass by a stage that writes from a part of them; what is written goes through the stages behind it."""
    llm = "openai:m@http://nowhere/v1"

    def requests(*l3: dict) -> float:
        stages = [{name: {"llm": llm, **parameters}} for stage in l3 for name, parameters in stage.items()]
        files = [{"path": str(file)} for file in sorted(inputs.glob("*.jsonl"))[-1:]]
        written = write_recipe(
            inputs=files, l1=["exact_duplicates"], l2=[{"annotate": {"llm": llm, "rubric": RUBRIC}}], l3=stages
        )
        found = estimate(load_recipe(written), tiny_model.parent, 10 * DOCUMENTS)
        return found.tiers[-1].llm_requests.value

    documents = requests({"edit_by_program": {}})
    rewritten, talks = ({"synthesise": {"family": family, "share": 0.5}} for family in ("rewrite", "conversation"))
    each = requests(rewritten)
    assert 0.3 * documents < each < 0.7 * documents
    assert requests(rewritten, talks, {"edit_by_program": {}}) > each + 0.3 * documents + documents
    asked = requests({"synthesise": {"family": "qa", "share": 1}}, {"checkable_tasks": {"rollouts": 4}})
    assert 0.9 * documents * (1 + 1 + 4) < asked <= documents * (1 + 1 + 4)  # an edit may take two windows


def test_a_model_in_this_process_is_timed_and_counts_its_own_tokens(recipe: Callable, tiny_model: Path) -> None:
    (local, remote) = (
        estimate(load_recipe(recipe(llm)), tiny_model.parent, 100).total
        for llm in (str(tiny_model), "openai:m@http://nowhere/v1")
    )
    assert local.llm_cpu_seconds.value > 0
    assert remote.llm_cpu_seconds.value == 0
    assert local.llm_prompt_tokens.value > 3 * remote.llm_prompt_tokens.value


def test_a_server_is_timed_if_it_may_be_asked(recipe: Callable, tiny_model: Path) -> None:
    with serving(TransformersLLM(str(tiny_model), tiny_model.parent)) as served:
        written = recipe(f"openai:tiny@{served.url}")
        told = CliRunner().invoke(app, ["plan", str(written), "--documents", "100", "--ask-servers"])
        assert told.exit_code == 0, told.output
        assert "16 requests under way" in " ".join(told.output.split())
        assert 16 <= len(served.seen) <= 2 * 16  # of the judge, and of the judge asked again
        found = estimate(load_recipe(written), tiny_model.parent, 100, ask_servers=True).total
        assert found.llm_server_seconds.value > found.llm_cpu_seconds.value == 0
        served.failures += [400] * 16
        with pytest.raises(LLMError, match="didn't answer all"):
            estimate(load_recipe(written), tiny_model.parent, 100, ask_servers=True)


def test_what_the_sample_cannot_go_through_is_said(recipe: Callable, tiny_model: Path) -> None:
    found = estimate(load_recipe(recipe("openai:m@http://nowhere/v1")), tiny_model.parent, 8)
    assert [tier.tier for tier in found.tiers] == ["L0", "L1"]
    assert "L2 can't be tried on the sample" in found.ended
    assert "at least 10" in found.ended


def test_the_command_prints_a_table(recipe: Callable) -> None:
    written = recipe("openai:gpt-4.1-mini@https://api.openai.com/v1")
    told = CliRunner().invoke(app, ["plan", str(written), "--documents", "100"])
    assert told.exit_code == 0, told.output
    for words in ("tokens out, ≤", "USD", "one for 4 bytes of UTF-8", "middle 90 %"):
        assert words in " ".join(told.output.split())
    as_json = CliRunner().invoke(app, ["plan", str(written), "--documents", "100", "--json"])
    assert json.loads(as_json.stdout)["currency"] == "USD"
