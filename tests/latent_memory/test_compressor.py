import pytest
import torch

from latent_memory.compressor import Compressor, encode
from tiers.errors import StageError

TEXTS = ["A", "The tower was built in 1889.", "It stands in Paris, beside the Seine, and many people climb it."]


def test_a_latent_does_not_depend_on_its_batch(compressor: Compressor) -> None:
    together = encode(compressor, TEXTS, "evidence")
    for row, text in enumerate(TEXTS):
        alone = encode(compressor, [text], "evidence")
        for whole, single in zip(together, alone, strict=True):
            assert abs(whole[row] - single[0]).max() < 1e-5


def test_latents_have_one_norm_and_vectors_unit_norm(compressor: Compressor) -> None:
    latents, vectors = encode(compressor, TEXTS, "evidence")
    assert latents.shape == (3, 32)
    assert vectors.shape == (3, 16)
    assert (latents**2).sum(1) ** 0.5 == pytest.approx([2.0] * 3, rel=1e-4)
    assert (vectors**2).sum(1) == pytest.approx([1.0] * 3, rel=1e-4)


def test_different_texts_and_adapters_give_different_latents(compressor: Compressor) -> None:
    evidence, _ = encode(compressor, TEXTS, "evidence")
    query, _ = encode(compressor, TEXTS, "query")
    assert abs(evidence - query).max(axis=1).min() > 1e-3
    assert abs(evidence[0] - evidence[1]).max() > 1e-3


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
    assert {"memory_token", "salience", "log_norm", "pooling.queries"} <= state.keys()
    assert not any("embed_tokens" in name or name.endswith("base_layer.weight") for name in state)
    assert sum("lora_" in name for name in state) == 2 * 2 * 4 * 2  # adapters, layers, projections, A and B


def test_a_fresh_latent_is_the_salient_sum_of_embeddings(tiny_model) -> None:
    from latent_memory.compressor import CompressorConfig
    from tiers.llm.models import load_causal_lm

    base, tokenizer = load_causal_lm(str(tiny_model), tiny_model, dtype="float32")
    fresh = Compressor(base, tokenizer, CompressorConfig(depth=2, lora_from=0, heads=1, retrieval_dim=16), 32, 1.0)
    ids = fresh.tokenize(["Seine"])
    fresh.salience[ids[0][1]] = 30.0  # this token outweighs all others
    expected = base.get_input_embeddings().weight[ids[0][1]]
    latent = fresh.latents(fresh(ids, "evidence"))[0]
    assert torch.cosine_similarity(latent, expected, dim=0) > 0.9999
