from itertools import pairwise
from pathlib import Path

import pytest
import torch

from latent_memory.generator import Generator, Reading
from latent_memory.reader import Latents, Reader, ReaderConfig
from tiers.llm.models import load_causal_lm

QUESTIONS = ["When was the tower built?", "Who?", "How many people live there today?"]
TEXT = "The tower was built in 1889."


def _plain_logits(generator: Generator, question: str, text: str, answer: tuple[int, ...]) -> torch.Tensor:
    """The same prompt as one sequence of token ids, with no cache, no padding and no embeddings."""
    parts = [generator.head, generator.token_ids(question), generator.middle, generator.token_ids(text), generator.tail]
    prompt = [token for part in parts for token in part]
    logits = generator.model(input_ids=torch.tensor([[*prompt, *answer[:-1]]])).logits[0]
    return logits[len(prompt) - 1 :].float()


def test_raw_text_scores_as_the_plain_prompt_does(generator: Generator) -> None:
    answer = generator.answer_ids("1889")
    scored = generator.score([Reading(QUESTIONS[0], generator.embed(TEXT), answer)])
    expected = _plain_logits(generator, QUESTIONS[0], TEXT, answer).log_softmax(-1)
    assert scored.shape == expected.shape == (5, len(generator.embedding))
    assert (scored - expected).abs().max() < 1e-3


def test_scores_do_not_depend_on_the_batch(generator: Generator) -> None:
    contexts = [generator.embed(TEXT), torch.randn(1, 32), None]
    answers = [generator.answer_ids(text) for text in ("1889", "me", "a few millions")]
    readings = [Reading(q, c, a) for q, c, a in zip(QUESTIONS, contexts, answers, strict=True)]
    together = generator.score(readings)
    alone = torch.cat([generator.score([reading]) for reading in readings])
    assert (together - alone).abs().max() < 1e-3


def test_answers_are_those_of_plain_greedy_decoding(generator: Generator) -> None:
    readings = [Reading(question, generator.embed(TEXT)) for question in QUESTIONS]
    together = generator.answer(readings, max_tokens=4)
    end = generator.tokenizer.eos_token_id
    for question, answer in zip(QUESTIONS, together, strict=True):
        tokens: list[int] = []
        while len(tokens) < 4 and end not in tokens:
            tokens.append(int(_plain_logits(generator, question, TEXT, (*tokens, end))[-1].argmax()))
        assert answer == generator.tokenizer.decode(tokens, skip_special_tokens=True).strip()


def test_a_latent_costs_one_token(generator: Generator) -> None:
    none = generator.prompt_tokens(Reading("Who?", None))
    assert generator.prompt_tokens(Reading("Who?", torch.zeros(2, 32))) == none + 2
    assert generator.prompt_tokens(Reading("Who?", generator.embed(TEXT))) == none + len(generator.token_ids(TEXT))


def test_gradients_reach_the_latent_and_no_weight(generator: Generator) -> None:
    latent = torch.randn(1, 32, requires_grad=True)
    generator.score([Reading("Who?", latent, generator.answer_ids("me"))]).sum().backward()
    assert latent.grad is not None
    assert latent.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in generator.model.parameters())


def test_embedding_norm_is_the_mean_norm_of_the_vocabulary(generator: Generator) -> None:
    expected = generator.embedding.norm(dim=1).mean().item()
    assert generator.embedding_norm == pytest.approx(expected)


def test_a_stream_only_adds_and_ends_as_the_answers(generator: Generator) -> None:
    readings = [Reading(question, generator.embed(TEXT)) for question in QUESTIONS]
    steps = list(generator.stream(readings, max_tokens=6))
    assert len(steps) == 6
    for before, after in pairwise(steps):
        assert all(b.text.startswith(a.text) and b.tokens >= a.tokens for a, b in zip(before, after, strict=True))
    assert [said.text for said in steps[-1]] == generator.answer(readings, max_tokens=6)
    assert steps[-1] == generator.generate(readings, max_tokens=6)


def test_a_characters_half_is_held_back(generator: Generator) -> None:
    tokens = generator.token_ids("pi é")
    assert [generator._said(tokens[:n], whole=False) for n in range(2, 6)] == ["pi", "pi", "pi", "pi é"]


def test_log_probability_is_that_of_the_plain_prompt(generator: Generator) -> None:
    (said,) = generator.generate([Reading(QUESTIONS[0], generator.embed(TEXT))], max_tokens=4)
    tokens: list[int] = []
    for _ in range(said.tokens):
        tokens.append(int(_plain_logits(generator, QUESTIONS[0], TEXT, (*tokens, 0))[-1].argmax()))
    logits = _plain_logits(generator, QUESTIONS[0], TEXT, tuple(tokens))
    expected = logits.log_softmax(-1)[torch.arange(said.tokens), torch.tensor(tokens)].mean()
    assert said.log_probability == pytest.approx(float(expected), abs=1e-3)


@pytest.fixture(scope="module")
def grouped(tiny_model: Path) -> Generator:
    """In bfloat16, four query heads to two key heads, of the sizes at which products begin to differ by batch."""
    from transformers import LlamaConfig, LlamaForCausalLM

    _, tokenizer = load_causal_lm(str(tiny_model), tiny_model)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=256,
            intermediate_size=1024,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            initializer_range=0.1,
            bos_token_id=None,
            eos_token_id=1,
        )
        return Generator(LlamaForCausalLM(config).to(torch.bfloat16), tokenizer)


def test_in_invariant_batches_every_bit_is_that_of_a_reading_alone(grouped: Generator) -> None:
    torch.manual_seed(1)
    readings = [
        Reading(
            "Why? " * number,
            Latents(torch.randn(n, 256), torch.randint(90, (4 * n,)), torch.randn(4 * n, 16), torch.arange(4 * n) // 4)
            if (n := number % 5)
            else None,
        )
        for number in range(1, 20)
    ]
    reader = Reader(256, 16, ReaderConfig(size=32))
    for parameter in (reader.hint.weight, reader.matching.around, reader.matching.piece):
        torch.nn.init.normal_(parameter, std=0.1)
    for second in (None, reader.requires_grad_(False).eval()):
        together = list(grouped.stream(readings, second, max_tokens=8, invariant=True))[-1]
        assert together == [grouped.generate([one], second, max_tokens=8, invariant=True)[0] for one in readings]


def test_invariant_batches_compute_the_same_but_for_rounding(generator: Generator) -> None:
    readings = [Reading(question, generator.embed(TEXT)) for question in QUESTIONS]
    plain, invariant = generator.generate(readings), generator.generate(readings, invariant=True)
    assert [said.text for said in invariant] == [said.text for said in plain]
    for one, other in zip(invariant, plain, strict=True):
        assert one.log_probability == pytest.approx(other.log_probability, abs=1e-4)
