from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from latent_memory.baselines.xrag import Projector
from latent_memory.compressor import Compressor
from latent_memory.data import Question
from latent_memory.evaluation.answers import answer_loss
from latent_memory.evaluation.bench import Bench, Corpus, Models, derangement, read_memory
from latent_memory.evaluation.methods import METHODS
from latent_memory.evaluation.metrics import bootstrap, exact_match, holds_answer, normalise, recall, token_f1
from latent_memory.evaluation.pruning import Weighed, most_informative, self_information
from latent_memory.evaluation.retrievers import SentenceEncoder
from latent_memory.evaluation.run import Evaluation, evaluate, possible
from latent_memory.generator import Generator, Reading
from latent_memory.memory import LatentMemory
from latent_memory.ranking import fuse
from latent_memory.reader import Latents
from tiers.document import documents
from tiers.errors import ModelError, SourceError

ADA, BOB, EVE = "Ada lives in Rome.", "Bob lives in Oslo.", "Eve lives in Bern."
ROME, OSLO, BERN = "Rome is a city.", "Oslo is a town.", "Bern is a capital."
OTHER = ("Nobody lives on the moon at all.", "Cats purr.", "It rained for a week.")
QUESTIONS = [
    Question("Where is Ada?", ("Rome",), (ADA, ROME), (ADA, ROME, OTHER[0])),
    Question("Where is Bob?", ("Oslo",), (BOB, OSLO), (BOB, OSLO, OTHER[1])),
    Question("Where does Eve live?", ("Bern",), (EVE, BERN), (OTHER[2], EVE, BERN)),
]


@pytest.fixture
def models(compressor: Compressor, generator: Generator, tiny_encoder: Path) -> Models:
    encoder = SentenceEncoder(tiny_encoder)
    torch.manual_seed(0)
    return Models(generator, compressor, encoder, Projector(encoder.size, generator.hidden))


@pytest.fixture
def bench(models: Models) -> Bench:
    return Bench(Corpus.of(models, QUESTIONS), QUESTIONS, k=2)


@pytest.mark.parametrize(
    ("answer", "accepted", "f1", "exact"),
    [
        ("The Eiffel Tower.", ["Eiffel tower"], 1.0, 1.0),
        ("in 1889", ["1889"], 2 / 3, 0.0),
        ("nobody", ["Gustave Eiffel"], 0.0, 0.0),
        ("", ["1889"], 0.0, 0.0),
        ("Stanley Hall", ["G. Stanley Hall", "Stanley Hall"], 1.0, 1.0),
        ("the the cat cat", ["cat"], 2 / 3, 0.0),
    ],
)
def test_f1_and_exact_match_follow_squad(answer: str, accepted: list[str], f1: float, exact: float) -> None:
    assert token_f1(answer, accepted) == pytest.approx(f1)
    assert exact_match(answer, accepted) == exact


def test_normalise_drops_articles_punctuation_and_case() -> None:
    assert normalise("  An   apple, a day: THE doctor's ") == "apple day doctors"


def test_recall_is_the_share_of_the_gold_evidence_that_was_found() -> None:
    assert recall([4, 7, 9], [7, 1]) == 0.5
    assert recall([], [7]) == 0.0
    assert holds_answer(["It was built in 1889."], ["1887", "1889"]) == 1.0
    assert holds_answer(["It was built in 18890."], ["1889"]) == 0.0


def test_a_bootstrap_interval_holds_the_mean_and_narrows_with_more_values() -> None:
    few, many = bootstrap([0.0, 1.0] * 10), bootstrap([0.0, 1.0] * 500)
    assert few.low < few.mean == 0.5 < few.high
    assert many.high - many.low < (few.high - few.low) / 3
    assert bootstrap([0.3] * 8) == bootstrap([0.3] * 9)


def test_a_derangement_shares_no_evidence_and_prefers_the_same_number_of_pieces() -> None:
    own = [[0], [0], [1], [2, 3], [4, 5], [1]]
    chosen = derangement(own)
    assert all(not set(own[i]) & set(own[j]) for i, j in enumerate(chosen))
    assert chosen[3] == 4
    assert chosen[4] == 3


