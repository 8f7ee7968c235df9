import math
from pathlib import Path

import numpy as np
import pytest

from latent_memory.evaluation.retrievers import BM25, SentenceEncoder
from tiers.errors import ModelError

TEXTS = ["The cat sat.", "A cat and a cat ran far away today.", "Dogs bark."]


def test_bm25_gives_what_the_formula_gives_by_hand() -> None:
    """Lengths 3, 9 and 2, 14 / 3 on average; `cat` is in two texts of three, once and twice."""
    k1, b = 1.2, 0.75
    idf = math.log(1 + (3 - 2 + 0.5) / (2 + 0.5))
    once = idf * 1 * (k1 + 1) / (1 + k1 * (1 - b + b * 3 / (14 / 3)))
    twice = idf * 2 * (k1 + 1) / (2 + k1 * (1 - b + b * 9 / (14 / 3)))
    assert BM25(TEXTS).scores("cat") == pytest.approx([once, twice, 0.0], rel=1e-6)
    assert BM25(TEXTS).scores("CAT, cat?") == pytest.approx([2 * once, 2 * twice, 0.0], rel=1e-6)


def test_bm25_puts_rare_words_and_short_texts_first() -> None:
    ranked = np.argsort(-BM25(TEXTS).scores("did the cat bark"), kind="stable")
    assert ranked.tolist() == [0, 2, 1]
    assert not BM25(TEXTS).scores("nothing of it").any()
    assert BM25([]).scores("cat").shape == (0,)


def test_the_bytes_of_a_bm25_index_are_those_of_its_postings() -> None:
    assert BM25(TEXTS).nbytes == (3 + 7 + 2) * 8  # different words of each text; a row and a weight for each


def test_a_sentence_vector_is_the_mean_of_its_tokens_alone(tiny_encoder: Path) -> None:
    encoder = SentenceEncoder(tiny_encoder)
    texts = ["rome is a city", "ada", "bob lives in oslo and nobody knows why he lives there"]
    vectors = encoder.encode(texts)
    assert vectors.shape == (3, encoder.size)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(3), abs=1e-5)
    for text, vector in zip(texts, vectors, strict=True):
        assert encoder.encode([text])[0] == pytest.approx(vector, abs=1e-5)
    states = encoder._model(**encoder._tokenizer(texts[1], return_tensors="pt")).last_hidden_state[0].mean(0)
    assert vectors[1] == pytest.approx((states / states.norm()).numpy(), abs=1e-5)


def test_an_encoder_that_was_not_pulled_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="tierline models pull all-minilm-l6-v2"):
        SentenceEncoder(tmp_path)
