"""What a training run learns from: its corpus, what is counted in it, and the batches that are drawn from it."""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latent_memory.compressor import Compressor
from latent_memory.data import Question, cloze, python_sentences, read_drafted, read_questions, read_sentences
from latent_memory.drafting import draft
from latent_memory.evaluation.retrievers import BM25
from latent_memory.generator import Generator
from latent_memory.ranking import fuse
from latent_memory.training_recipe import DataSource, MemoryTraining

TOGETHER = (2, 3, 5, 10)
"""How many pieces of evidence a question may be read with."""
MOST_EVIDENCE = 4
"""Pieces that a question to train on may need; it always reads all of them."""
SHARED_WORDS = 8
SEARCHED = 0.75
"""Share of questions in company that are read with what a search finds; the others with what nothing recommends. Who
only sees what is hard to tell apart doesn't learn that words in common with the question speak for a piece."""
TOGETHER_SOUGHT = 256
"""Questions that are put to all vectors at once."""
Encode = Callable[[Sequence[str]], NDArray[np.float32]]
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Corpus:
    """What a run trains on, sorted by evidence length, and the questions that it holds out.

    Attributes:
        natural: Questions that somebody asked, or that were drafted.
        sentences: For cloze questions.
        held_out: Never trained on.
        sought: Those of `natural`, each once, by which evidence can be found.
        found: For each of `natural` and `held_out` what a search for it finds, best first; nothing for one whose words
            don't say what it is about, which is read with its own evidence alone.
    """

    natural: list[Question]
    sentences: list[str]
    held_out: list[Question]
    sought: list[Question]
    found: dict[Question, list[str]] = field(default_factory=dict)


def read_sources(recipe: MemoryTraining) -> tuple[dict[Question, DataSource], list[str]]:
    """The questions, with their sources, and the sentences of a recipe; without what the sets to report on hold."""
    unlike = {run for source in recipe.unlike for text in _texts_of(recipe, source) for run in _runs(text)}
    questions: dict[Question, DataSource] = {}
    texts: list[str] = python_sentences() if recipe.python_documentation else []
    for source in recipe.sources:
        part = (recipe.data / source.path, source.form, source.first, source.last)
        asked = read_questions(*part) if source.questions else []
        questions |= {q: source for q in asked if unlike.isdisjoint(_runs(" ".join(q.evidence)))}
        texts += read_sentences(*part, titles=source.form == "qed") if source.sentences else []
    return questions, [text for text in dict.fromkeys(texts) if unlike.isdisjoint(_runs(text))]


def _texts_of(recipe: MemoryTraining, source: DataSource) -> list[str]:
    return read_sentences(recipe.data / source.path, source.form, source.first, source.last)


def _runs(text: str) -> set[tuple[str, ...]]:
    """Every `SHARED_WORDS` words in a row of a text."""
    words = _WORD.findall(text.lower())
    return {tuple(words[at : at + SHARED_WORDS]) for at in range(len(words) - SHARED_WORDS + 1)}


def read_corpus(
    recipe: MemoryTraining,
    compressor: Compressor,
    generator: Generator,
    drafted: list[Question],
    encode: Encode | None = None,
) -> Corpus:
    """Drops what is longer than the recipe allows; sorts by length with seeded ties.

    Of passages that held-out questions are about nothing else is asked in training.

    Args:
        recipe: Names the sources.
        compressor: Whose tokens evidence is measured in.
        generator: Whose tokens answers are measured in.
        drafted: Further questions.
        encode: As for `search_for`.
    """
    questions, texts = read_sources(recipe)

    def fits(question: Question) -> bool:
        return (
            0 < len(question.evidence) <= MOST_EVIDENCE
            and len(generator.answer_ids(question.answers[0])) <= recipe.longest_answer
            and all(lengths[text] <= recipe.evidence_tokens for text in question.evidence)
        )

    every = list(dict.fromkeys([*texts, *(text for q in [*questions, *drafted] for text in q.evidence)]))
    encoded = compressor.tokenizer([f" {t}" for t in every], add_special_tokens=False)["input_ids"]
    lengths = {text: len(ids) for text, ids in zip(every, encoded, strict=True)}
    rng, longest = random.Random(recipe.seed), recipe.evidence_tokens
    natural = [q for q in questions if fits(q)]
    texts = [t for t in texts if 6 <= lengths[t] <= longest]
    rng.shuffle(natural)
    rng.shuffle(texts)
    held_out = [q for q in natural if questions[q].sought and len(q.evidence) == 1][: recipe.held_out]
    seen = {text for q in held_out for text in (*q.evidence, *q.pool)}
    natural = [q for q in natural if seen.isdisjoint(q.evidence)]
    drafted = [q for q in drafted if fits(q) and seen.isdisjoint(q.evidence)]
    sought = [*(q for q in natural if questions[q].sought), *drafted]
    found: dict[Question, list[str]] = {question: [] for question in natural}
    if recipe.distracted:
        near = [text for question in natural for text in _beside(question) if lengths.get(text, math.inf) <= longest]
        found |= search_for([*sought, *held_out], near, encode)
    natural = [*(q for q in natural for _ in range(questions[q].times)), *drafted]
    natural.sort(key=lambda q: lengths[q.evidence[0]])
    texts.sort(key=lambda t: lengths[t])
    return Corpus(natural, texts, held_out, sought, found)


