from pathlib import Path

import pytest
import torch

from latent_memory.slots import Slots, Words, turned
from tiers.llm.models import load_causal_lm


@pytest.fixture(scope="module")
def words(tiny_model: Path) -> Words:
    return Words(load_causal_lm(str(tiny_model), tiny_model)[1])


def test_tokens_are_numbered_in_their_words(words: Words) -> None:
    ids = words.tokenizer(" It cost 1774, not 1747.", add_special_tokens=False)["input_ids"]
    pieces = [words.tokenizer.decode([token]) for token in ids]
    places, numbers = words.layout(ids)
    spelled: dict[int, str] = {}
    for piece, number in zip(pieces, numbers, strict=True):
        spelled[number] = spelled.get(number, "") + piece
    assert [text.strip() for text in spelled.values()] == ["It", "cost", "1774", ",", "not", "1747", "."]
    for number in set(numbers):
        own = [place for place, n, piece in zip(places, numbers, pieces, strict=True) if n == number and piece.strip()]
        assert own == list(range(len(own)))


def test_turning_is_undone_and_tells_places_apart() -> None:
    numbers = torch.randn(5, 56, generator=torch.Generator().manual_seed(0))
    places = torch.arange(5)
    there = turned(numbers, places)
    assert torch.equal(turned(there, places, back=True), numbers)
    assert torch.equal(there[0], numbers[0])
    assert all(torch.cosine_similarity(there[i], numbers[i], dim=0).abs() < 0.5 for i in range(1, 5))


@pytest.fixture
def slots() -> Slots:
    made = Slots(hidden=32, slots=4, size=16)
    made.start(torch.randn(300, 32, generator=torch.Generator().manual_seed(1)))
    return made.requires_grad_(False)


def _rows(*values: list[int]) -> torch.Tensor:
    return torch.tensor([list(row) for row in values])


def test_words_of_equal_salience_have_a_slot_each_and_padding_none(slots: Slots) -> None:
    embedded = torch.randn(1, 5, 32, generator=torch.Generator().manual_seed(2))
    weights = torch.tensor([[0.0, 1.0, 1.0, 1.0, 1.0]])  # the first is padding
    out = slots(embedded, torch.zeros(1, 5, 32), weights, _rows([0] * 5), _rows([0, 0, 1, 2, 3]))[0]
    for number in range(4):
        own = slots.spelled(embedded[0, number + 1])
        assert torch.cosine_similarity(out[number], own, dim=0) > 0.999


def test_what_has_no_salience_leaves_slots_empty(slots: Slots) -> None:
    embedded = torch.randn(1, 2, 32, generator=torch.Generator().manual_seed(2))
    out = slots(embedded, torch.zeros(1, 2, 32), torch.ones(1, 2), _rows([0, 1]), _rows([0, 0]))[0]
    assert [bool(row.abs().sum() > 0) for row in out] == [False, False, True, False]  # one word, in the middle


def test_the_order_of_tokens_in_a_word_is_kept(slots: Slots) -> None:
    embedded = torch.randn(1, 2, 32, generator=torch.Generator().manual_seed(2))
    states, weights, words = torch.zeros(1, 2, 32), torch.ones(1, 2), _rows([0, 0])
    one, other = (slots(e, states, weights, _rows([0, 1]), words)[0, 2] for e in (embedded, embedded.flip(1)))
    assert torch.cosine_similarity(one, other, dim=0) < 0.7
    first = slots.spelled(embedded[0, 0])
    assert torch.cosine_similarity(one, first, dim=0) > torch.cosine_similarity(other, first, dim=0)
