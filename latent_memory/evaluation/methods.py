"""What each method lets the frozen generator read in place of the evidence.

A method is a function from a bench and a question's number to a context: embeddings (n, G), or None for no context at
all. Raw text is read as its own tokens. All methods choose from the same pieces of evidence, and those that search
read the same number of pieces.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from latent_memory.compressor import encode, together
from latent_memory.evaluation.bench import Bench, Search
from latent_memory.evaluation.pruning import most_informative
from latent_memory.generator import Reading
from latent_memory.reader import Latents

ANSWER_TOKENS = 12
"""Room that is left for the answer behind the longest context."""


@dataclass(frozen=True)
class Method:
    """A method and what it rests on.

    Attributes:
        context: What the generator reads for a question.
        keeps: What has to be kept of each piece of evidence: of `text`, `bm25`, `dense`, `vector`, `latent`.
        made: What makes it, once for each piece: of `bm25`, `encoder`, `compressor`, `pruning`.
        search: How it finds its evidence; None where it is told.
        reads: Whether the reader helps the generator.
        needs: What the questions must come with: `evidence`, `pool` or nothing.
    """

    context: Callable[[Bench, int], Tensor | Latents | None]
    keeps: tuple[str, ...] = ()
    made: tuple[str, ...] = ()
    search: Search | None = None
    reads: bool = False
    needs: str = ""


def closed_book(bench: Bench, at: int) -> Tensor | Latents | None:
    """Nothing: what the generator knows by itself (Roberts et al., EMNLP 2020, call this closed-book)."""
    return None


def gold_raw(bench: Bench, at: int) -> Tensor | Latents | None:
    """The text of the gold evidence: what perfect retrieval would give."""
    return bench.generator.embed(" ".join(bench.questions[at].evidence))


def full_context(bench: Bench, at: int) -> Tensor | Latents | None:
    """All passages that the set gives with the question, in their order, cut where the generator can read no more.

    The cut is at the end of the context, never of the question, and is counted.
    """
    generator, question = bench.generator, bench.questions[at]
    whole = generator.embed(" ".join(question.pool))
    longest = int(generator.model.config.max_position_embeddings) - ANSWER_TOKENS
    room = longest - generator.prompt_tokens(Reading(question.text, None))
    if len(whole) > room:
        bench.cut.add(at)
    return whole[:room]


def _raw(bench: Bench, at: int, search: Search) -> Tensor:
    return bench.generator.embed(" ".join(bench.corpus.texts[row] for row in bench.found(search, at)))


def bm25(bench: Bench, at: int) -> Tensor | Latents | None:
    """The text of the k pieces that BM25 finds (Robertson and Zaragoza, 2009)."""
    return _raw(bench, at, "bm25")


def dense(bench: Bench, at: int) -> Tensor | Latents | None:
    """The text of the k pieces that all-MiniLM-L6-v2 finds (Reimers and Gurevych, EMNLP 2019)."""
    return _raw(bench, at, "dense")


def latent_raw(bench: Bench, at: int) -> Tensor | Latents | None:
    """The text of the k pieces that the memory's vectors find: the retrieval of `latents`, nothing lost in reading."""
    return _raw(bench, at, "latent")


def dense_latents(bench: Bench, at: int) -> Tensor | Latents | None:
    """The latents of the k pieces that all-MiniLM-L6-v2 finds: reading as for `latents`, with its retrieval."""
    return bench.corpus.latents(bench.found("dense", at))


def latents(bench: Bench, at: int) -> Tensor | Latents | None:
    """The memory by its vectors alone: the latents of the k pieces that they find (Zheng et al., arXiv 2606.10572)."""
    return bench.corpus.latents(bench.found("latent", at))


def hybrid_latents(bench: Bench, at: int) -> Tensor | Latents | None:
    """The memory as it is asked by default: its vectors and BM25 joined by rank (Cormack et al., SIGIR 2009)."""
    return bench.corpus.latents(bench.found("hybrid", at))


def hybrid_raw(bench: Bench, at: int) -> Tensor | Latents | None:
    """The text of the k pieces that `hybrid_latents` reads."""
    return _raw(bench, at, "hybrid")