def _beside(question: Question) -> Sequence[str]:
    """A question's evidence with the sentences in front of it and behind."""
    at = question.pool.index(question.evidence[0]) if question.evidence[0] in question.pool else len(question.pool)
    return question.pool[max(0, at - 1) : at + 2]


def salience(texts: list[str], tokenizer: Any, size: int) -> Tensor:
    """Twice the log of each token's inverse document frequency, (size,): weights of idf squared under a softmax.

    Tokens that no text is written with, such as those that keep an image's places, count as the average one in a text.
    """
    counts = _texts_with(texts, tokenizer, size)
    found = 2 * (len(texts) / (1 + counts)).log().clamp(min=0.05).log()
    marks = list(tokenizer.get_added_vocab().values())
    found[marks] = (counts * found).sum() / counts.sum().clamp(min=1)
    return found


def _texts_with(texts: list[str], tokenizer: Any, size: int) -> Tensor:
    """In how many texts each of a tokenizer's tokens is, (size,)."""
    seen: Counter[int] = Counter()
    for row in tokenizer([f" {text}" for text in texts], add_special_tokens=False)["input_ids"]:
        seen.update(set(row))
    return torch.tensor([seen[i] for i in range(size)], dtype=torch.float32)


@dataclass(frozen=True)
class Batch:
    """Questions with one evidence each, natural ones first.

    Attributes:
        questions: In words, with answers.
        natural: How many of them are natural.
        texts: The evidence of each question, in their order, and further evidence behind it.
        contexts: For each question, which texts it reads: its own, in some places with others.
    """

    questions: list[Question]
    natural: int
    texts: list[str]
    contexts: list[list[int]]


def draw(corpus: Corpus, recipe: MemoryTraining, step: int, part: int = 0) -> Batch:
    """A part of a step's batch: evidence from a window of similar length in each list, questions likewise."""
    rng = random.Random(f"{recipe.seed}/{step}/{part}")
    early = step < recipe.early
    natural, made_up = (recipe.early_questions, 0) if early else (recipe.natural, recipe.cloze)
    quantile = rng.random()
    size = min(len(corpus.natural), natural * 6)
    start = int(quantile * (len(corpus.natural) - size + 1))
    window = sorted(range(start, start + size), key=lambda key: len(corpus.natural[key].text))
    first = rng.randint(0, max(0, size - natural))
    keys = window[first : first + natural]
    questions = [corpus.natural[key] for key in keys]
    size = min(len(corpus.sentences), made_up * 6)
    start = int(quantile * (len(corpus.sentences) - size + 1))
    for text in rng.sample(corpus.sentences[start : start + size], size):
        question = cloze(text, rng) if len(questions) < len(keys) + made_up else None
        if question is not None:
            questions.append(question)
    return Batch(questions, len(keys), *choose_contexts(questions, corpus.found, recipe.distracted, rng))


