from pathlib import Path

import pytest
import torch

from latent_memory.compressor import Compressor, encode, together
from latent_memory.generator import Generator, Reading, said_last
from latent_memory.reader import Latents, Reader, ReaderConfig, Thought, mixed, said_in_a_row
from latent_memory.words import NO_WORD
from tests.latent_memory.conftest import make_compressor

EVIDENCE = ["The tower of Ada stands by the river.", "In 1889 people came to see it."]
QUESTIONS = ["Where does the tower of Ada stand?", "When did people come?"]
KEY, HIDDEN, VOCABULARY = 8, 16, 60


@pytest.fixture
def reader() -> Reader:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = Reader(HIDDEN, KEY, ReaderConfig(size=8))
        torch.nn.init.normal_(made.hint.weight)
        for parameter in (made.matching.around, made.matching.piece, made.matching.weigh.weight):
            torch.nn.init.normal_(parameter, std=0.1)
    return made.eval().requires_grad_(False)


@pytest.fixture
def embedding() -> torch.Tensor:
    return torch.randn(VOCABULARY, HIDDEN, generator=torch.Generator().manual_seed(1))


def _latents(words: list[int], seed: int = 2) -> Latents:
    keys = torch.randn(len(words), KEY, generator=torch.Generator().manual_seed(seed))
    return Latents(torch.zeros(1, HIDDEN), torch.tensor(words), keys, torch.zeros(len(words), dtype=torch.long))


def _thought(count: int) -> Thought:
    some = torch.Generator().manual_seed(3)
    return Thought(torch.randn(count, HIDDEN, generator=some), torch.randn(count, HIDDEN, generator=some))


def test_a_reader_points_where_the_key_is_what_it_asks_for(reader: Reader, embedding: torch.Tensor) -> None:
    thought, latents = _thought(1), _latents([5, 6, 7, 8])
    states = torch.nn.functional.layer_norm(thought.asking, (HIDDEN,))
    latents.keys[2] = reader.query(states)[0, :KEY] * 3
    read = reader(thought, reader.look([latents], [[3]], embedding), torch.tensor([0]), said_last([[]]), embedding)
    assert int(read.pointed.argmax()) == 2
    assert read.pointed.sum().item() == pytest.approx(1.0)
    assert read.follows.sum() == 0  # nothing was said that could go on


def test_it_goes_on_behind_what_was_said_and_best_where_most_of_it_stands() -> None:
    words = torch.tensor([[5, 6, 7, 9, 6, 8, NO_WORD]])
    assert said_in_a_row(words, said_last([[5, 6]])).tolist() == [[0, 0, 2, 0, 0, 1, 0]]
    assert said_in_a_row(words, said_last([[]])).sum() == 0
    assert said_in_a_row(words, said_last([[1, 2, 3]])).sum() == 0


def test_nothing_goes_on_into_an_empty_slot_and_none_is_pointed_at(reader: Reader, embedding: torch.Tensor) -> None:
    read = reader(
        _thought(1),
        reader.look([_latents([5, 6, NO_WORD])], [[3]], embedding),
        torch.tensor([0]),
        said_last([[5, 6]]),
        embedding,
    )
    assert read.follows.sum() == 0
    assert read.pointed[0, 2] == 0
    assert read.parts[0, 1].exp() == 0


def test_the_mixture_is_a_distribution_and_says_what_its_parts_do(reader: Reader, embedding: torch.Tensor) -> None:
    look = reader.look([_latents([5, 6, 5, 7]), _latents([9, NO_WORD])], [[3], [5, 4]], embedding)
    parts = [[], [5], [9, 1]]
    read = reader(_thought(3), look, torch.tensor([0, 0, 1]), said_last(parts), embedding)
    logits = torch.randn(3, VOCABULARY, generator=torch.Generator().manual_seed(4))
    whole = mixed(read, logits, end=0)
    assert whole.exp().sum(1).tolist() == pytest.approx([1.0] * 3, abs=1e-5)
    own = logits.softmax(1) * read.parts[:, 3:].exp()
    for token in range(VOCABULARY):
        ends = read.parts[:, 2].exp() if token == 0 else 0
        expected = own[:, token] + read.of_words(torch.full((3,), token)) + ends
        assert torch.allclose(whole[:, token].exp(), expected, atol=1e-6)


def test_a_reading_does_not_depend_on_its_batch(reader: Reader, embedding: torch.Tensor) -> None:
    contexts, asked = [together([_latents([5, 6, 7]), _latents([8, 5], 5)]), _latents([6], 6)], [[3], [5, 8, 4]]
    thought, said = _thought(2), said_last([[5], []])
    whole = reader(thought, reader.look(contexts, asked, embedding), torch.arange(2), said, embedding)
    for row, context in enumerate(contexts):
        own = Thought(thought.last[row : row + 1], thought.asking[row : row + 1])
        alone = reader(
            own,
            reader.look([context], asked[row : row + 1], embedding),
            torch.zeros(1).long(),
            said[row : row + 1],
            embedding,
        )
        logits = torch.zeros(1, VOCABULARY)
        both = (mixed(alone, logits, 0)[0], mixed(whole, logits.expand(2, -1), 0)[row])
        assert (both[0] - both[1]).abs().max() < 1e-5
        assert (alone.change[0] - whole.change[row]).abs().max() < 1e-5


@pytest.fixture
def ready(tiny_model: Path) -> Compressor:
    return make_compressor(tiny_model).requires_grad_(False)


def _contexts(compressor: Compressor) -> list[Latents]:
    return compressor.latents(torch.from_numpy(encode(compressor, EVIDENCE, "evidence")[0]))


def test_text_beside_latents_is_read_without_the_reader(ready: Compressor, generator: Generator) -> None:
    text = Reading(QUESTIONS[0], generator.embed(EVIDENCE[0]), generator.answer_ids("yes"))
    latents = Reading(QUESTIONS[1], _contexts(ready)[1], generator.answer_ids("1889", blank=True))
    both = generator.score([text, latents], ready.reader)
    alone = torch.cat([generator.score([text]), generator.score([latents], ready.reader)])
    assert (both - alone).abs().max() < 1e-3
    assert (alone[-1] - generator.score([latents])[-1]).abs().max() > 1e-2


def test_answers_and_scores_with_a_reader_agree(ready: Compressor, generator: Generator) -> None:
    readings = [Reading(question, c) for question, c in zip(QUESTIONS, _contexts(ready), strict=True)]
    end = generator.tokenizer.eos_token_id
    for reading, answer in zip(readings, generator.answer(readings, ready.reader, max_tokens=4), strict=True):
        tokens: list[int] = []
        while len(tokens) < 4 and end not in tokens:
            row = Reading(reading.question, reading.context, (*tokens, end))
            tokens.append(int(generator.score([row], ready.reader)[-1].argmax()))
        assert answer == generator.tokenizer.decode(tokens, skip_special_tokens=True).strip()