def text_of(bench: Bench, context: Tensor) -> str:
    """The text whose embeddings a context is."""
    ids = [int((bench.generator.embedding == row).all(1).nonzero()[0]) for row in context]
    return str(bench.generator.tokenizer.decode(ids))


def context(bench: Bench, name: str, at: int) -> Any:
    found = METHODS[name].context(bench, at)
    assert found is not None
    return found


def test_methods_of_raw_text_read_that_text(bench: Bench) -> None:
    texts = bench.corpus.texts
    for at, question in enumerate(QUESTIONS):
        assert METHODS["closed-book"].context(bench, at) is None
        assert text_of(bench, context(bench, "gold-raw", at)) == " ".join(question.evidence)
        assert text_of(bench, context(bench, "full-context", at)) == " ".join(question.pool)
        for name, search in (("bm25", "bm25"), ("dense", "dense"), ("latent-raw", "latent")):
            scores = bench.scores(search)[at]  # type: ignore[arg-type]
            best = sorted(range(len(texts)), key=lambda row: (-scores[row], row))[:2]
            assert text_of(bench, context(bench, name, at)) == " ".join(texts[row] for row in best)
    assert bench.cut == set()


def same(one: Latents, other: Latents) -> bool:
    return torch.equal(one.tokens, other.tokens) and torch.equal(one.keys, other.keys)


def test_methods_of_latents_read_those_of_the_right_evidence(bench: Bench) -> None:
    latents = bench.corpus.latents
    for at in range(len(QUESTIONS)):
        assert same(context(bench, "gold-latents", at), latents(bench.own[at]))
        assert same(context(bench, "gold-latents-unread", at), latents(bench.own[at]))
        assert same(context(bench, "latents", at), latents(bench.ranked("latent", at)[:2]))
        assert same(context(bench, "dense-latents", at), latents(bench.ranked("dense", at)[:2]))
        assert context(bench, "xrag", at).shape == (2, bench.generator.hidden)
        assert not {*bench.own[bench.others[at]]} & {*bench.own[at]}
        assert same(context(bench, "shuffled-latents", at), latents(bench.own[bench.others[at]]))
        assert not same(context(bench, "shuffled-latents", at), latents(bench.own[at]))
    assert METHODS["gold-latents"].reads
    assert not METHODS["gold-latents-unread"].reads


def test_a_hybrid_search_joins_the_orders_of_vectors_and_words(bench: Bench) -> None:
    for at, own in ((0, None), (1, bench.near[1])):
        near, worded = bench.ranked("latent", at, own), bench.ranked("bm25", at, own)
        shared = [row for row in worded if bench.scores("bm25")[at, row] > 0]
        assert 0 < len(shared) < len(worded)
        assert bench.ranked("hybrid", at, own) == fuse([near, shared])
    assert same(context(bench, "hybrid-latents", 0), bench.corpus.latents(bench.ranked("hybrid", 0)[:2]))


def test_the_whole_pool_is_cut_where_the_generator_can_read_no_more(bench: Bench) -> None:
    long = replace(QUESTIONS[0], pool=(" ".join(["word"] * 600),))
    bench.questions = [long]
    read = context(bench, "full-context", 0)
    assert bench.cut == {0}
    reading = Reading(long.text, read)
    limit = bench.generator.model.config.max_position_embeddings
    assert bench.generator.prompt_tokens(reading) + 12 == limit
    assert text_of(bench, read).startswith("word word word")


def test_self_information_is_that_of_each_token_behind_those_before_it(generator: Generator) -> None:
    texts = ["Ada lives.", "Bob lives in Oslo and in Bern."]
    weighed = self_information(generator, texts)
    for text, (ids, bits) in zip(texts, weighed, strict=True):
        assert ids == generator.token_ids(f" {text}")
        given = torch.tensor([[generator.tokenizer.eos_token_id, *ids]])
        logits = generator.model(input_ids=given).logits[0].log_softmax(-1)
        expected = [-float(logits[place, token]) / 0.6931472 for place, token in enumerate(ids)]
        assert bits == pytest.approx(expected, abs=1e-3)


