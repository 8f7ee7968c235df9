"""What all tests share: a scrubbed environment, and the smallest real language model, loaded once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tiers.errors import ModelError
from tiers.llm.models import default_models, pull
from tiers.llm.transformers_llm import TransformersLLM

# before anything that reads them is imported; worker processes inherit them
os.environ.update(
    HF_HUB_OFFLINE="1",
    HF_DATASETS_OFFLINE="1",
    OMP_NUM_THREADS="1",
    TOKENIZERS_PARALLELISM="false",
    RAY_AUTH_MODE="disabled",
)
for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
    os.environ.pop(name, None)

SMALLEST = "smollm2-135m"


@pytest.fixture(scope="session")
def models_dir() -> Path:
    """The folder of model weights, with the smallest model in it; skips where that can't be had."""
    folder = default_models()
    try:
        pull(SMALLEST, folder)
    except ModelError as error:
        pytest.skip(f"{SMALLEST} can't be had: {error}")
    return folder


@pytest.fixture(scope="session")
def smollm(models_dir: Path) -> TransformersLLM:
    """SmolLM2-135M-Instruct in this process; treat it as read-only."""
    return TransformersLLM(SMALLEST, models_dir)
