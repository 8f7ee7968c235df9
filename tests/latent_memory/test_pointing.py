from pathlib import Path

import pytest
import torch

from latent_memory import objectives
from latent_memory.compressor import Compressor
from latent_memory.pointing import Held, held
from latent_memory.slots import Words
from tests.latent_memory.conftest import make_compressor

EVIDENCE = "Ada met Bob in Rome, and in Rome she stayed."


@pytest.fixture
def compressor(tiny_model: Path) -> Compressor:
    return make_compressor(tiny_model)


def _held(compressor: Compressor, answer: str) -> list[Held]:
    words: Words = compressor.words
    ids = words.tokenizer(answer, add_special_tokens=False)["input_ids"]
    return held(words, compressor.tokenize([EVIDENCE])[0], words, ids)


def test_an_answer_s_tokens_are_held_by_its_words_wherever_they_stand(compressor: Compressor) -> None:
    written = compressor.words.written(compressor.tokenize([EVIDENCE])[0])
    assert written == ["ada", "met", "bob", "in", "rome", ",", "and", "in", "rome", "she", "stayed", "."]
    found = _held(compressor, "in rome")  # a byte is a token here
    assert [one.position for one in found] == list(range(len("in rome")))
    assert {one.words for one in found[:2]} == {(3, 7)}
    assert {one.words for one in found[-4:]} == {(4, 8)}
    assert [one.rest for one in found[:2]] == [0, 1]


@pytest.mark.parametrize("answer", ["Paris", "Rome in", "Bob Rome", ""])
def test_what_does_not_stand_there_in_one_piece_is_not_held(compressor: Compressor, answer: str) -> None:
    assert _held(compressor, answer) == []


def test_words_go_to_the_slots_that_the_latent_has_them_in(compressor: Compressor) -> None:
    """Without a word, the slots of the others hold what they held, and its own changes."""
    ids = compressor.tokenize([EVIDENCE])[0]
    states = compressor.states([ids], "evidence")
    slots = compressor.slot_of_words(ids)
    whole = compressor.encoded(states).code.unflatten(1, (-1, compressor.config.slot_size))[0]
    _, words = compressor.words.layout(ids)
    for word in (0, 4, 11):
        at = [number for number, own in enumerate(words) if own == word]
        embedded = states.embedded.clone()
        embedded[:, at] += 1.0 + torch.randn(embedded.shape[-1], generator=torch.Generator().manual_seed(0))
        changed = compressor.encoded(states._replace(embedded=embedded)).code.unflatten(1, (-1, whole.shape[1]))[0]
        different = (changed - whole).abs().amax(1) > 1e-6
        assert different.nonzero().ravel().tolist() == [slots[word]]
    assert slots == sorted(slots)


def test_pointing_elsewhere_costs_and_what_is_not_known_does_not_count() -> None:
    pointed = torch.tensor([[[0.7, 0.2, 0.1], [0.1, 0.1, 0.1]], [[0.2, 0.3, 0.5], [0.0, 0.0, 1.0]]], requires_grad=True)
    wanted = torch.zeros(2, 2, 3)
    assert objectives.pointing(pointed, wanted).item() == 0
    wanted[0, 0, [0, 1]] = 1
    wanted[1, 1, 2] = 1
    assert objectives.pointing(pointed, wanted).item() == pytest.approx(-(torch.tensor(0.9).log().item()) / 2, abs=1e-4)
    objectives.pointing(pointed, wanted).backward()
    assert pointed.grad is not None
    assert not pointed.grad[0, 1].any()
    assert (pointed.grad[0, 0, :2] < 0).all()
