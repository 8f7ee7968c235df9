from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tiers.document import documents
from tiers.errors import ModelError
from tiers.l2_scored import Embedding
from tiers.llm.models import pull
from tiers.stage import Context, check_outcome

TEXTS = (
    "Vaccines train the immune system without causing the disease.",
    "Antibodies are made by white blood cells after an infection.",
    "The function returns the length of a list.",
    "",
)
ROWS = documents([{"text": text, "source": str(i)} for i, text in enumerate(TEXTS)])


@pytest.fixture(params=["static", "all-minilm-l6-v2"])
def stage(request: pytest.FixtureRequest, models_dir: Path) -> Embedding:
    if request.param == "static":
        pytest.importorskip("wordllama")
        return Embedding()
    try:
        pull(request.param, models_dir)
    except ModelError as error:
        pytest.skip(f"the encoder can't be had: {error}")
    return Embedding(model=request.param)


def test_what_means_alike_lies_close(stage: Embedding, models_dir: Path) -> None:
    run = stage.prepare(Context(models=models_dir))
    outcome = run(ROWS)
    check_outcome(stage, ROWS, outcome)
    vectors = np.array(outcome.kept["score.embedding"].to_pylist())
    assert np.linalg.norm(vectors[:3], axis=1) == pytest.approx([1, 1, 1], abs=1e-5)
    assert np.isfinite(vectors).all()
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.1
    assert run(ROWS.slice(1, 2)).kept.equals(outcome.kept.slice(1, 2))  # whatever it came with
    assert run(ROWS.slice(4)).kept.num_rows == 0


def test_an_encoder_that_was_not_pulled(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        Embedding(model="all-minilm-l6-v2").prepare(Context(models=tmp_path))
