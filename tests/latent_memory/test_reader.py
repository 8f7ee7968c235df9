from pathlib import Path

import pytest
import torch
from torch import Tensor

from latent_memory.compressor import Compressor, encode, encode_questions, together
from latent_memory.generator import Generator, Reading
from latent_memory.reader import Asked, Latents, Reader, Said
from tests.latent_memory.conftest import make_compressor
from tiers.errors import ModelError

EVIDENCE = ["The tower of Ada stands beside the old river.", "In 1889 many people came to see the new bridge."]
QUESTIONS = ["Where does the tower of Ada stand?", "When did people come to the bridge?"]


@pytest.fixture
def ready(tiny_model: Path, generator: Generator) -> Compressor:
    """A compressor whose slots hold words and nothing else, with a reader that can spell and was never trained."""
    compressor = make_compressor(tiny_model)
    for parameter in (*compressor.slots.contextual.parameters(), *compressor.reader.hint.parameters()):
        torch.nn.init.zeros_(parameter)
    return compressor.requires_grad_(False)


def _contexts(compressor: Compressor) -> list[Latents]:
    return compressor.latents(torch.from_numpy(encode(compressor, EVIDENCE, "evidence")[0]))


def _slots_of(compressor: Compressor, ids: list[int]) -> Latents:
    """One latent with a token in each slot, not its beginning."""
    embedding = compressor.base.get_input_embeddings().weight
    slots = compressor.slots.spelled(embedding[torch.tensor(ids)])
    return Latents(torch.zeros(1, embedding.shape[1]), slots, len(slots))


def _asked(compressor: Compressor, word: Tensor) -> Asked:
    """A question of one word (1, W)."""
    return Asked(word, torch.zeros(1, compressor.memory_token.shape[0]), torch.ones(1))


def _nothing_asked(compressor: Compressor) -> Asked:
    return _asked(compressor, torch.zeros(1, compressor.config.slot_size))


def _first(count: int, hidden: int) -> Said:
    return Said(torch.zeros(count, hidden), torch.zeros(count, dtype=torch.long), torch.ones(count, dtype=torch.bool))


def test_an_untrained_reader_makes_the_words_of_a_latent_likelier(ready: Compressor, generator: Generator) -> None:
    ids = [5, 90, 120, 33]
    look = ready.reader.look([_slots_of(ready, ids)], [_nothing_asked(ready)])
    change = ready.reader(torch.zeros(1, generator.hidden), look, torch.tensor([0]), _first(1, generator.hidden)).change
    ranks = generator.logits(change, generator.embedding)[0].argsort(descending=True).argsort()
    assert float(ranks[ids].float().mean()) < 0.35 * len(
        ranks
    )  # chance is a half; eight numbers hold a token only roughly


def test_a_word_that_was_begun_goes_on(ready: Compressor, generator: Generator) -> None:
    """Two tokens of one word share a slot; behind the first, the second is likelier than the first again."""
    embedding = ready.base.get_input_embeddings().weight
    places = torch.tensor([[0, 1]])
    slots = ready.slots(
        embedding[[5, 90]][None], torch.zeros(1, 2, embedding.shape[1]), torch.ones(1, 2), places, places * 0
    )
    latents = Latents(torch.zeros(1, embedding.shape[1]), slots[0], slots.shape[1])
    look = ready.reader.look([latents], [_nothing_asked(ready)])
    said = Said(generator.embedding[[5]], torch.tensor([0]), torch.tensor([False]))
    change = ready.reader(torch.zeros(1, generator.hidden), look, torch.tensor([0]), said).change
    fresh = ready.reader(torch.zeros(1, generator.hidden), look, torch.tensor([0]), _first(1, generator.hidden)).change
    logits, before = (generator.logits(x, generator.embedding)[0] for x in (change, fresh))
    assert (logits - before)[90] > (logits - before)[5]


