from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiers.l2_scored.features import BITS, Features, columns_of, features, features_in, joined
from tiers.l2_scored.linear import Linear


def column(texts: list[str], chunks: int = 1) -> pa.ChunkedArray:
    size = -(-len(texts) // chunks) or 1
    return pa.chunked_array(
        [pa.array(texts[at : at + size], pa.large_string()) for at in range(0, len(texts), size)], pa.large_string()
    )


def places(text: str) -> set[int]:
    return set(features(column([text]), 1 << 20).places.tolist())


def sentences(count: int) -> list[str]:
    random = np.random.default_rng(0)
    words = "water ice lake heat price offer shop click molecule lattice sale free".split()
    return [" ".join(map(str, random.choice(words, random.integers(3, 30)))) for _ in range(count)]


@given(st.lists(st.text(max_size=40), min_size=1, max_size=6))
def test_features_are_those_of_the_text_alone(texts: list[str]) -> None:
    together = features(column(texts, chunks=2), 1000)
    assert together.starts[-1] == len(together.places)
    for i, text in enumerate(texts):
        alone = features(column([text]), 1000)
        assert np.array_equal(together.places[together.starts[i] : together.starts[i + 1]], alone.places)


def test_words_and_pairs_of_neighbours_count_once() -> None:
    assert len(places("one")) == 1
    assert len(places("one two")) == 3
    assert len(places("one two one two one two")) == 4
    assert places("One  TWO\n") == places("one two")
    assert places("one two") != places("two one")
    assert not places(" \t\n\x00")


def test_what_a_word_is_in_other_scripts() -> None:
    assert len(places("Größe")) == 1
    assert len(places("молоко")) == 1
    assert places("日本語") == places("日 本 語")
    assert places("«мёд»…") == places("« мёд » …")
    assert len(places("👍")) == 1


@pytest.mark.parametrize("limit", [5, 6])
def test_features_stop_at_the_excerpt(limit: int) -> None:
    assert set(features(column(["aa bb cc"]), limit).places.tolist()) == places("aa bb")


def test_a_text_may_end_in_the_middle_of_a_character() -> None:
    for limit in range(1, 12):
        assert len(features(column(["é日本👍x"] * 2), limit)) == 2


def test_features_survive_a_table() -> None:
    seen = features(column(["a b c", "", "d"]), 100)
    back = features_in(pa.table(columns_of(seen)))
    assert all(np.array_equal(getattr(back, name), getattr(seen, name)) for name in ("starts", "places", "vectors"))
    assert np.array_equal(joined(seen, back).take(np.array([5])).places, seen.take(np.array([2])).places)
    taken = back.take(np.array([2, 0]))
    assert np.array_equal(taken.places, np.concatenate([seen.places[5:], seen.places[:5]]))
    assert len(features_in(pa.table(columns_of(features(column([]), 9))))) == 0


def test_a_pass_over_the_texts_gives_what_their_features_give() -> None:
    texts = [*sentences(60), "", "日本語 é", "x" * 9000]
    seen = features(column(texts), 4096)
    model = Linear.fit(seen, np.random.default_rng(1).random((len(texts), 3)), 1.0)
    assert np.array_equal(model.score(column(texts, chunks=4).slice(1), 4096), model.predict(seen)[1:])


@pytest.mark.parametrize("penalty", [0.1, 10.0])
def test_the_fit_minimises_its_loss(penalty: float) -> None:
    """The gradient vanishes: for each place, residuals · feature = penalty · weight."""
    seen = features(column(sentences(80)), 1000)
    scores = np.random.default_rng(0).random((80, 1))
    model = Linear.fit(seen, scores, penalty)
    residual = (scores - model.predict(seen))[:, 0]
    assert residual.mean() == pytest.approx(0, abs=1e-6)
    owner = np.repeat(np.arange(80), np.diff(seen.starts))
    size = np.sqrt(np.diff(seen.starts))[owner]
    having = np.bincount(seen.places, minlength=1 << BITS)
    pull = np.bincount(seen.places, residual[owner] / size, minlength=1 << BITS)
    weights = model.weights[:, 0] * model.step[0]
    often = having > 1
    assert pull[often] == pytest.approx(penalty * weights[often], abs=1e-4)
    assert not weights[~often].any()


def test_texts_that_all_look_the_same_can_be_fitted() -> None:
    seen = features(column(["a b"] * 20), 9)
    assert Linear.fit(seen, np.arange(20.0)[:, None], 1.0).predict(seen)[:, 0] == pytest.approx([9.5] * 20)


def test_a_model_survives_its_numbers() -> None:
    seen = features(column(sentences(30)), 1000)
    model = Linear.fit(seen, np.random.default_rng(0).random((30, 2)), 1.0)
    assert np.array_equal(Linear.of(model.numbers()).predict(seen), model.predict(seen))


def test_vectors_in_place_of_features() -> None:
    random = np.random.default_rng(0)
    vectors = random.normal(size=(100, 5))
    seen = Features(np.zeros(101, np.int64), np.zeros(0, np.uint32), vectors)
    model = Linear.fit(seen, vectors[:, :1] * 3 + 1, 1e-6)
    assert model.predict(seen)[:, 0] == pytest.approx(vectors[:, 0] * 3 + 1, abs=1e-3)