def test_pruning_keeps_exactly_the_most_informative_tokens_in_order() -> None:
    pieces = [Weighed([10, 11, 12], [1.0, 5.0, 2.0]), Weighed([13, 10], [9.0, 2.0])]
    assert most_informative(pieces, 2) == [11, 13]
    assert most_informative(pieces, 3) == [11, 12, 13]
    assert most_informative(pieces, 9) == [10, 11, 12, 13, 10]
    assert most_informative(pieces, 0) == [13]


def test_pruned_text_is_as_long_as_latents_or_a_tenth_of_the_raw_text(bench: Bench) -> None:
    pieces = bench.corpus.weighed(bench.found("latent", 0))
    assert len(context(bench, "pruned", 0)) == 2
    tokens = sum(len(piece.ids) for piece in pieces)
    assert len(context(bench, "pruned-tenth", 0)) == -(-tokens // 10)
    kept = text_of(bench, context(bench, "pruned", 0))
    assert kept == bench.generator.tokenizer.decode(most_informative(pieces, 2))


def run(models: Models, methods: list[str] | None = None, **how: Any) -> Evaluation:
    names = methods or possible(QUESTIONS, projector=True)[0]
    return evaluate(QUESTIONS, Corpus.of(models, QUESTIONS), names, k=2, timed=1, **how)


def test_all_methods_answer_the_same_questions(models: Models) -> None:
    evaluation = run(models)
    methods = evaluation.summary["methods"]
    assert list(methods) == list(METHODS)
    assert len(evaluation.answers) == len(METHODS) * len(QUESTIONS)
    for name, got in methods.items():
        rows = [row for row in evaluation.answers if row["method"] == name]
        assert [row["question"] for row in rows] == [question.text for question in QUESTIONS]
        assert got["f1"]["mean"] == pytest.approx(sum(row["f1"] for row in rows) / len(rows))
        assert got["seconds"]["answer"] > 0
        bare = models.generator.prompt_tokens(Reading(rows[0]["question"], None))
        assert rows[0]["prompt_tokens"] == bare + rows[0]["context_tokens"]
    read = {name: got["context_tokens"] for name, got in methods.items()}
    two = (
        "latents",
        "hybrid-latents",
        "dense-latents",
        "gold-latents",
        "shuffled-latents",
        "gold-latents-unread",
        "pruned",
        "xrag",
    )
    assert {name: read[name] for name in two} == dict.fromkeys(two, 2)
    assert read["closed-book"] == 0
    assert methods["gold-latents"]["answer_loss"] != methods["gold-latents-unread"]["answer_loss"]
    assert methods["gold-latents"]["answer_loss"] != methods["shuffled-latents"]["answer_loss"]
    assert methods["bm25"]["answer_loss"] is None


def test_bytes_are_those_of_what_a_method_keeps(models: Models) -> None:
    methods = run(models).summary["methods"]
    text = sum(len(text) for text in Corpus.of(models, QUESTIONS).texts) / 9
    kept = {name: got["bytes_per_evidence"] for name, got in methods.items()}
    assert kept["closed-book"] == 0
    assert kept["gold-raw"] == pytest.approx(text)
    assert kept["latents"] == 40 * (3 + 2) + 2 * 16
    assert kept["xrag"] == 2 * 24
    assert kept["dense"] == pytest.approx(text + 2 * 24)
    assert kept["bm25"] > text


def test_recall_is_of_the_corpus_and_of_the_question_s_own_passages(models: Models) -> None:
    retrieval = run(models, ["bm25", "latents", "hybrid-raw"]).summary["retrieval"]
    assert set(retrieval) == {"bm25", "latent", "hybrid"}
    for got in retrieval.values():
        assert got["own"]["recall@5"] == got["corpus"]["recall@10"] == 1.0
        assert got["own"]["recall@1"] <= got["own"]["any@1"]
        assert got["own"]["pool"] == 3
    assert retrieval["bm25"]["own"]["any@1"] == 1.0  # by the name that only the gold evidence has
    assert retrieval["bm25"]["corpus"]["answer@10"] == 1.0


def test_differences_are_paired_with_a_named_method(models: Models) -> None:
    evaluation = run(models, ["closed-book", "gold-raw", "latents"], against="gold-raw")
    summary = evaluation.summary
    assert set(summary["differences"]) == {"closed-book", "latents"}
    means = {name: got["f1"]["mean"] for name, got in summary["methods"].items()}
    difference = summary["differences"]["latents"]["f1"]["mean"]
    assert difference == pytest.approx(means["latents"] - means["gold-raw"])
    with pytest.raises(ModelError, match="bm25"):
        run(models, ["closed-book"], against="bm25")


def test_what_can_not_be_run_is_refused_and_said(models: Models) -> None:
    bare = [Question("Where is Ada?", ("Rome",), ())]
    names, missing = possible(bare, projector=False)
    assert "latents" in names
    assert set(missing) == {
        "gold-raw", "full-context", "gold-latents", "gold-latents-exact", "shuffled-latents",
        "gold-latents-unread", "xrag",
    }  # fmt: skip
    corpus = Corpus.of(models, bare, [ADA, BOB])
    with pytest.raises(SourceError, match="gold evidence"):
        evaluate(bare, corpus, ["gold-latents"])
    with pytest.raises(ModelError, match="no method of this name"):
        evaluate(bare, corpus, ["magic"])
    with pytest.raises(ModelError, match="projector"):
        evaluate(bare, Corpus(replace(models, projector=None), [ADA]), ["xrag"])
    with pytest.raises(SourceError, match="no question"):
        evaluate([], corpus, ["latents"])
    summary = evaluate(bare, corpus, ["bm25", "latents"], timed=0).summary
    assert "recall@1" not in summary["retrieval"]["bm25"]["corpus"]
    assert summary["retrieval"]["bm25"]["corpus"]["answer@1"] == 1.0


def test_a_memory_is_searched_as_it_is_stored(models: Models, tmp_path: Path, trained: Path, tiny_model: Path) -> None:
    memory = LatentMemory.create(tmp_path / "memory", trained, tiny_model.parent)
    memory.add(documents([{"text": text, "source": f"test#{n}"} for n, text in enumerate((ADA, OTHER[0], ROME))]))
    texts, stored = read_memory(memory)
    assert sorted(texts) == sorted([ADA, ROME, OTHER[0]])
    corpus = Corpus.stored(models, QUESTIONS[:2], texts, stored)
    assert corpus.searched == 3
    assert same(corpus.latents([0]), stored.latents(models.compressor, [0]))
    bench = Bench(corpus, QUESTIONS[:2], k=2)
    assert len(context(bench, "gold-latents", 1)) == 2  # Bob isn't in the memory; his evidence is compressed here
    assert all(max(bench.ranked(search, at)) < 3 for search in ("bm25", "dense", "latent") for at in (0, 1))
    retrieval = evaluate(QUESTIONS[:2], corpus, ["latents"], k=2, timed=0).summary["retrieval"]["latent"]
    assert retrieval["corpus"]["recall@10"] == 0.5
    assert "own" not in retrieval


def test_the_loss_of_an_answer_is_that_of_its_tokens(generator: Generator) -> None:
    questions = [Question("Who?", ("me",), ("It is me.",)), Question("Where is it now?", ("there",), ("There.",))]
    together = answer_loss(generator, questions, [None, torch.ones(1, 32)])
    assert together[0] == pytest.approx(answer_loss(generator, questions[:1], [None])[0], abs=1e-3)
    assert together[1] == pytest.approx(answer_loss(generator, questions[1:], [torch.ones(1, 32)])[0], abs=1e-3)
    assert min(together) > 0
