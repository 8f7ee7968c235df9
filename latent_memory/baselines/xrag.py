"""xRAG: a sentence vector becomes one token of the frozen generator, through two layers that alone are trained.

Cheng et al., "xRAG: Extreme Context Compression for Retrieval-augmented Generation with One Token" (NeurIPS 2024,
arXiv 2405.13792). As theirs: the projector, a two-layer MLP; both models frozen; paraphrase pretraining (the generator
repeats a text when it is given its token) and context-aware instruction tuning (the answer's likelihood, and the
divergence from the same generator that reads the raw text). Otherwise: the encoder is all-MiniLM-L6-v2 for a 7B
retriever; both losses are taken together where they train one after the other; the questions are those that the
compressor is trained on, thousands where they have millions; a token starts at the mean norm of the generator's
embeddings.

Legend of shape suffixes: B batch, D length of a sentence vector, G hidden size of the generator.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from latent_memory import objectives
from latent_memory.data import Question
from latent_memory.generator import Generator, Reading
from tiers.errors import ModelError, RecipeError

PARAPHRASES = (
    "What does the context say, word for word?",
    "Put the context in other words.",
    "What is the context about?",
)
"""Of the instructions that they draw from, those that fit this prompt."""
TOP_K = 64
ROOM = 128
"""Most tokens of raw evidence that the teacher reads."""


class XRagTraining(BaseModel):
    """How a projector is trained.

    Attributes:
        steps: Optimiser steps.
        asked: Questions of a step.
        distilled: How many of them the generator also answers from the raw text, to be followed.
        repeated: Texts of a step that are repeated.
        repeated_tokens: How much of such a text is scored.
        answer_tokens: How much of an answer is scored.
        distillation: Weight of the divergence beside the answer's likelihood; theirs is 2 too.
        rate: Learning rate of AdamW, with a tenth of the steps to warm up and a linear decay.
        seed: Of everything that is drawn.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(default=200, ge=1)
    asked: int = Field(default=12, ge=1)
    distilled: int = Field(default=4, ge=0)
    repeated: int = Field(default=4, ge=0)
    repeated_tokens: int = Field(default=20, ge=1)
    answer_tokens: int = Field(default=8, ge=1)
    distillation: float = Field(default=2.0, ge=0)
    rate: float = Field(default=1e-3, gt=0)
    seed: int = 0


class Projector(nn.Module):  # type: ignore[misc]
    """Sentence vectors (B, D) to tokens (B, G)."""

    def __init__(self, size: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(size, hidden), nn.GELU(), nn.Linear(hidden, hidden))

    def forward(self, vectors_BD: Tensor) -> Tensor:
        """The tokens that stand for the texts."""
        tokens_BG: Tensor = self.layers(vectors_BD)
        return tokens_BG

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def start(self, vectors_BD: Tensor, norm: float) -> None:
        """Scales the untrained layers so that the tokens of these vectors have a mean norm."""
        last = self.layers[-1]
        last.bias.zero_()
        last.weight *= norm / self(vectors_BD).norm(dim=-1).mean()


class _Lesson(NamedTuple):
    """What one step trains on: numbers of questions, and texts to repeat, each with its instruction."""

    asked: list[int]
    repeated: list[tuple[str, str]]


def _draw(questions: Sequence[Question], texts: Sequence[str], recipe: XRagTraining) -> list[_Lesson]:
    """The lessons of all steps, from the seed alone."""
    lessons = []
    for step in range(recipe.steps):
        rng = random.Random(f"{recipe.seed}/{step}")
        asked = rng.sample(range(len(questions)), min(recipe.asked, len(questions)))
        repeated = rng.sample(texts, min(recipe.repeated, len(texts)))
        lessons.append(_Lesson(asked, [(rng.choice(PARAPHRASES), text) for text in repeated]))
    return lessons


