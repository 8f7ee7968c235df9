from pathlib import Path

import pytest
import torch

from latent_memory.compressor import Compressor, CompressorConfig, encode, together
from latent_memory.generator import Generator, said_last
from latent_memory.reader import Thought
from tests.latent_memory.conftest import SIZES, make_compressor
from tiers.errors import StageError
from tiers.llm.models import load_causal_lm

TEXTS = ["A", "The tower was built in 1889.", "It stands in Paris, beside the Seine, and many people climb it."]


def test_a_latent_does_not_depend_on_its_batch(compressor: Compressor) -> None:
    together = encode(compressor, TEXTS, "evidence")
    for row, text in enumerate(TEXTS):
        codes, vectors = encode(compressor, [text], "evidence")
        words = compressor.config.words
        assert (codes[0, :words] == together[0][row, :words]).all()
        assert abs(codes[0] - together[0][row]).max() < 1e-5 * abs(codes[0, words:]).max()
        assert abs(vectors[0] - together[1][row]).max() < 1e-5


def test_latents_have_one_norm_and_vectors_unit_norm(compressor: Compressor) -> None:
    codes, vectors = encode(compressor, TEXTS, "evidence")
    assert codes.shape == (3, 40 * (1 + 8))
    assert vectors.shape == (3, 16)
    latents = compressor.latents(torch.from_numpy(codes))
    assert [len(one) for one in latents] == [1] * 3
    assert [one.tokens.norm().item() for one in latents] == pytest.approx(
        [compressor.log_norm.exp().item()] * 3, rel=1e-4
    )
    assert all(one.words.shape == (40,) and one.keys.shape == (40, 8) for one in latents)
    assert (vectors**2).sum(1) == pytest.approx([1.0] * 3, rel=1e-4)


def test_different_texts_and_adapters_give_different_latents(compressor: Compressor) -> None:
    evidence, _ = encode(compressor, TEXTS, "evidence")
    query, _ = encode(compressor, TEXTS, "query")
    assert abs(evidence - query).max(axis=1).min() > 1e-3
    assert abs(evidence[0] - evidence[1]).max() > 1e-3


def test_spread_keys_are_like_normal_ones_and_pointed_at_as_before(
    compressor: Compressor, generator: Generator
) -> None:
    own = Thought(*torch.randn(2, 1, 32, generator=torch.Generator().manual_seed(0)))

    def keys_and_pointed() -> tuple[torch.Tensor, torch.Tensor]:
        latents = together(compressor.latents(compressor(compressor.tokenize(TEXTS), "evidence").code))
        look = compressor.reader.look([latents], [[5]], generator.embedding)
        first = torch.zeros(1, dtype=torch.long)
        read = compressor.reader(own, look, first, said_last([[]]), generator.embedding)
        return latents.keys[latents.words >= 0], read.pointed

    with torch.no_grad():
        before, pointed = keys_and_pointed()
        compressor.spread_keys(TEXTS)
        after, again = keys_and_pointed()
    assert before.mean(0).abs().max() > 0.1 > 1e-4 > after.mean(0).abs().max()
    assert after.std(0) == pytest.approx(1, abs=1e-4)
    assert torch.allclose(pointed, again, atol=1e-4)


def test_encode_keeps_the_order_of_its_texts(compressor: Compressor) -> None:
    latents, _ = encode(compressor, TEXTS, "evidence", batch=2)
    backwards, _ = encode(compressor, TEXTS[::-1], "evidence", batch=2)
    assert abs(latents - backwards[::-1]).max() < 1e-5


def test_one_backward_reaches_both_adapters_and_leaves_the_base_alone(compressor: Compressor) -> None:
    ids = compressor.tokenize(TEXTS)
    evidence = compressor.vectors(compressor(ids, "evidence"))
    query = compressor.vectors(compressor(ids, "query"))
    (evidence * query.roll(1, 0)).sum().backward()
    gradients = {name: parameter.grad for name, parameter in compressor.named_parameters()}
    for adapter in ("evidence", "query"):
        ours = [g for name, g in gradients.items() if f"lora_A.{adapter}" in name]
        assert ours
        assert all(g is not None and g.abs().sum() > 0 for g in ours)
    assert all(g is None for name, g in gradients.items() if name.startswith("base.") and "lora_" not in name)


def test_text_that_does_not_fit_is_an_error_not_cut(compressor: Compressor) -> None:
    with pytest.raises(StageError, match="doesn't fit") as error:
        compressor.tokenize(["x" * 300])
    assert error.value.got == 301
    with pytest.raises(StageError):
        compressor.tokenize(["  "])


def test_split_keeps_every_word_within_the_limit(compressor: Compressor) -> None:
    text = "One short sentence. Another one follows it. " + " ".join(f"word{n}" for n in range(40)) + ". The end."
    pieces = compressor.split(text)
    assert " ".join(pieces).split() == text.split()
    assert len(pieces) > 3
    assert all(len(compressor.tokenize([piece])[0]) <= 60 for piece in pieces)