def test_a_slot_beside_the_words_of_the_question_counts_more_than_theirs(ready: Compressor) -> None:
    embedding = ready.base.get_input_embeddings().weight
    latents = _slots_of(ready, [5, 90, 120, 33])
    asked = _asked(ready, ready.slots.spelled(embedding[[90]]))
    whole = ready.reader.look([latents], [asked]).matches[0, :, 0]
    assert int(whole.argmax()) == 1
    points = ready.reader.points[0]
    scores = ready.reader.look([latents], [asked]).matches[0] @ points[:6]
    assert int(scores.argmin()) == 1
    assert scores[0] > scores[3]
    assert scores[2] > scores[3]


def test_evidence_has_edges(ready: Compressor) -> None:
    """The first slot of a piece is no neighbour of the last one of the piece before."""
    embedding = ready.base.get_input_embeddings().weight
    pieces = [_slots_of(ready, [5, 90, 120, 33]), _slots_of(ready, [7, 8, 9, 10])]
    asked = _asked(ready, ready.slots.spelled(embedding[[33]]))
    alone = ready.reader.look(pieces[1:], [asked]).matches
    assert torch.allclose(ready.reader.look([together(pieces)], [asked]).matches[:, 4:], alone, atol=1e-6)


def _changes(reader: Reader, states: Tensor, contexts: list[Latents], asked: list[Asked]) -> Tensor:
    look = reader.look(contexts, asked)
    return reader(states, look, torch.arange(len(states)), _first(len(states), states.shape[1])).change


def test_a_reading_does_not_depend_on_its_batch(ready: Compressor, generator: Generator) -> None:
    contexts = [together(_contexts(ready)), _contexts(ready)[1]]
    asked, _ = encode_questions(ready, QUESTIONS)
    states = torch.randn(2, generator.hidden, generator=torch.Generator().manual_seed(0))
    whole = _changes(ready.reader, states, contexts, asked)
    for row in range(2):
        alone = _changes(ready.reader, states[row : row + 1], contexts[row : row + 1], asked[row : row + 1])
        assert (alone[0] - whole[row]).abs().max() < 1e-5
    assert (whole[0] - whole[1]).abs().max() > 1e-3


def test_empty_slots_are_never_read(ready: Compressor, generator: Generator) -> None:
    asked, _ = encode_questions(ready, QUESTIONS[:1])
    some = _contexts(ready)[0]
    padded = Latents(some.tokens, torch.cat([some.slots, torch.zeros(4, some.slots.shape[1])]), some.piece)
    states = torch.randn(1, generator.hidden, generator=torch.Generator().manual_seed(0))
    plain, more = (_changes(ready.reader, states, [context], asked) for context in (some, padded))
    assert (plain - more).abs().max() < 1e-5


def test_a_reader_has_to_know_the_question(ready: Compressor, generator: Generator) -> None:
    with pytest.raises(ModelError, match="know the questions"):
        generator.answer([Reading("Who?", _contexts(ready)[0])], ready.reader)


def test_text_beside_latents_is_read_without_the_reader(ready: Compressor, generator: Generator) -> None:
    asked, _ = encode_questions(ready, QUESTIONS)
    text = Reading(QUESTIONS[0], generator.embed(EVIDENCE[0]))
    latents = Reading(QUESTIONS[1], _contexts(ready)[1], asked=asked[1])
    both = generator.answer([text, latents], ready.reader, max_tokens=4)
    assert both == [
        generator.answer([text], None, max_tokens=4)[0],
        generator.answer([latents], ready.reader, max_tokens=4)[0],
    ]


def test_answers_and_scores_with_a_reader_agree(ready: Compressor, generator: Generator) -> None:
    asked, _ = encode_questions(ready, QUESTIONS)
    readings = [Reading(q, c, asked=a) for q, c, a in zip(QUESTIONS, _contexts(ready), asked, strict=True)]
    end = generator.tokenizer.eos_token_id
    for reading, answer in zip(readings, generator.answer(readings, ready.reader, max_tokens=4), strict=True):
        tokens: list[int] = []
        while len(tokens) < 4 and end not in tokens:
            row = Reading(reading.question, reading.context, (*tokens, end), reading.asked)
            tokens.append(int(generator.score([row], ready.reader)[-1].argmax()))
        assert answer == generator.tokenizer.decode(tokens, skip_special_tokens=True).strip()
