import numpy as np
import pytest
import torch

from latent_memory.compressor import CompressorConfig
from latent_memory.quantisation import LEVELS, dequantise, quantise, rounded
from latent_memory.words import NO_WORD
from tiers.errors import SchemaError

SIZES = {bits: CompressorConfig(slots=6, key=32, bits=bits) for bits in (2, 3, 4)}


def _codes(rows: int = 50) -> np.ndarray:
    rng = np.random.default_rng(0)
    words = rng.integers(0, 2**24 - 2, (rows, 6)).astype(np.float32)
    words[0, 0], words[1, 0] = 0, 2**24 - 2
    words[:, 4:] = NO_WORD
    keys = rng.normal(size=(rows, 6, 32)) * (words != NO_WORD)[..., None]
    return np.concatenate([words, keys.reshape(rows, -1)], 1).astype(np.float32)


@pytest.mark.parametrize(("bits", "least"), [(2, 0.92), (3, 0.97), (4, 0.99)])
def test_words_come_back_as_they_were_and_keys_nearly(bits: int, least: float) -> None:
    config, codes = SIZES[bits], _codes()
    packed = quantise(codes, config)
    assert packed.shape == (50, config.stored_bytes) == (50, 6 * (3 + 4 * bits))
    back = dequantise(packed, config)
    assert np.array_equal(back[:, :6], codes[:, :6])
    keys, own = (array[:, 6:].reshape(50, 6, 32) for array in (back, codes))
    assert not keys[:, 4:].any()  # what holds no word has no key
    cosines = (keys * own).sum(-1)[:, :4] / np.linalg.norm(keys[:, :4], axis=-1) / np.linalg.norm(own[:, :4], axis=-1)
    assert cosines.min() > least - 0.08
    assert cosines.mean() > least


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_what_was_rounded_once_stays_as_it_is(bits: int) -> None:
    once = dequantise(quantise(_codes(), SIZES[bits]), SIZES[bits])
    assert np.array_equal(dequantise(quantise(once, SIZES[bits]), SIZES[bits]), once)


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_levels_are_the_best_for_normal_numbers(bits: int) -> None:
    """No other scale of them has a smaller error on a million numbers."""
    numbers = torch.randn(1_000_000, generator=torch.Generator().manual_seed(0))

    def error(scale: float) -> float:
        levels = LEVELS[bits] * scale
        return float((levels[torch.bucketize(numbers, (levels[1:] + levels[:-1]) / 2)] - numbers).square().mean())

    assert error(1.0) < min(error(0.95), error(1.05))


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_training_reads_what_is_stored_and_has_the_gradient_of_what_is_not(bits: int) -> None:
    codes = torch.from_numpy(_codes()).requires_grad_()
    read = rounded(codes, SIZES[bits])
    assert np.allclose(read.detach().numpy(), dequantise(quantise(_codes(), SIZES[bits]), SIZES[bits]), atol=1e-6)
    read.sum().backward()
    assert codes.grad is not None
    assert torch.equal(codes.grad, torch.ones_like(codes))


def test_no_codes_are_no_bytes() -> None:
    packed = quantise(np.zeros((0, SIZES[2].code_size), np.float32), SIZES[2])
    assert dequantise(packed, SIZES[2]).shape == (0, SIZES[2].code_size)


def test_a_code_of_another_length_is_an_error() -> None:
    with pytest.raises(SchemaError, match="can't be packed"):
        quantise(np.zeros((2, 3), np.float32), SIZES[4])
