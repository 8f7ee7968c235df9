"""A compressor and a generator with random weights, small enough for every test."""

from __future__ import annotations

from pathlib import Path

import pytest

from latent_memory.compressor import Compressor, CompressorConfig
from latent_memory.generator import Generator
from latent_memory.pretrained import save_pretrained
from latent_memory.reader import ReaderConfig
from tiers.llm.adapter import model_identity
from tiers.llm.models import load_causal_lm

SIZES = CompressorConfig(
    depth=2,
    lora_from=0,
    lora_rank=2,
    lora_alpha=4,
    slots=40,
    key=8,
    reader=ReaderConfig(size=16),
    retrieval_dim=16,
    max_tokens=200,
    split_tokens=60,
)


def make_compressor(folder: Path, seed: int = 0) -> Compressor:
    import torch

    base, tokenizer = load_causal_lm(str(folder), folder, dtype="float32")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        compressor = Compressor(base, tokenizer, SIZES, generator_hidden=32, latent_norm=2.0)
        silent = ("retrieval_residual", "reader.hint")
        for name, parameter in compressor.named_parameters():
            if "lora_B" in name or name.startswith(silent):  # at the start; here they must speak
                torch.nn.init.normal_(parameter, std=0.2)
        compressor.reader.gate.bias.data[:2] += 5.0  # it mostly says words of its evidence
    return compressor.eval()


@pytest.fixture
def compressor(tiny_model: Path) -> Compressor:
    return make_compressor(tiny_model)


@pytest.fixture(scope="session")
def generator(tiny_model: Path) -> Generator:
    return Generator(*load_causal_lm(str(tiny_model), tiny_model, dtype="float32"))


@pytest.fixture(scope="session")
def trained(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trained compressor, as far as its format goes."""
    return save_tiny(tiny_model, tmp_path_factory.mktemp("trained"), seed=0)


def save_tiny(tiny_model: Path, folder: Path, seed: int) -> Path:
    identity = model_identity(str(tiny_model), *load_causal_lm(str(tiny_model), tiny_model))
    save_pretrained(make_compressor(tiny_model, seed), identity, identity, folder)
    return folder


@pytest.fixture(scope="session")
def other_trained(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tiny_model, tmp_path_factory.mktemp("other"), seed=1)
