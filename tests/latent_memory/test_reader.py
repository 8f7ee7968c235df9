import pytest
import torch

from latent_memory.generator import Generator, Reading
from latent_memory.reader import START, Reader
from tiers.errors import ModelError


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def reader(generator: Generator) -> Reader:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = Reader(generator.hidden)
        made.requires_grad_(False).start(generator.embedding, generator.embedding)
        torch.nn.init.normal_(made.key.weight, std=0.1)
    return made.eval()


def test_an_untrained_reader_makes_the_words_of_a_latent_likelier(reader: Reader, generator: Generator) -> None:
    pairs = [[5, 90], [12, 40], [70, 200], [33, 101], [8, 250], [61, 140]]
    latents = [generator.embedding[ids].sum(0, keepdim=True) for ids in pairs]
    states = torch.zeros(len(pairs), generator.hidden)  # which asks for nothing in particular
    added = generator.logits(reader(states, latents), generator.embedding)  # a tied output head
    ranks = added.argsort(1, descending=True).argsort(1)
    assert max(int(row[ids].max()) for row, ids in zip(ranks, pairs, strict=True)) < 20  # of 258
    assert START / 4 < float(added.std()) < START * 4


def test_a_row_without_latents_is_left_alone_and_padding_changes_nothing(reader: Reader, generator: Generator) -> None:
    states = torch.randn(3, generator.hidden)
    contexts = [torch.randn(3, generator.hidden), None, torch.randn(1, generator.hidden)]
    together = reader(states, contexts)
    assert together[1].abs().max() == 0
    for row in (0, 2):
        assert (reader(states[row : row + 1], [contexts[row]])[0] - together[row]).abs().max() < 1e-5
    assert reader(states, [None] * 3).abs().max() == 0


def test_a_question_takes_its_own_words_off(reader: Reader, generator: Generator) -> None:
    held, repeated = generator.embedding[[5, 90]].sum(0, keepdim=True), generator.embedding[5]
    states = torch.zeros(1, generator.hidden)
    plain = generator.logits(reader(states, [held]), generator.embedding)[0]
    asked = generator.logits(reader(states, [held], repeated[None]), generator.embedding)[0]
    assert (asked - plain)[5] < (asked - plain)[90] - START


def test_readings_must_agree_on_whether_their_questions_are_known(reader: Reader, generator: Generator) -> None:
    latent = torch.randn(1, generator.hidden)
    known = Reading("Who?", latent, asked=torch.randn(generator.hidden))
    with pytest.raises(ModelError, match="question's latent"):
        generator.answer([known, Reading("Where?", latent)], reader)


def test_the_order_of_latents_does_not_matter_and_all_of_them_are_read(reader: Reader, generator: Generator) -> None:
    states, latents = torch.randn(1, generator.hidden), torch.randn(3, generator.hidden)
    whole = reader(states, [latents])
    assert (reader(states, [latents.flip(0)]) - whole).abs().max() < 1e-5
    for left_out in range(3):
        rest = torch.cat([latents[:left_out], latents[left_out + 1 :]])
        assert (reader(states, [rest]) - whole).abs().max() > 1e-3


def test_answers_and_scores_with_a_reader_agree(reader: Reader, generator: Generator) -> None:
    readings = [Reading(question, torch.randn(2, generator.hidden)) for question in ("Who?", "When was it built?")]
    end = generator.tokenizer.eos_token_id
    for reading, answer in zip(readings, generator.answer(readings, reader, max_tokens=3), strict=True):
        tokens: list[int] = []
        while len(tokens) < 3 and end not in tokens:
            scored = generator.score([Reading(reading.question, reading.context, (*tokens, end))], reader)
            tokens.append(int(scored[-1].argmax()))
        assert answer == generator.tokenizer.decode(tokens, skip_special_tokens=True).strip()
