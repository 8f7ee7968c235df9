import pytest
import torch

from latent_memory.compressor import Compressor
from latent_memory.data import Question
from latent_memory.evaluate import answer_loss, bootstrap, derangement, evaluate, exact_match, normalise, token_f1
from latent_memory.generator import Generator


@pytest.mark.parametrize(
    ("answer", "accepted", "f1", "exact"),
    [
        ("The Eiffel Tower.", ["Eiffel tower"], 1.0, 1.0),
        ("in 1889", ["1889"], 2 / 3, 0.0),
        ("nobody", ["Gustave Eiffel"], 0.0, 0.0),
        ("", ["1889"], 0.0, 0.0),
        ("Stanley Hall", ["G. Stanley Hall", "Stanley Hall"], 1.0, 1.0),
        ("the the cat cat", ["cat"], 2 / 3, 0.0),
    ],
)
def test_f1_and_exact_match_follow_squad(answer: str, accepted: list[str], f1: float, exact: float) -> None:
    assert token_f1(answer, accepted) == pytest.approx(f1)
    assert exact_match(answer, accepted) == exact


def test_normalise_drops_articles_punctuation_and_case() -> None:
    assert normalise("  An   apple, a day: THE doctor's ") == "apple day doctors"


def test_a_bootstrap_interval_holds_the_mean_and_narrows_with_more_values() -> None:
    few, many = bootstrap([0.0, 1.0] * 10), bootstrap([0.0, 1.0] * 500)
    assert few.low < few.mean == 0.5 < few.high
    assert many.high - many.low < (few.high - few.low) / 3
    assert bootstrap([0.3] * 8) == bootstrap([0.3] * 9)


def test_a_derangement_shares_no_evidence_and_prefers_the_same_number_of_pieces() -> None:
    own = [[0], [0], [1], [2, 3], [4, 5], [1]]
    chosen = derangement(own)
    assert all(not set(own[i]) & set(own[j]) for i, j in enumerate(chosen))
    assert chosen[3] == 4
    assert chosen[4] == 3


def test_every_condition_reads_what_it_says(compressor: Compressor, generator: Generator) -> None:
    questions = [
        Question("Where is Ada?", ("Rome",), ("Ada lives in Rome.", "Rome is a city.")),
        Question("Where is Bob?", ("Oslo",), ("Bob lives in Oslo.", "Oslo is a city.")),
    ]
    result = evaluate(questions, ["Nobody lives here."], compressor, generator, k=3)
    conditions = result["conditions"]
    assert isinstance(conditions, dict)
    tokens = {name: figures["context_tokens"] for name, figures in conditions.items()}
    found = tokens.pop("retrieved raw")
    one, raw = ("latent", "latent, unread", "shuffled"), {"none": 0, "raw": 34, "retrieved": 3}  # a byte tokenizer
    assert tokens == {**dict.fromkeys(one, 2), **raw}
    assert found > 3 * 15
    assert result["pool"] == 5
    assert conditions["latent"]["answer_loss"] != conditions["latent, unread"]["answer_loss"]
    assert conditions["latent"]["answer_loss"] != conditions["shuffled"]["answer_loss"]


def test_the_loss_of_an_answer_is_that_of_its_tokens(generator: Generator) -> None:
    questions = [Question("Who?", ("me",), ("It is me.",)), Question("Where is it now?", ("there",), ("There.",))]
    together = answer_loss(generator, questions, [None, torch.ones(1, 32)])
    assert together[0] == pytest.approx(answer_loss(generator, questions[:1], [None])[0], abs=1e-3)
    assert together[1] == pytest.approx(answer_loss(generator, questions[1:], [torch.ones(1, 32)])[0], abs=1e-3)
    assert min(together) > 0