def choose_contexts(
    questions: Sequence[Question], found: Mapping[Question, list[str]], distracted: float, rng: random.Random
) -> tuple[list[str], list[list[int]]]:
    """What each question reads: its own evidence, and for the share `distracted` of them others with it.

    They are what a search for it finds, best first, with its own evidence in the place of some of them where the search
    missed it. In some places, and where nothing was searched, they are the evidence of other questions.

    Returns:
        All texts, first those that hold the questions' answers, and for each question the numbers of those that it
        reads, in the order of the search.
    """
    whole = [question.evidence[0] for question in questions]
    every = {text: number for number, text in reversed(list(enumerate(whole)))}
    contexts = []
    for own, question in enumerate(questions):
        chosen = list(question.evidence)
        if rng.random() < distracted:
            count = rng.choice(TOGETHER)
            around = [text for text in dict.fromkeys(whole[: len(questions)]) if text not in chosen]
            order = found.get(question)
            if order is None or (order and rng.random() >= SEARCHED):
                order = rng.sample(around, min(len(around), count - 1))
            missed = [text for text in question.evidence if text not in order[:count]]
            chosen = order[: max(0, count - len(missed))]
            missed = [text for text in question.evidence if text not in chosen]
            for text in missed:
                chosen.insert(rng.randint(0, len(chosen)), text)
        for text in chosen:
            if text not in every:
                every[text] = len(whole)
                whole.append(text)
        contexts.append([own if text == whole[own] else every[text] for text in chosen])
    return whole, contexts


def search_for(
    questions: Sequence[Question], further: Sequence[str] = (), encode: Encode | None = None
) -> dict[Question, list[str]]:
    """What a search finds for each question, best first: its own evidence, and others that hold no answer.

    Args:
        questions: Whose evidence is searched.
        further: What else is searched.
        encode: Makes vectors of texts, which then find too, joined with full text by `ranking.fuse` as in a memory.
    """
    texts = list(dict.fromkeys([*(text for question in questions for text in question.evidence), *further]))
    index, lowered = BM25(texts), [text.lower() for text in texts]
    orders = [_best(index.scores(question.text)) for question in questions]
    if encode:
        asked = [question.text for question in questions]
        near = _nearest(encode(asked), encode(texts))
        orders = [fuse(both) for both in zip(near, orders, strict=True)]
    found = {}
    for question, order in zip(questions, orders, strict=True):
        fine = (row for row in order if texts[row] in question.evidence or not question.answered_in(lowered[row]))
        found[question] = [texts[row] for row in islice(fine, max(TOGETHER))]
    return found


def _nearest(asked: NDArray[np.float32], vectors: NDArray[np.float32]) -> list[list[int]]:
    """For each question's vector the rows of the best ones of `vectors`, best first."""
    parts = (asked[begin : begin + TOGETHER_SOUGHT] for begin in range(0, len(asked), TOGETHER_SOUGHT))
    return [_best(scores) for part in parts for scores in part @ vectors.T]


def _best(scores: NDArray[np.float32]) -> list[int]:
    """The rows with the best scores, best first, enough of them that some may be left out."""
    most = min(len(scores), 4 * max(TOGETHER))
    best = np.flatnonzero(scores >= np.partition(scores, -most)[-most])
    return [int(row) for row in best[np.argsort(-scores[best], kind="stable")][:most]]


def vocabulary(corpus: Corpus, generator: Generator) -> Tensor:
    """Ids of the generator's tokens that the corpus holds: the only ones that training scores, five times faster."""
    texts = [*corpus.sentences, *(t for q in [*corpus.natural, *corpus.held_out] for t in (*q.evidence, *q.answers))]
    words = dict.fromkeys(word for text in texts for word in text.split())
    seen = {generator.tokenizer.eos_token_id}
    for part in (texts, [f" {text}" for text in texts], list(words), [f" {word}" for word in words]):
        seen.update(i for row in generator.tokenizer(part, add_special_tokens=False)["input_ids"] for i in row)
    return torch.tensor(sorted(seen))


def drafted_questions(recipe: MemoryTraining, generator: Generator, out: Path) -> list[Question]:
    """Questions that the generator drafts about some sentences, made once and kept in `drafted.jsonl`."""
    if not recipe.drafted:
        return []
    _, texts = read_sources(recipe)
    out.mkdir(parents=True, exist_ok=True)
    random.Random(recipe.seed).shuffle(texts)
    draft(texts[: recipe.drafted], generator.model, generator.tokenizer, out / "drafted.jsonl")
    return read_drafted(out / "drafted.jsonl")