def test_a_short_text_is_not_split(compressor: Compressor) -> None:
    assert compressor.split(" It rains. It pours. ") == ["It rains. It pours."]


def test_trained_state_holds_everything_but_the_base(compressor: Compressor) -> None:
    state = compressor.trained_state()
    assert {"memory_token", "salience", "log_norm", "key.weight", "reader.query.weight"} <= state.keys()
    assert not any("embed_tokens" in name or name.endswith("base_layer.weight") for name in state)
    assert sum("lora_" in name for name in state) == 2 * 2 * 4 * 2  # adapters, layers, projections, A and B


def test_a_code_of_two_latents_is_two_tokens_and_twice_the_slots(tiny_model: Path) -> None:
    base, tokenizer = load_causal_lm(str(tiny_model), tiny_model, dtype="float32")
    sizes = CompressorConfig(depth=2, lora_from=0, latents=2, slots=4, key=8, retrieval_dim=16)
    compressor = Compressor(base, tokenizer, sizes, generator_hidden=24, latent_norm=1.0)
    codes, _ = encode(compressor, TEXTS, "evidence")
    assert codes.shape == (3, 8 * (1 + 8))
    one, other, _ = compressor.latents(torch.from_numpy(codes))
    both = together([one, other])
    assert (len(one), one.tokens.shape, one.words.shape, one.keys.shape) == (2, (2, 24), (8,), (8, 8))
    assert (len(both), both.words.shape, both.keys.shape) == (4, (16,), (16, 8))
    assert both.pieces.tolist() == [0] * 8 + [1] * 8


def test_recomputed_activations_give_the_gradients_of_a_plain_backward_with_both_adapters(
    compressor: Compressor,
) -> None:
    """Another adapter is in use when the first one's activations are computed again."""

    def gradients(checkpointed: bool) -> dict[str, torch.Tensor]:
        compressor.checkpointed = checkpointed
        compressor.zero_grad(set_to_none=True)
        ids = compressor.tokenize(TEXTS)
        evidence, query = compressor(ids, "evidence"), compressor(ids, "query")
        (compressor.vectors(evidence) * compressor.vectors(query).roll(1, 0)).sum().backward()
        return {n: p.grad.clone() for n, p in compressor.named_parameters() if "lora_" in n and p.grad is not None}

    plain, again = gradients(False), gradients(True)
    assert plain.keys() == again.keys()
    assert {name.split(".")[-2] for name in plain} == {"evidence", "query"}
    for name, gradient in plain.items():
        assert torch.cosine_similarity(gradient.ravel(), again[name].ravel(), dim=0) > 0.9999, name


def test_the_gradients_of_two_adapters_on_one_base_are_those_of_two_plain_models(tiny_model: Path) -> None:
    """Each adapter alone, as a weight that is added to its own copy of the base."""
    compressor = make_compressor(tiny_model)
    ids = compressor.tokenize(TEXTS)
    found = [compressor.states(ids, adapter).memory for adapter in ("evidence", "query")]
    (found[0] * found[1].detach().roll(1, 0)).sum().backward()
    ours = {n: p.grad for n, p in compressor.named_parameters() if "lora_" in n and p.grad is not None}
    plain, _ = load_causal_lm(str(tiny_model), tiny_model, dtype="float32")
    model = plain.model
    model.layers = model.layers[: SIZES.depth]
    scale = SIZES.lora_alpha / SIZES.lora_rank
    leaves: dict[str, torch.Tensor] = {}
    for name, parameter in compressor.named_parameters():
        if ".lora_A.evidence" in name:
            leaves[name] = parameter.detach().clone().requires_grad_()
            up = name.replace("lora_A", "lora_B")
            leaves[up] = compressor.get_parameter(up).detach().clone().requires_grad_()

    def merged(name: str, linear: torch.nn.Linear) -> torch.Tensor:
        down, up = (leaves[f"base.{name}.lora_{side}.evidence.weight"] for side in "AB")
        return linear.weight.detach() + scale * up @ down

    weights = {
        f"{name}.weight": merged(name, module)
        for name, module in model.named_modules()
        if f"base.{name}.lora_A.evidence.weight" in leaves
    }
    rows = []
    for row in ids:  # one by one: no padding
        first = compressor.tokenizer.eos_token_id
        read = model.get_input_embeddings()(torch.tensor([first, *row]))
        inputs = torch.cat([read, compressor.memory_token[None]])[None]
        rows.append(torch.func.functional_call(model, weights, (), {"inputs_embeds": inputs}).last_hidden_state[0, -1])
    (torch.stack(rows) * found[1].detach().roll(1, 0)).sum().backward()
    assert ours.keys() == leaves.keys()
    for name, gradient in ours.items():
        assert torch.cosine_similarity(gradient.ravel(), leaves[name].grad.ravel(), dim=0) > 0.9999, name
