import pytest
import torch

from latent_memory.matching import Matching
from latent_memory.words import NO_WORD

HIDDEN, VOCABULARY = 24, 50


@pytest.fixture
def embedding() -> torch.Tensor:
    return torch.randn(VOCABULARY, HIDDEN, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def matching() -> Matching:
    made = Matching(HIDDEN)
    with torch.no_grad():
        made.around[0, :] = 0.1  # equal words on either side
        made.piece[0] = 0.1
        made.rank.fill_(0.1)
    return made.requires_grad_(False)


def test_a_slot_near_a_word_of_the_question_is_likelier(matching: Matching, embedding: torch.Tensor) -> None:
    words = torch.tensor([[5, 6, 7, *range(20, 35), 9]])
    likely = matching(words, torch.zeros_like(words), torch.tensor([[6, 40]]), embedding)[0][0]
    assert likely[:9].min() > likely[9:].max()  # the 7 slots behind the second one
    assert likely[9:].std() == 0


def test_a_word_of_another_piece_is_not_near(matching: Matching, embedding: torch.Tensor) -> None:
    words, pieces = torch.tensor([[5, 6, 7, 8]]), torch.tensor([[0, 0, 1, 1]])
    matching.rank.zero_()
    likely = matching(words, pieces, torch.tensor([[6]]), embedding)[0][0]
    assert likely[0] == likely[1] > 0
    assert likely[2:].tolist() == [0, 0]


def test_what_was_found_first_is_likelier_and_empty_slots_say_nothing(
    matching: Matching, embedding: torch.Tensor
) -> None:
    words = torch.tensor([[5, NO_WORD, 5, NO_WORD, 5, NO_WORD]])
    likely = matching(words, torch.tensor([[0, 0, 1, 1, 2, 2]]), torch.tensor([[5, NO_WORD]]), embedding)[0][0]
    assert likely[0] > likely[2] > likely[4]
    away = matching(words, torch.tensor([[0, 0, 1, 1, 2, 2]]), torch.tensor([[NO_WORD]]), embedding)[0][0]
    assert away[0] == 0  # no word that could be found


def test_words_behind_a_question_and_slots_behind_a_reading_change_nothing(
    matching: Matching, embedding: torch.Tensor
) -> None:
    words, pieces = torch.tensor([[5, 6, 7, 8]]), torch.tensor([[0, 0, 1, 1]])
    torch.nn.init.normal_(matching.around)
    torch.nn.init.normal_(matching.weigh.weight)
    alone, share = matching(words, pieces, torch.tensor([[6, 9]]), embedding)
    longer = torch.nn.functional.pad(words, (0, 3), value=NO_WORD), torch.nn.functional.pad(pieces, (0, 3))
    padded, padded_share = matching(*longer, torch.tensor([[6, 9, NO_WORD, NO_WORD]]), embedding)
    assert torch.allclose(alone, padded[:, :4], atol=1e-4)
    assert torch.allclose(share, padded_share[:, :4], atol=1e-6)


def test_a_piece_has_the_share_of_the_question_that_its_words_are(matching: Matching, embedding: torch.Tensor) -> None:
    words, pieces = torch.tensor([[5, 6, 7, 8]]), torch.tensor([[0, 0, 1, 1]])
    asked = torch.tensor([[6, 5, 9, 30]])
    assert torch.allclose(matching(words, pieces, asked, embedding)[1], torch.tensor([[0.5, 0.5, 0.0, 0.0]]))


def test_a_question_s_words_start_to_weigh_what_they_are_rare(embedding: torch.Tensor) -> None:
    matching = Matching(HIDDEN)
    rarity = embedding @ torch.randn(HIDDEN, generator=torch.Generator().manual_seed(2)) * 0.05
    rarity[-5:] = 2.0  # no text has these
    matching.start(embedding, rarity)
    said = matching.weigh(torch.nn.functional.normalize(embedding - embedding.mean(0), dim=-1))[:-5, 0]
    assert torch.corrcoef(torch.stack([said, rarity[:-5]]))[0, 1] > 0.9
