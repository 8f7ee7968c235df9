"""One trainer for the text memory, driven by a YAML recipe.

A step draws a batch from the seed and the step number alone, so that a resumed run sees what an unbroken one would
have seen. Each batch holds natural questions and cloze questions over evidence of similar length; all of it is
compressed once and serves every term of the loss.
"""

from __future__ import annotations

import json
import math
import random
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from latent_memory import objectives
from latent_memory.compressor import Compressor, CompressorConfig
from latent_memory.data import Form, Question, cloze, python_sentences, read_questions, read_sentences
from latent_memory.generator import Generator, Reading
from latent_memory.pretrained import load_weights, model_identity, save_pretrained
from latent_memory.retrieval import fit_retrieval
from tiers.errors import RecipeError
from tiers.llm.models import default_models, load_causal_lm

RECONSTRUCT = "What does the context say, word for word?"
TOP_K = 64
DISTRACTORS = 1000


class DataSource(BaseModel):
    """A part of a question answering set.

    Attributes:
        path: File, relative to the recipe's `data` folder.
        form: Its layout.
        first: First article or row.
        last: End, exclusive.
        questions: Whether its questions are trained on.
        sentences: Whether its passages' sentences are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    form: Form
    first: int = 0
    last: int | None = None
    questions: bool = True
    sentences: bool = True


class Weights(BaseModel):
    """Weights of the terms of the loss."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reconstruction: float = Field(default=0.5, ge=0)
    contrastive: float = Field(default=0.2, ge=0)
    distillation: float = Field(default=1.0, ge=0)
    answer: float = Field(default=0.0, ge=0)


class MemoryTraining(BaseModel):
    """A training run, all of it.

    Attributes:
        compressor_model: Base of the compressor, as `tiers.llm.models` names it.
        generator_model: The frozen generator.
        data: Folder of the sources, from the working folder.
        sources: What is read of it.
        python_documentation: Whether sentences of the running Python's documentation are compressed too.
        held_out: Natural questions that are never trained on; their loss is what choices rest on.
        compressor: Sizes.
        weights: Weights of the terms of the loss.
        natural: Natural questions in a batch.
        cloze: Questions in a batch that are made from sentences.
        reconstructed: Evidence in a batch that is reconstructed.
        reconstructed_tokens: Tokens of it that are scored.
        evidence_tokens: Longer evidence isn't trained on.
        answer_tokens: Longer natural answers aren't trained on, longer cloze answers are scored up to here.
        temperature: Of the contrastive loss.
        queue: Past evidence vectors that serve as further negatives.
        start: Folder of a trained compressor to go on from, with a fresh optimiser.
        steps: Optimiser steps of the learning rate's schedule.
        stop: Step at which the run ends, where that is before its schedule does.
        warmup: Steps of linear warm-up; a cosine follows.
        head_rate: Peak learning rate of the heads, the pooling and the memory token.
        lora_rate: Peak learning rate of the adapters.
        weight_decay: AdamW's.
        clip: Largest norm of the gradient.
        retrieval_steps: Full-batch steps for the retrieval heads behind training; 0 leaves them as trained.
        retrieval_rate: Their learning rate.
        checkpoint_every: Steps between checkpoints, and looks at the held-out questions.
        seed: Of everything that is drawn.
        dtype: Of the frozen weights.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    compressor_model: str
    generator_model: str
    data: Path
    sources: tuple[DataSource, ...] = Field(min_length=1)
    python_documentation: bool = True
    held_out: int = Field(default=120, ge=0)
    compressor: CompressorConfig = CompressorConfig()
    weights: Weights = Weights()
    natural: int = Field(default=6, ge=0)
    cloze: int = Field(default=10, ge=0)
    reconstructed: int = Field(default=4, ge=0)
    reconstructed_tokens: int = Field(default=32, ge=1)
    evidence_tokens: int = Field(default=64, ge=8)
    answer_tokens: int = Field(default=12, ge=2)
    temperature: float = Field(default=0.07, gt=0)
    queue: int = Field(default=512, ge=0)
    start: Path | None = None
    steps: int = Field(default=2000, ge=1)
    stop: int | None = Field(default=None, ge=1)
    warmup: int = Field(default=50, ge=0)
    head_rate: float = Field(default=3e-4, gt=0)
    lora_rate: float = Field(default=5e-4, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    clip: float = Field(default=1.0, gt=0)
    retrieval_steps: int = Field(default=0, ge=0)
    retrieval_rate: float = Field(default=1e-4, gt=0)
    checkpoint_every: int = Field(default=100, ge=1)
    seed: int = 0
    dtype: str = "bfloat16"


def load_recipe(path: Path) -> MemoryTraining:
    """Reads and checks a recipe.

    Raises:
        RecipeError: naming every key that is wrong.
    """
    try:
        return MemoryTraining.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError) as error:
        raise RecipeError("the training recipe can't be read", where=str(path), got=str(error)) from error
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise RecipeError("the training recipe is not valid", where=str(path), got=wrong) from error


@dataclass(frozen=True)
class Corpus:
    """What a run trains on, sorted by evidence length, and the questions that it holds out."""

    natural: list[Question]
    sentences: list[str]
    held_out: list[Question]


def read_corpus(recipe: MemoryTraining, compressor: Compressor, generator: Generator) -> Corpus:
    """Reads the sources; drops what is longer than the recipe allows; sorts by length with seeded ties."""
    questions: list[Question] = []
    texts: list[str] = python_sentences() if recipe.python_documentation else []
    for source in recipe.sources:
        part = (recipe.data / source.path, source.form, source.first, source.last)
        questions += read_questions(*part) if source.questions else []
        texts += read_sentences(*part) if source.sentences else []

    def fits(question: Question) -> bool:
        return (
            len(question.evidence) == 1
            and len(generator.answer_ids(question.answers[0])) <= recipe.answer_tokens
            and lengths[question.evidence[0]] <= recipe.evidence_tokens
        )

    every = list(dict.fromkeys([*texts, *(q.evidence[0] for q in questions)]))
    encoded = compressor.tokenizer([f" {t}" for t in every], add_special_tokens=False)["input_ids"]
    lengths = {text: len(ids) for text, ids in zip(every, encoded, strict=True)}
    rng = random.Random(recipe.seed)
    natural = [q for q in questions if fits(q)]
    texts = [t for t in dict.fromkeys(texts) if 6 <= lengths[t] <= recipe.evidence_tokens]
    rng.shuffle(natural)
    rng.shuffle(texts)
    held_out, natural = natural[: recipe.held_out], natural[recipe.held_out :]
    natural.sort(key=lambda q: lengths[q.evidence[0]])
    texts.sort(key=lambda t: lengths[t])
    return Corpus(natural, texts, held_out)


def salience(texts: list[str], compressor: Compressor) -> Tensor:
    """Twice the log of each token's inverse document frequency: weights of idf squared under a softmax."""
    seen: Counter[int] = Counter()
    for row in compressor.tokenizer([f" {t}" for t in texts], add_special_tokens=False)["input_ids"]:
        seen.update(set(row))
    counts = torch.tensor([seen[i] for i in range(len(compressor.salience))], dtype=torch.float32)
    return 2 * (len(texts) / (1 + counts)).log().clamp(min=0.05).log()