def gold_latents(bench: Bench, at: int) -> Tensor | Latents | None:
    """The latents of the gold evidence: what perfect retrieval would give a memory."""
    return bench.corpus.latents(bench.own[at])


def gold_latents_exact(bench: Bench, at: int) -> Tensor | Latents | None:
    """The latents of the gold evidence before they are rounded to what is stored: what rounding takes."""
    compressor = bench.corpus.models.compressor
    codes, _ = encode(compressor, [bench.corpus.texts[row] for row in bench.own[at]], "evidence")
    with torch.inference_mode():
        return together(compressor.latents(torch.from_numpy(codes)))


def shuffled_latents(bench: Bench, at: int) -> Tensor | Latents | None:
    """The latents of another question's gold evidence: what a latent does as a mere prompt."""
    return bench.corpus.latents(bench.own[bench.others[at]])


def _pruned(bench: Bench, at: int, budget: int) -> Tensor:
    kept = most_informative(bench.corpus.weighed(bench.found("latent", at)), budget)
    return bench.generator.embedding[torch.tensor(kept)]


def pruned(bench: Bench, at: int) -> Tensor | Latents | None:
    """As many tokens of `latent_raw`'s text as `latents` reads latents: those of highest self-information.

    Selective Context at the level of tokens (Li et al., EMNLP 2023); `latent_memory.evaluation.pruning` says how.
    """
    return _pruned(bench, at, len(bench.corpus.latents(bench.found("latent", at))))


def pruned_tenth(bench: Bench, at: int) -> Tensor | Latents | None:
    """A tenth of the tokens of `latent_raw`'s text, rounded up: those of highest self-information, as for `pruned`."""
    tokens = sum(len(piece.ids) for piece in bench.corpus.weighed(bench.found("latent", at)))
    return _pruned(bench, at, -(-tokens // 10))


def xrag(bench: Bench, at: int) -> Tensor | Latents | None:
    """One token for each of the k pieces that `dense` finds, projected from its sentence vector.

    Cheng et al., "xRAG: Extreme Context Compression for Retrieval-augmented Generation with One Token" (NeurIPS 2024),
    with all-MiniLM-L6-v2 for their retriever and k pieces where they take the best one.
    """
    return bench.corpus.projected(bench.found("dense", at))


METHODS: dict[str, Method] = {
    "closed-book": Method(closed_book),
    "gold-raw": Method(gold_raw, ("text",), needs="evidence"),
    "full-context": Method(full_context, ("text",), needs="pool"),
    "bm25": Method(bm25, ("text", "bm25"), ("bm25",), "bm25"),
    "dense": Method(dense, ("text", "dense"), ("encoder",), "dense"),
    "latent-raw": Method(latent_raw, ("text", "vector"), ("compressor",), "latent"),
    "dense-latents": Method(dense_latents, ("dense", "latent"), ("encoder", "compressor"), "dense", reads=True),
    "latents": Method(latents, ("vector", "latent"), ("compressor",), "latent", reads=True),
    "hybrid-raw": Method(hybrid_raw, ("text", "bm25", "vector"), ("bm25", "compressor"), "hybrid"),
    "hybrid-latents": Method(
        hybrid_latents, ("bm25", "vector", "latent"), ("bm25", "compressor"), "hybrid", reads=True
    ),
    "gold-latents": Method(gold_latents, ("latent",), ("compressor",), reads=True, needs="evidence"),
    "gold-latents-exact": Method(gold_latents_exact, (), ("compressor",), reads=True, needs="evidence"),
    "shuffled-latents": Method(shuffled_latents, ("latent",), ("compressor",), reads=True, needs="evidence"),
    "gold-latents-unread": Method(gold_latents, ("latent",), ("compressor",), needs="evidence"),
    "pruned": Method(pruned, ("text", "vector"), ("compressor", "pruning"), "latent"),
    "pruned-tenth": Method(pruned_tenth, ("text", "vector"), ("compressor", "pruning"), "latent"),
    "xrag": Method(xrag, ("dense",), ("encoder",), "dense"),
}
