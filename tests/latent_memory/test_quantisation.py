import numpy as np
import pytest

from latent_memory.quantisation import dequantise, quantise
from tiers.errors import SchemaError


def _codes() -> np.ndarray:
    codes = np.random.default_rng(0).standard_normal((50, 96)).astype(np.float32)
    codes[:, 32:48] = 0.0
    return codes


def test_a_packed_code_takes_half_a_byte_a_number_and_keeps_its_angle() -> None:
    codes = _codes()
    packed, scale = quantise(codes)
    assert packed.nbytes == codes.size // 2
    back = dequantise(packed, scale.astype(np.float16))
    cosines = (codes * back).sum(1) / np.linalg.norm(codes, axis=1) / np.linalg.norm(back, axis=1)
    assert cosines.min() > 0.98
    assert (np.abs(codes - back) <= scale[:, None] * 0.51).all()


def test_what_is_empty_stays_empty_and_what_is_packed_again_stays_the_same() -> None:
    codes = _codes()
    codes[7] = 0.0
    back = dequantise(*quantise(codes))
    assert not back[:, 32:48].any()
    assert not back[7].any()
    for one, again in zip(quantise(codes), quantise(back), strict=True):
        assert np.array_equal(one, again)


def test_every_step_is_packed_in_either_half() -> None:
    steps = np.arange(-7, 8, dtype=np.float32)
    codes = np.stack(np.meshgrid(steps, steps), -1).reshape(1, -1)
    assert np.array_equal(dequantise(*quantise(codes)), codes)


def test_an_odd_code_is_refused() -> None:
    with pytest.raises(SchemaError, match="odd"):
        quantise(np.zeros((2, 3), np.float32))
