import torch

from latent_memory.compressor import Compressor
from latent_memory.data import Question
from latent_memory.frozen import Frozen
from latent_memory.generator import Generator

EVIDENCE = "Ada met Bob in Rome; in Rome she stayed."


def _frozen(compressor: Compressor, generator: Generator) -> Frozen:
    return Frozen(compressor, generator, generator.model.lm_head.weight, answer_tokens=12)


def test_an_answer_is_spoken_in_the_words_that_its_latent_holds(compressor: Compressor, generator: Generator) -> None:
    frozen = _frozen(compressor, generator)
    spoken = frozen.spoken(Question("Where?", ("in Rome",), (EVIDENCE,)))
    assert generator.tokenizer.decode(spoken.tokens[:-1]) == "in Rome"
    assert spoken.tokens[-1] == generator.tokenizer.eos_token_id
    words = [slot.word for slot in compressor.slots(compressor.tokenize([EVIDENCE]))[0]]
    assert len(spoken.begins) == 2
    for begin in spoken.begins:
        assert words[begin : begin + 7] == list(spoken.tokens[:-1])


def test_words_that_were_left_out_of_the_latent_are_left_out_of_the_answer(
    compressor: Compressor, generator: Generator
) -> None:
    (gone,) = compressor.tokenizer("m", add_special_tokens=False)["input_ids"]
    compressor.salience[gone] = -5.0
    long = Question("Where?", ("Rome",), (f"{EVIDENCE} And so on.",))
    frozen = _frozen(compressor, generator)
    assert generator.tokenizer.decode(frozen.spoken(long).tokens[:-1]) == "Roe"


def test_an_answer_that_stands_nowhere_is_spoken_as_it_is_with_a_blank_in_front(
    compressor: Compressor, generator: Generator
) -> None:
    spoken = _frozen(compressor, generator).spoken(Question("Where?", ("Paris",), (EVIDENCE,)))
    assert spoken.begins == []
    assert spoken.tokens == generator.answer_ids("Paris", blank=True)


def test_what_is_kept_is_what_the_models_say(compressor: Compressor, generator: Generator) -> None:
    frozen = _frozen(compressor, generator)
    questions = [Question(text, ("Rome",), (EVIDENCE,)) for text in ("Where did she stay?", "Where?")]
    made = frozen.closed_book(questions)
    again = frozen.closed_book(questions[::-1])
    count = len(made.last) // 2
    assert torch.equal(made.asking[:count], again.asking[count:])
    assert not torch.equal(made.asking, again.asking)
