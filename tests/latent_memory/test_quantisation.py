import numpy as np
import pytest
import torch

from latent_memory.compressor import CompressorConfig
from latent_memory.quantisation import LEVELS, MOST, dequantise, quantise, rounded
from tiers.errors import SchemaError

SLOT = 16
TWO, FOUR = (CompressorConfig(slot_size=SLOT, bits=bits) for bits in (2, 4))


def _codes() -> np.ndarray:
    codes = np.random.default_rng(0).standard_normal((50, 96)).astype(np.float32)
    codes[:, 2 * SLOT : 3 * SLOT] = 0.0
    return codes


@pytest.mark.parametrize(
    ("config", "mean", "least"),
    [(TWO, 0.935, 0.9), (FOUR, 0.98, 0.98)],  # Max's four levels keep 88.25 % of the variance: a cosine of .939
)
def test_a_packed_code_takes_its_bits_and_keeps_its_angle(config: CompressorConfig, mean: float, least: float) -> None:
    codes = _codes()
    packed, scale = quantise(codes, config)
    assert packed.nbytes == codes.size * config.bits // 8
    assert np.array_equal(scale, scale.astype(np.float16))
    back = dequantise(packed, scale.astype(np.float16), config)
    cosines = (codes * back).sum(1) / np.linalg.norm(codes, axis=1) / np.linalg.norm(back, axis=1)
    assert cosines.mean() > mean
    assert cosines.min() > least


@pytest.mark.parametrize("config", [TWO, FOUR])
def test_what_is_empty_stays_empty(config: CompressorConfig) -> None:
    codes = _codes()
    codes[7] = 0.0
    back = dequantise(*quantise(codes, config), config)
    assert not back[:, 2 * SLOT : 3 * SLOT].any()
    assert not back[7].any()
    assert back[[0, 49], : 2 * SLOT].any(1).all()


def test_every_level_of_two_bits_is_packed_in_every_place() -> None:
    levels = np.stack(np.meshgrid(LEVELS, LEVELS, LEVELS, LEVELS), -1).reshape(1, -1)
    back = dequantise(*quantise(3 * levels / np.sqrt(np.square(levels).mean()), TWO), TWO)
    assert len(np.unique(back)) == 4
    assert np.array_equal(np.sign(back), np.sign(levels))
    assert np.array_equal(np.abs(back) > 1.5, np.abs(levels) > 1)


def test_every_step_of_four_bits_is_packed_in_either_half() -> None:
    steps = np.arange(-MOST, MOST + 1, dtype=np.float32)
    codes = np.stack(np.meshgrid(steps, steps), -1).reshape(1, -1)[:, : 28 * SLOT]
    codes[0, :2] = (MOST, -MOST)
    assert np.array_equal(dequantise(*quantise(codes, FOUR), FOUR), codes)


@pytest.mark.parametrize("config", [TWO, FOUR])
def test_training_reads_what_is_stored_and_its_gradient_passes(config: CompressorConfig) -> None:
    codes = torch.from_numpy(_codes()).requires_grad_()
    read = rounded(codes, config)
    stored = dequantise(*quantise(_codes(), config), config)
    assert np.allclose(read.detach().numpy(), stored, atol=1e-6)
    read.square().sum().backward()
    assert codes.grad is not None
    assert torch.equal(codes.grad, 2 * read.detach())


@pytest.mark.parametrize("config", [TWO, FOUR])
def test_nothing_is_packed_as_nothing(config: CompressorConfig) -> None:
    packed, scale = quantise(np.zeros((0, 96), np.float32), config)
    assert packed.shape == (0, 96 * config.bits // 8)
    assert dequantise(packed, scale, config).shape == (0, 96)


def test_a_code_that_does_not_pack_is_refused() -> None:
    with pytest.raises(SchemaError, match="multiple of 2"):
        quantise(np.zeros((2, 3), np.float32), FOUR)
    with pytest.raises(SchemaError, match="a slot's 16"):
        quantise(np.zeros((2, 24), np.float32), TWO)