class _Teacher:
    """What the frozen generator is to say when it reads tokens.

    Args:
        generator: Frozen.
        questions: That are asked.
        texts: All that is scored or encoded.
        recipe: Sizes.
    """

    def __init__(
        self, generator: Generator, questions: Sequence[Question], texts: Sequence[str], recipe: XRagTraining
    ) -> None:
        self.generator, self.questions, self.recipe = generator, questions, recipe
        self.row = {text: row for row, text in enumerate(texts)}
        spoken = [*texts, *(q.answers[0] for q in questions)]
        ids = {token for text in spoken for token in generator.answer_ids(text)}
        self.columns = torch.tensor(sorted(ids))  # the only tokens that are scored, which is many times faster
        self.head = generator.model.lm_head.weight[self.columns]
        self._column = torch.zeros(len(generator.model.lm_head.weight), dtype=torch.long)
        self._column[self.columns] = torch.arange(len(self.columns))
        self._taught: dict[int, tuple[Tensor, Tensor]] = {}

    def answer(self, question: Question) -> tuple[int, ...]:
        return self.generator.answer_ids(question.answers[0])[: self.recipe.answer_tokens]

    def teach(self, keys: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Top log-probabilities of the generator that reads the raw evidence, worked out once for each question."""
        new = [key for key in keys if key not in self._taught]
        if new:
            asked = [self.questions[key] for key in new]
            rows = [Reading(q.text, self.generator.embed(q.evidence[0])[:ROOM], self.answer(q)) for q in asked]
            with torch.no_grad():
                logits = self.generator.logits(self.generator.states(rows).last, self.head)
                top = logits.log_softmax(-1).topk(min(TOP_K, len(self.columns)))
            counts = [len(row.answer) for row in rows]
            for key, ids, values in zip(new, top.indices.split(counts), top.values.split(counts), strict=True):
                self._taught[key] = (ids, values)
        found = [self._taught[key] for key in keys]
        return torch.cat([ids for ids, _ in found]), torch.cat([values for _, values in found])

    def loss(self, projector: Projector, vectors: Tensor, lesson: _Lesson) -> Tensor:
        """Of a step: answering some questions as the raw text would have them answered, and repeating some texts."""
        recipe = self.recipe
        asked = [self.questions[key] for key in lesson.asked]
        tokens = projector(vectors[[self.row[q.evidence[0]] for q in asked]])
        readings = [Reading(q.text, z[None], self.answer(q)) for q, z in zip(asked, tokens, strict=True)]
        logits, loss = self._score(readings)
        if recipe.distilled and recipe.distillation:
            followed = lesson.asked[: recipe.distilled]
            count = sum(len(reading.answer) for reading in readings[: len(followed)])
            loss = loss + recipe.distillation * objectives.distillation(logits[:count], *self.teach(followed))
        if lesson.repeated:
            tokens = projector(vectors[[self.row[text] for _, text in lesson.repeated]])
            readings = [
                Reading(told, z[None], self.generator.answer_ids(text)[: recipe.repeated_tokens])
                for (told, text), z in zip(lesson.repeated, tokens, strict=True)
            ]
            loss = loss + self._score(readings)[1]
        return loss

    def _score(self, readings: Sequence[Reading]) -> tuple[Tensor, Tensor]:
        logits = self.generator.logits(self.generator.states(readings).last, self.head)
        targets = self._column[torch.tensor([token for reading in readings for token in reading.answer])]
        return logits, objectives.cross_entropy(logits, targets)


def train(
    generator: Generator,
    questions: Sequence[Question],
    texts: Sequence[str],
    encode: Callable[[Sequence[str]], Any],
    recipe: XRagTraining | None = None,
    tell: Callable[[int, float], None] = lambda step, loss: None,
) -> Projector:
    """Trains a projector; the same arguments give the same weights.

    Args:
        generator: Frozen; its gradients flow back to the token alone.
        questions: Those with one evidence are trained on.
        texts: Further texts to repeat.
        encode: Sentence vectors of texts, (N, D); called once, for the texts that the steps draw.
        recipe: Sizes and rates.
        tell: Is told each step and its loss.

    Raises:
        RecipeError: when no question has just one evidence.
    """
    recipe = recipe or XRagTraining()
    asked = [q for q in questions if len(q.evidence) == 1]
    if not asked:
        raise RecipeError("there is no question with one evidence to train on", where="xrag", got=len(questions))
    lessons = _draw(asked, list(dict.fromkeys([*(q.evidence[0] for q in asked), *texts])), recipe)
    used = [text for lesson in lessons for text in (*(asked[i].evidence[0] for i in lesson.asked), *_texts(lesson))]
    used = list(dict.fromkeys(used))
    teacher = _Teacher(generator, asked, used, recipe)
    vectors = torch.as_tensor(encode(used))
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        projector = Projector(vectors.shape[1], generator.hidden)
    projector.start(vectors[:1000], generator.embedding_norm)
    optimizer = torch.optim.AdamW(projector.parameters(), lr=recipe.rate)
    warmup = max(1, recipe.steps // 10)
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warmup, (recipe.steps - step) / max(1, recipe.steps - warmup))
    )
    for step, lesson in enumerate(lessons, 1):
        loss = teacher.loss(projector, vectors, lesson)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(projector.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        tell(step, loss.item())
    return _frozen(projector)


def _texts(lesson: _Lesson) -> list[str]:
    return [text for _, text in lesson.repeated]


def save(projector: Projector, generator: str, encoder: str, path: Path) -> None:
    """Writes a projector in half precision, with the names or hashes of the models that it stands between."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    told = {"xrag": json.dumps({"generator": generator, "encoder": encoder})}
    weights = {name: value.half().contiguous() for name, value in projector.state_dict().items()}
    save_file(weights, path, metadata=told)


def load(path: Path, generator: str, encoder: str) -> Projector:
    """Reads a projector.

    Raises:
        ModelError: when there is none, or it was trained for other models.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise ModelError("there is no projector", where=str(path), hint="tierline train-xrag makes it")
    try:
        with safe_open(path, framework="pt") as file:
            told = json.loads((file.metadata() or {}).get("xrag", "null"))
            weights = {name: file.get_tensor(name).float() for name in file.keys()}
    except SafetensorError as error:
        raise ModelError("a projector can't be read", where=str(path), got=str(error)) from error
    expected = {"generator": generator, "encoder": encoder}
    if told != expected:
        raise ModelError("the projector stands between other models", where=str(path), got=told, expected=expected)
    hidden, size = weights["layers.0.weight"].shape
    projector = Projector(size, hidden)
    projector.load_state_dict(weights)
    return _frozen(projector)


def _frozen(projector: Projector) -> Projector:
    projector.eval().requires_grad_(False)
    return projector