@dataclass(frozen=True)
class Batch:
    """Questions with one evidence each, natural ones first; `keys` name natural ones for the teacher's cache."""

    questions: list[Question]
    keys: list[int]


def draw(corpus: Corpus, recipe: MemoryTraining, step: int) -> Batch:
    """The batch of a step: evidence from a window of similar length in each list, questions likewise."""
    rng = random.Random(f"{recipe.seed}/{step}")
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
    return Batch(questions, keys)


class Trainer:
    """Model, optimiser and data of a run."""

    def __init__(self, recipe: MemoryTraining, compressor: Compressor, generator: Generator, corpus: Corpus) -> None:
        self.recipe, self.compressor, self.generator, self.corpus = recipe, compressor, generator, corpus
        if not corpus.natural and recipe.natural:
            raise RecipeError("the recipe asks for natural questions, but no source gives any", where="natural")
        lora = [p for n, p in compressor.named_parameters() if "lora_" in n]
        heads = [p for n, p in compressor.named_parameters() if "lora_" not in n and p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            [{"params": heads, "lr": recipe.head_rate}, {"params": lora, "lr": recipe.lora_rate}],
            weight_decay=recipe.weight_decay,
            betas=(0.9, 0.98),
        )
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, self._rate)
        self.step = 0
        self.queue: list[tuple[str, Tensor]] = []
        self._teacher: dict[int, tuple[Tensor, Tensor]] = {}

    def _rate(self, step: int) -> float:
        """Linear warm-up, then a cosine down to a twentieth."""
        warmup, steps = self.recipe.warmup, self.recipe.steps
        if step < warmup:
            return (step + 1) / warmup
        return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))

    def teacher(self, key: int) -> tuple[Tensor, Tensor]:
        """Top-k log-probabilities of the generator that reads the raw evidence, on the gold answer's positions."""
        if key not in self._teacher:
            q = self.corpus.natural[key]
            reading = Reading(q.text, self.generator.embed(q.evidence[0]), self.generator.answer_ids(q.answers[0]))
            with torch.no_grad():
                top = self.generator.score([reading]).log_softmax(-1).topk(min(TOP_K, len(self.generator.embedding)))
            self._teacher[key] = (top.indices, top.values)
        return self._teacher[key]

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Every term of the loss, unweighted."""
        recipe, generator, compressor = self.recipe, self.generator, self.compressor
        texts = [q.evidence[0] for q in batch.questions]
        ids = compressor.tokenize(texts)
        encoded = compressor(ids, "evidence")
        latents = compressor.latents(encoded)
        found: dict[str, Tensor] = {}
        answers = [generator.answer_ids(q.answers[0])[: recipe.answer_tokens] for q in batch.questions]
        readings = [Reading(q.text, z[None], a) for q, z, a in zip(batch.questions, latents, answers, strict=True)]
        if recipe.weights.answer or recipe.weights.distillation:
            logits = generator.score(readings)
            found["answer"] = objectives.cross_entropy(logits, torch.tensor([t for a in answers for t in a]))
            if recipe.weights.distillation and batch.keys:
                tops = [self.teacher(key) for key in batch.keys]
                count = sum(len(a) for a in answers[: len(batch.keys)])
                found["distillation"] = objectives.distillation(
                    logits[:count], torch.cat([t[0] for t in tops]), torch.cat([t[1] for t in tops])
                )
        if recipe.weights.reconstruction and recipe.reconstructed:
            chosen = range(0, len(texts), max(1, len(texts) // recipe.reconstructed))
            targets = [generator.answer_ids(texts[i])[: recipe.reconstructed_tokens] for i in chosen]
            rows = [Reading(RECONSTRUCT, latents[i][None], t) for i, t in zip(chosen, targets, strict=True)]
            found["reconstruction"] = objectives.cross_entropy(
                generator.score(rows), torch.tensor([t for row in targets for t in row])
            )
        if recipe.weights.contrastive:
            asked = len(batch.keys) or len(texts)
            found["contrastive"] = self._contrastive(batch.questions[:asked], texts, compressor.vectors(encoded))
        return found

    def _contrastive(self, questions: list[Question], texts: list[str], vectors: Tensor) -> Tensor:
        """The natural questions against this batch's evidence and that of the last batches."""
        compressor = self.compressor
        queries = compressor.vectors(compressor(compressor.tokenize([q.text for q in questions]), "query"))
        pool = [*texts, *(text for text, _ in self.queue)]
        evidence = torch.cat([vectors, *(v[None] for _, v in self.queue)])
        positive = torch.zeros(len(questions), len(pool), dtype=torch.bool)
        positive.fill_diagonal_(True)
        ignored = torch.tensor(
            [[t == q.evidence[0] or q.answers[0].lower() in t.lower() for t in pool] for q in questions]
        )
        if compressor.training and self.recipe.queue:
            self.queue = [*self.queue, *zip(texts, vectors.detach(), strict=True)][-self.recipe.queue :]
        return objectives.contrastive(queries, evidence, positive, ignored, self.recipe.temperature)

    def train_step(self) -> dict[str, float]:
        """One optimiser step; returns its losses."""
        started = time.perf_counter()
        self.compressor.train()
        losses = self.losses(draw(self.corpus, self.recipe, self.step))
        weights = self.recipe.weights.model_dump()
        total = torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.compressor.parameters(), self.recipe.clip)
        self.optimizer.step()
        self.scheduler.step()
        self.step += 1
        figures = {name: round(loss.item(), 5) for name, loss in losses.items()}
        return {
            "step": self.step,
            "loss": round(total.item(), 5),
            **figures,
            "norm": round(float(norm), 3),
            "seconds": round(time.perf_counter() - started, 3),
        }

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def validate(self) -> dict[str, float]:
        """Answer loss on the held-out questions with their own latents and with another question's; recall."""
        self.compressor.eval()
        held = self.corpus.held_out
        if len(held) < 2:
            return {}
        own: list[float] = []
        other: list[float] = []
        encoded = self.compressor(self.compressor.tokenize([q.evidence[0] for q in held]), "evidence")
        latents, vectors = self.compressor.latents(encoded), self.compressor.vectors(encoded)
        queries = self.compressor.vectors(self.compressor(self.compressor.tokenize([q.text for q in held]), "query"))
        best = (queries @ vectors.T).argmax(1).tolist()
        hits = sum(held[b].evidence == q.evidence for b, q in zip(best, held, strict=True))
        for begin in range(0, len(held), 20):
            part = range(begin, min(len(held), begin + 20))
            answers = [self.generator.answer_ids(held[i].answers[0]) for i in part]
            targets = torch.tensor([t for a in answers for t in a])
            for shift, kept in ((0, own), (1, other)):
                rows = [
                    Reading(held[i].text, latents[(i + shift) % len(held)][None], a)
                    for i, a in zip(part, answers, strict=True)
                ]
                kept.append(objectives.cross_entropy(self.generator.score(rows), targets).item() * len(targets))
        count = sum(len(self.generator.answer_ids(q.answers[0])) for q in held)
        return {
            "held_out": round(sum(own) / count, 4),
            "held_out_shuffled": round(sum(other) / count, 4),
            "held_out_recall_at_1": round(hits / len(held), 4),
        }

    def save(self, folder: Path) -> None:
        """Writes a checkpoint that `load` continues from."""
        state = {
            "step": self.step,
            "model": self.compressor.trained_state(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "queue": self.queue,
            "recipe": self.recipe.model_dump_json(),
        }
        partial = folder / "checkpoint.pt.tmp"
        torch.save(state, partial)
        partial.replace(folder / "checkpoint.pt")

    def load(self, folder: Path) -> None:
        """Continues from a checkpoint."""
        state: dict[str, Any] = torch.load(folder / "checkpoint.pt", weights_only=True)
        if state["recipe"] != self.recipe.model_dump_json():
            raise RecipeError("the checkpoint belongs to another recipe", where=str(folder), hint="Give another --out")
        self.compressor.load_state_dict(state["model"], strict=False)
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.step, self.queue = state["step"], state["queue"]


def train(recipe: MemoryTraining, out: Path, resume: bool = True, models: Path | None = None) -> Path:
    """Trains a compressor as the recipe says.

    Args:
        recipe: What to train on what.
        out: Folder for `checkpoint.pt`, `metrics.jsonl` and, at the end, the trained compressor in `memory/`.
        resume: Go on from the checkpoint in `out` if there is one; the losses are those of an unbroken run.
        models: Folder of model weights.

    Returns:
        The folder of the trained compressor, for `LatentMemory.create(uri, pretrained=...)`.

    Raises:
        SourceError: a data file is missing.
        ModelError: a model is missing.
        RecipeError: the checkpoint belongs to another recipe.
    """
    torch.manual_seed(recipe.seed)
    folder = models or default_models()
    base, tokenizer = load_causal_lm(recipe.compressor_model, folder, dtype=recipe.dtype)
    base_identity = model_identity(recipe.compressor_model, base, tokenizer)
    reader, reader_tokenizer = load_causal_lm(recipe.generator_model, folder, dtype=recipe.dtype)
    generator_identity = model_identity(recipe.generator_model, reader, reader_tokenizer)
    generator = Generator(reader, reader_tokenizer)
    compressor = Compressor(base, tokenizer, recipe.compressor, generator.hidden, generator.embedding_norm)
    corpus = read_corpus(recipe, compressor, generator)
    compressor.salience.copy_(salience(corpus.sentences, compressor))
    if recipe.start is not None:
        load_weights(compressor, recipe.start)
    run(Trainer(recipe, compressor, generator, corpus), out, resume)
    if recipe.retrieval_steps:
        distractors = random.Random(recipe.seed).sample(corpus.sentences, min(len(corpus.sentences), DISTRACTORS))
        fit = fit_retrieval(
            compressor, corpus.natural, corpus.held_out, distractors, recipe.retrieval_steps, recipe.retrieval_rate
        )
        (out / "retrieval.json").write_text(json.dumps(asdict(fit)) + "\n", encoding="utf-8")
    save_pretrained(compressor, base_identity, generator_identity, out / "memory")
    return out / "memory"


def run(trainer: Trainer, out: Path, resume: bool = True) -> None:
    """Trains to the recipe's last step, with checkpoints and `metrics.jsonl` in `out`.

    Steps behind the last checkpoint of an interrupted run are done, and logged, again.
    """
    out.mkdir(parents=True, exist_ok=True)
    if resume and (out / "checkpoint.pt").exists():
        trainer.load(out)
    recipe = trainer.recipe
    last = min(recipe.steps, recipe.stop or recipe.steps)
    with (out / "metrics.jsonl").open("a", encoding="utf-8") as log:
        while trainer.step < last:
            figures = trainer.train_step()
            if trainer.step % recipe.checkpoint_every == 0 or trainer.step == last:
                figures |= trainer.validate()
                trainer.save(out)
            log.write(json.dumps(figures) + "\n")
            log.flush()
