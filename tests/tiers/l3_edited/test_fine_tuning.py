from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
import torch

from tiers.l3_edited.fine_tuning import Example, Tuner, Tuning, batches, look, reply_logits, with_adapter
from tiers.llm.models import load_causal_lm

TUNING = Tuning(rank=2, batch_tokens=60, rate=2e-2)
EXAMPLES = [Example([n % 40 + 5] * (3 + n % 7), [n % 40 + 5, 1]) for n in range(24)]


def tiny(folder: Path, dtype: str = "float32"):
    model, _ = load_causal_lm(str(folder), folder, dtype=dtype)
    return with_adapter(model, TUNING)


def test_each_epoch_has_each_example_once_in_batches_of_similar_length():
    lengths = [len(prompt) + len(reply) for prompt, reply in EXAMPLES]
    found = batches(EXAMPLES, 60, seed=3)
    for _ in range(2):
        epoch: list[list[int]] = []
        while sum(map(len, epoch)) < len(EXAMPLES):
            epoch.append(next(found))
        assert sorted(number for batch in epoch for number in batch) == list(range(len(EXAMPLES)))
        assert all(len(batch) * max(lengths[number] for number in batch) <= 60 for batch in epoch)
        assert sum(max(lengths[n] for n in batch) - min(lengths[n] for n in batch) for batch in epoch) < 12


def test_batches_follow_from_the_seed():
    first, again, other = (list(islice(batches(EXAMPLES, 60, seed), 12)) for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_an_example_longer_than_a_batch_is_one():
    long = [*EXAMPLES[:3], Example([7] * 500, [1])]
    assert [3] in list(islice(batches(long, 60, seed=0), 3))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_training_lowers_the_loss_and_leaves_the_base_as_it_is(tiny_model: Path, dtype: str):
    model = tiny(tiny_model, dtype)
    frozen = {name: weight.clone() for name, weight in model.named_parameters() if not weight.requires_grad}
    tuner = Tuner(model, EXAMPLES, TUNING)
    before = look(model, EXAMPLES, 200)
    for number in range(30):
        tuner.step(number / 30)
    after = look(model, EXAMPLES, 200)
    assert after.loss < 0.7 * before.loss
    assert all(torch.equal(weight, frozen[name]) for name, weight in model.named_parameters() if name in frozen)


def test_two_steps_lower_the_loss_of_a_real_model(models_dir: Path):
    model, tokenizer = load_causal_lm("smollm2-135m", models_dir, dtype="float32")
    prompt, reply = tokenizer(["1: Home | About\n2: Cats purr.", '[{"op":"remove_lines","start":1,"end":1}]'])[
        "input_ids"
    ]
    examples = [Example(prompt, [*reply, tokenizer.eos_token_id])]
    tuner = Tuner(with_adapter(model, Tuning()), examples, Tuning())
    losses = [tuner.step(0.5)["loss"] for _ in range(2)]
    assert look(tuner.model, examples, 100).loss < losses[1] < losses[0]


def test_a_reply_is_weighed_alike_alone_and_beside_longer_ones(tiny_model: Path):
    model = tiny(tiny_model)
    model.eval()
    with torch.no_grad():
        alone, tokens = reply_logits(model, EXAMPLES[:1], "cpu")
        beside, _ = reply_logits(model, [EXAMPLES[0], EXAMPLES[6]], "cpu")
    assert tokens.tolist() == list(EXAMPLES[0].reply)
    torch.testing.assert_close(beside[: len(tokens)], alone, rtol=1e-4, atol=1e-4)


def test_the_logits_are_those_of_the_whole_model(tiny_model: Path):
    model = tiny(tiny_model)
    prompt, reply = EXAMPLES[3]
    with torch.no_grad():
        found, _ = reply_logits(model, [EXAMPLES[3]], "cpu")
        whole = model(input_ids=torch.tensor([[*prompt, *reply]])).logits[0]
    torch.testing.assert_close(found, whole[len(prompt) - 1 : -1], rtol=1e-4, atol=1e-4)


def test_a_reply_counts_as_exact_where_greedy_decoding_gives_it(tiny_model: Path):
    model = tiny(tiny_model)
    prompt = EXAMPLES[0].prompt
    written = model.generate(input_ids=torch.tensor([prompt]), max_new_tokens=3, min_new_tokens=3, do_sample=False)
    reply = written[0, len(prompt) :].tolist()
    wrong = [*reply[:2], (reply[2] + 1) % 250]
    assert look(model, [Example(prompt, reply), Example(prompt, wrong)], 100).exact == 0.5


def test_the_rate_warms_up_and_falls():
    rates = [TUNING.rate_at(progress) for progress in (0, 0.025, 0.05, 0.5, 1)]
    assert rates[0] < rates[1] < rates[2] == TUNING.rate
    assert rates[2] > rates[3] > rates[4] > 0
