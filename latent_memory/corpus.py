"""What a training run learns from: its corpus, what is counted in it, and the batches that are drawn from it."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latent_memory.compressor import Compressor
from latent_memory.data import Question, cloze, python_sentences, read_drafted, read_questions, read_sentences
from latent_memory.drafting import draft
from latent_memory.generator import Generator
from latent_memory.training_recipe import DataSource, MemoryTraining

HARD = 0.8
"""Share of the distracting evidence that is hard."""

FIRST = 0.5
"""Share of the distracted questions whose own evidence comes first, as it does where a search finds it first."""
SHARED_WORDS = 8
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Corpus:
    """What a run trains on, sorted by evidence length, and the questions that it holds out.

    Attributes:
        natural: Questions that somebody asked, or that were drafted.
        sentences: For cloze questions.
        held_out: Never trained on.
        sought: Those of `natural`, each once, by which evidence can be found.
        confusing: For each evidence of a question, hard negatives.
    """

    natural: list[Question]
    sentences: list[str]
    held_out: list[Question]
    sought: list[Question]
    confusing: dict[str, list[str]] = field(default_factory=dict)


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
    recipe: MemoryTraining, compressor: Compressor, generator: Generator, drafted: list[Question]
) -> Corpus:
    """Drops what is longer than the recipe allows; sorts by length with seeded ties."""
    questions, texts = read_sources(recipe)

    def fits(question: Question) -> bool:
        return (
            len(question.evidence) == 1
            and len(generator.answer_ids(question.answers[0])) <= recipe.longest_answer
            and lengths[question.evidence[0]] <= recipe.evidence_tokens
        )

    every = list(dict.fromkeys([*texts, *(q.evidence[0] for q in [*questions, *drafted])]))
    encoded = compressor.tokenizer([f" {t}" for t in every], add_special_tokens=False)["input_ids"]
    lengths = {text: len(ids) for text, ids in zip(every, encoded, strict=True)}
    rng = random.Random(recipe.seed)
    natural = [q for q in questions if fits(q)]
    texts = [t for t in texts if 6 <= lengths[t] <= recipe.evidence_tokens]
    rng.shuffle(natural)
    rng.shuffle(texts)
    held_out = [q for q in natural if questions[q].sought][: recipe.held_out]
    asked = {q.evidence[0] for q in held_out}
    natural = [q for q in natural if q not in set(held_out)]
    drafted = [q for q in drafted if fits(q) and q.evidence[0] not in asked]
    sought = [*(q for q in natural if questions[q].sought), *drafted]
    hard = confusing([*natural, *drafted], compressor) if recipe.distracted else {}
    natural = [*(q for q in natural for _ in range(questions[q].times)), *drafted]
    natural.sort(key=lambda q: lengths[q.evidence[0]])
    texts.sort(key=lambda t: lengths[t])
    return Corpus(natural, texts, held_out, sought, hard)


def salience(texts: list[str], compressor: Compressor) -> Tensor:
    """Twice the log of each token's inverse document frequency: weights of idf squared under a softmax.

    Tokens that no text is written with, such as those that keep an image's places, count as the average one in a text.
    """
    counts = _texts_with(texts, compressor.tokenizer, len(compressor.salience))
    found = 2 * (len(texts) / (1 + counts)).log().clamp(min=0.05).log()
    marks = list(compressor.tokenizer.get_added_vocab().values())
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
    texts = [question.evidence[0] for question in questions]
    return Batch(questions, len(keys), *choose_contexts(texts, corpus.confusing, recipe.distracted, rng))


def choose_contexts(
    texts: list[str], confusing: dict[str, list[str]], distracted: float, rng: random.Random
) -> tuple[list[str], list[list[int]]]:
    """What each question reads: its own evidence, and for the share `distracted` of them two others.

    The others are hard negatives where there are some, and the evidence of other questions of the batch.

    Returns:
        All texts, the questions' own first, and for each question the numbers of those that it reads, in the order of a
        search.
    """
    every = {text: number for number, text in reversed(list(enumerate(texts)))}
    whole, contexts = list(texts), []
    for own, text in enumerate(texts):
        chosen = [own]
        if rng.random() < distracted:
            hard = [other for other in confusing.get(text, []) if other != text]
            around = [other for other in texts if other != text]
            for _ in range(2):
                pool = hard if hard and rng.random() < HARD else around
                other = rng.choice(pool) if pool else text
                if other not in every:
                    every[other] = len(whole)
                    whole.append(other)
                if every[other] not in chosen and other != text:
                    chosen.append(every[other])
        first, others = chosen[:1], chosen[1:]
        rng.shuffle(others)
        at = 0 if rng.random() < FIRST else rng.randint(0, len(others))
        contexts.append([*others[:at], *first, *others[at:]])
    return whole, contexts


def confusing(questions: Sequence[Question], compressor: Compressor, count: int = 8) -> dict[str, list[str]]:
    """Hard negatives: for each evidence what else its questions find, the nearest first, but for what holds an answer.

    Found by the words alone, with the untrained retrieval head, so that the compressor isn't run for it.
    """
    texts = list(dict.fromkeys(question.evidence[0] for question in questions))
    evidence = compressor.lexical_vectors(texts)
    found: dict[str, list[str]] = {}
    for question, scores in zip(
        questions, compressor.lexical_vectors([q.text for q in questions]) @ evidence.T, strict=True
    ):
        near = [texts[i] for i in scores.topk(min(len(texts), 2 * count)).indices.tolist()]
        answer = question.answers[0].lower()
        others = [text for text in near if text != question.evidence[0] and answer not in text.lower()]
        found.setdefault(question.evidence[0], []).extend(others[:count])
    return found


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
