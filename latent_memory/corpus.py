"""What a training run learns from: its corpus, what is counted in it, and the batches that are drawn from it."""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latent_memory.compressor import Compressor
from latent_memory.data import Question, cloze, python_sentences, read_drafted, read_questions, read_sentences
from latent_memory.drafting import draft
from latent_memory.generator import Generator
from latent_memory.training_recipe import MemoryTraining


@dataclass(frozen=True)
class Corpus:
    """What a run trains on, sorted by evidence length, and the questions that it holds out."""

    natural: list[Question]
    sentences: list[str]
    held_out: list[Question]


def read_sources(recipe: MemoryTraining) -> tuple[list[Question], list[str]]:
    """The questions and the sentences of a recipe's sources."""
    questions: list[Question] = []
    texts: list[str] = python_sentences() if recipe.python_documentation else []
    for source in recipe.sources:
        part = (recipe.data / source.path, source.form, source.first, source.last)
        questions += read_questions(*part) if source.questions else []
        texts += read_sentences(*part, titles=source.form == "qed") if source.sentences else []
    return questions, list(dict.fromkeys(texts))


def read_corpus(
    recipe: MemoryTraining, compressor: Compressor, generator: Generator, drafted: list[Question]
) -> Corpus:
    """Drops what is longer than the recipe allows; sorts by length with seeded ties."""
    questions, texts = read_sources(recipe)

    def fits(question: Question) -> bool:
        return (
            len(question.evidence) == 1
            and len(generator.answer_ids(question.answers[0])) <= recipe.answer_tokens
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
    held_out, natural = natural[: recipe.held_out], natural[recipe.held_out :]
    asked = {q.evidence[0] for q in held_out}
    natural += [q for q in drafted if fits(q) and q.evidence[0] not in asked]
    natural.sort(key=lambda q: lengths[q.evidence[0]])
    texts.sort(key=lambda t: lengths[t])
    return Corpus(natural, texts, held_out)


def salience(texts: list[str], compressor: Compressor) -> Tensor:
    """Twice the log of each token's inverse document frequency: weights of idf squared under a softmax."""
    counts = _texts_with(texts, compressor.tokenizer, len(compressor.salience))
    return 2 * (len(texts) / (1 + counts)).log().clamp(min=0.05).log()


def rarity(texts: list[str], generator: Generator) -> Tensor:
    """The log of each of the generator's tokens' inverse frequency among sentences, at least a tenth, (V,)."""
    counts = _texts_with(texts, generator.tokenizer, len(generator.embedding))
    return (len(texts) / (1 + counts)).log().clamp(min=0.1, max=math.log(max(2, len(texts))) - 1)


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
        keys: Names of the natural ones, for the teacher's cache.
        contexts: For each question, whose latents it reads: its own, in some places with others.
    """

    questions: list[Question]
    keys: list[int]
    contexts: list[list[int]]


def draw(corpus: Corpus, recipe: MemoryTraining, step: int, part: int = 0) -> Batch:
    """A part of a step's batch: evidence from a window of similar length in each list, questions likewise."""
    rng = random.Random(f"{recipe.seed}/{step}/{part}")
    quantile = rng.random()
    size = min(len(corpus.natural), recipe.natural * 6)
    start = int(quantile * (len(corpus.natural) - size + 1))
    window = sorted(range(start, start + size), key=lambda key: len(corpus.natural[key].text))
    first = rng.randint(0, max(0, size - recipe.natural))
    keys = window[first : first + recipe.natural]
    questions = [corpus.natural[key] for key in keys]
    size = min(len(corpus.sentences), recipe.cloze * 6)
    start = int(quantile * (len(corpus.sentences) - size + 1))
    for text in rng.sample(corpus.sentences[start : start + size], size):
        question = cloze(text, rng) if len(questions) < recipe.natural + recipe.cloze else None
        if question is not None:
            questions.append(question)
    return Batch(questions, keys, choose_contexts(len(questions), recipe.distracted, rng))


def draw_sentences(corpus: Corpus, recipe: MemoryTraining, step: int, part: int) -> list[str]:
    """A part of an early step's batch: sentences from a window of similar length."""
    rng = random.Random(f"{recipe.seed}/{step}/{part}")
    size = min(len(corpus.sentences), recipe.early_sentences * 4)
    start = rng.randint(0, len(corpus.sentences) - size)
    return rng.sample(corpus.sentences[start : start + size], min(size, recipe.early_sentences))


def choose_contexts(count: int, distracted: float, rng: random.Random) -> list[list[int]]:
    """For each question its own number; with one or two others, in any order, for the share `distracted` of them."""
    contexts: list[list[int]] = []
    for own in range(count):
        others = [number for number in range(count) if number != own]
        more = rng.sample(others, min(len(others), rng.randint(1, 2))) if rng.random() < distracted else []
        contexts.append(rng.sample([own, *more], 1 + len(more)))
    return contexts


def vocabulary(corpus: Corpus, generator: Generator) -> Tensor:
    """Ids of the generator's tokens that the corpus holds: the only ones that training scores, five times faster."""
    texts = [*corpus.sentences, *(t for q in [*corpus.natural, *corpus.held_out] for t in (*q.evidence, *q.answers))]
    words = dict.fromkeys(word for text in texts for word in text.split())
    seen = {generator.tokenizer.eos_token_id}
    for part in (texts, list(words), [f" {word}" for word in words]):
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
