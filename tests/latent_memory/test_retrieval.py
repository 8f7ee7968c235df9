import numpy as np
import torch

from latent_memory.compressor import Compressor, encode
from latent_memory.data import Question
from latent_memory.retrieval import encode_all, fit_retrieval, start_from

NAMES = ("Ada", "Bob", "Cyd", "Dan", "Eve", "Fay", "Gus", "Hal")
PLACES = ("Rome", "Oslo", "Lima", "Bonn", "Cork", "Gaza", "Nice", "Bern")
QUESTIONS = [
    Question(f"Where is {name}?", (place,), (f"{place} is now the home of {name}.",))
    for name, place in zip(NAMES, PLACES, strict=True)
]


def test_a_fit_finds_more_and_leaves_latents_alone(compressor: Compressor) -> None:
    texts = [q.evidence[0] for q in QUESTIONS]
    latents, before = encode(compressor, texts, "evidence")
    fit = fit_retrieval(compressor, QUESTIONS, QUESTIONS[:4], ["Nobody is anywhere."], steps=100, rate=1e-2)
    again, vectors = encode(compressor, texts, "evidence")
    _, asked = encode(compressor, [q.text for q in QUESTIONS], "query")
    assert (asked @ vectors.T).argmax(1).tolist() == list(range(len(QUESTIONS)))
    assert fit.after == 1.0 >= fit.before
    assert fit.steps > 0
    assert (again == latents).all()
    assert (vectors != before).any()


def test_a_fit_that_helps_nobody_keeps_the_start(compressor: Compressor) -> None:
    """Held-out questions that contradict the trained ones: no step is better than none."""
    swapped = [
        Question(q.text, ("nothing",), other.evidence)
        for q, other in zip(QUESTIONS, QUESTIONS[1:] + QUESTIONS[:1], strict=True)
    ]
    fit = fit_retrieval(compressor, QUESTIONS, swapped, [], steps=40, rate=1e-2)
    start = compressor.retrieval_head.weight.clone()
    compressor.start_retrieval()
    assert fit.before == fit.after
    assert fit.steps == 0
    assert torch.equal(start, compressor.retrieval_head.weight)


def test_encode_all_keeps_the_order(compressor: Compressor) -> None:
    texts = ["A long sentence comes first here.", "B", "Another one."]
    together = encode_all(compressor, texts, "evidence")
    for row, text in enumerate(texts):
        alone = encode_all(compressor, [text], "evidence")
        assert all((a[row] - b[0]).abs().max() < 1e-4 for a, b in zip(together, alone, strict=True))


def test_a_teacher_s_vectors_are_what_the_heads_start_with(compressor: Compressor) -> None:
    """A teacher that knows nothing but the place has places found, and no names."""
    texts = [f"{name} is in {place}." for place in PLACES for name in NAMES]
    wanted = torch.eye(len(PLACES)).repeat_interleave(len(NAMES), 0) * 10
    start_from(compressor, encode_all(compressor, texts, "evidence"), wanted)
    _, vectors = encode(compressor, texts, "evidence")
    nearest = (vectors @ vectors.T - 2 * np.eye(len(texts))).argmax(1)
    assert (nearest // len(NAMES) == np.arange(len(texts)) // len(NAMES)).mean() > 0.9
