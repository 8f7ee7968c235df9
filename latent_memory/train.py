"""One trainer for the text memory, driven by a YAML recipe.

A step draws a batch from the seed and the step number alone, so that a resumed run sees what an unbroken one would
have seen. Each batch holds natural questions and cloze questions over evidence of similar length; all of it is
compressed once and serves every term of the loss.
"""

from __future__ import annotations

import json
import math
import os
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from latent_memory import objectives
from latent_memory.compressor import Compressor
from latent_memory.corpus import (
    Batch,
    Corpus,
    drafted_questions,
    draw,
    draw_sentences,
    rarity,
    read_corpus,
    salience,
    vocabulary,
)
from latent_memory.data import Question
from latent_memory.evaluate import answer_all, answer_loss
from latent_memory.generator import Generator, Reading, read
from latent_memory.pretrained import load_weights, model_identity, save_pretrained
from latent_memory.retrieval import encode_all, fit_retrieval
from latent_memory.training_recipe import MemoryTraining
from tiers.errors import RecipeError
from tiers.llm.models import default_models, load_causal_lm

RECONSTRUCT = "What does the context say, word for word?"
TOP_K = 64
DISTRACTORS = 1000
STRENGTHS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2)
BATCH = 32
LONGEST_WAIT = timedelta(days=1)
"""Of the other processes, while the first one drafts questions or looks at the held-out ones."""


def processes() -> tuple[int, int]:
    """This process's number, and how many there are (`torchrun` starts several)."""
    if "WORLD_SIZE" not in os.environ:
        return 0, 1
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("gloo", timeout=LONGEST_WAIT)
    return torch.distributed.get_rank(), torch.distributed.get_world_size()


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
        self.rank, self.world = processes()
        self.columns = vocabulary(corpus, generator)
        self._head = generator.model.lm_head.weight[self.columns]
        self._column = torch.zeros(len(generator.model.lm_head.weight), dtype=torch.long)
        self._column[self.columns] = torch.arange(len(self.columns))
        self._rarity = rarity(corpus.sentences, generator)[self.columns]
        self._teacher: dict[int, tuple[Tensor, Tensor]] = {}

    def _rate(self, step: int) -> float:
        """Linear warm-up, then a cosine down to a twentieth."""
        warmup, steps = self.recipe.warmup, self.recipe.steps
        if step < warmup:
            return (step + 1) / warmup
        return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))

    def teach(self, keys: list[int]) -> tuple[Tensor, Tensor]:
        """Top-k log-probabilities of the generator that reads the raw evidence, on the gold answers' positions."""
        new = [key for key in keys if key not in self._teacher]
        if new:
            asked = [self.corpus.natural[key] for key in new]
            readings = [Reading(q.text, self.generator.embed(q.evidence[0]), self._answer(q.answers[0])) for q in asked]
            with torch.no_grad():
                logits = self.generator.logits(self.generator.states(readings), self._head)
                top = logits.log_softmax(-1).topk(min(TOP_K, len(self.columns)))
            lengths = [len(reading.answer) for reading in readings]
            for key, ids, values in zip(new, top.indices.split(lengths), top.values.split(lengths), strict=True):
                self._teacher[key] = (ids, values)
        found = [self._teacher[key] for key in keys]
        return torch.cat([ids for ids, _ in found]), torch.cat([values for _, values in found])

    def _answer(self, answer: str) -> tuple[int, ...]:
        return self.generator.answer_ids(answer)[: self.recipe.answer_tokens]

    def _targets(self, answers: Sequence[Sequence[int]]) -> Tensor:
        """The columns of the restricted output head that answers' tokens have, one after the other."""
        return self._column[torch.tensor([token for answer in answers for token in answer])]

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Every term of the loss, unweighted."""
        recipe, generator, compressor = self.recipe, self.generator, self.compressor
        texts = [q.evidence[0] for q in batch.questions]
        ids = compressor.tokenize(texts)
        encoded = compressor(ids, "evidence")
        latents = compressor.latents(encoded)
        found = {"words": self._words(texts, latents)} if recipe.weights.words else {}
        answers = [self._answer(q.answers[0]) for q in batch.questions]
        queries = compressor(compressor.tokenize([q.text for q in batch.questions]), "query")
        asked = compressor.latents(queries)
        readings = [
            Reading(q.text, latents[c], a, z)
            for q, c, a, z in zip(batch.questions, batch.contexts, answers, asked, strict=True)
        ]
        targets = self._targets(answers)
        states = generator.states(readings)
        logits = generator.logits(states, self._head)
        found["answer"] = objectives.cross_entropy(logits, targets)
        if recipe.weights.read:
            change = generator.logits(read(compressor.reader, states, readings), self._head)
            found["read"] = objectives.cross_entropy(logits + change, targets)
        keys = batch.keys[: recipe.distilled]
        if recipe.weights.distillation and keys:
            count = sum(len(a) for a in answers[: len(keys)])
            found["distillation"] = objectives.distillation(logits[:count], *self.teach(keys))
        if recipe.weights.reconstruction and recipe.reconstructed:
            chosen = range(0, len(texts), max(1, len(texts) // recipe.reconstructed))
            wanted = [generator.answer_ids(texts[i])[: recipe.reconstructed_tokens] for i in chosen]
            rows = [Reading(RECONSTRUCT, latents[i][None], t) for i, t in zip(chosen, wanted, strict=True)]
            found["reconstruction"] = objectives.cross_entropy(
                generator.logits(generator.states(rows), self._head), self._targets(wanted)
            )
        if recipe.weights.contrastive:
            count = len(batch.keys) or len(texts)
            found["contrastive"] = self._contrastive(
                batch.questions[:count], compressor.vectors(queries)[:count], texts, compressor.vectors(encoded)
            )
        return found

    def early_losses(self, texts: list[str]) -> dict[str, Tensor]:
        """The loss of an early step: words alone."""
        latents = self.compressor.latents(self.compressor(self.compressor.tokenize(texts), "evidence"))
        return {"words": self._words(texts, latents)}

    def _words(self, texts: list[str], latents: Tensor) -> Tensor:
        """Cross-entropy of the words of each text, rare ones first, when the reader is asked for nothing."""
        asked = torch.zeros(len(texts), self.generator.hidden)
        logits = self.generator.logits(self.compressor.reader(asked, list(latents[:, None])), self._head)
        return objectives.words(logits, [self._words_of(text) for text in texts])

    def _words_of(self, text: str) -> tuple[Tensor, Tensor]:
        """Columns of a text's tokens, as they stand and as an answer would begin with them; and their shares."""
        generator = self.generator
        parts = [generator.token_ids(text), generator.token_ids(f" {text}"), *map(generator.token_ids, text.split())]
        columns = self._column[torch.tensor(sorted({token for part in parts for token in part}))].unique()
        rarity = self._rarity[columns]
        return columns, rarity / rarity.sum()

    def _contrastive(self, questions: list[Question], queries: Tensor, texts: list[str], vectors: Tensor) -> Tensor:
        """The natural questions' vectors against those of the evidence in their part of the batch."""
        positive = torch.eye(len(questions), len(texts), dtype=torch.bool)
        ignored = torch.tensor(
            [[t == q.evidence[0] or q.answers[0].lower() in t.lower() for t in texts] for q in questions]
        )
        return objectives.contrastive(queries, vectors, positive, ignored, self.recipe.temperature)

    def train_step(self) -> dict[str, float]:
        """One optimiser step; returns its losses, those of this process's parts."""
        started = time.perf_counter()
        self.compressor.train()
        weights = self.recipe.weights.model_dump()
        figures: Counter[str] = Counter()
        parts = range(self.rank, self.recipe.parts, self.world)
        self.optimizer.zero_grad(set_to_none=True)
        for part in parts:
            torch.manual_seed((self.recipe.seed * self.recipe.steps + self.step) * self.recipe.parts + part)  # dropout
            place = (self.corpus, self.recipe, self.step, part)
            early = self.step < self.recipe.early
            losses = self.early_losses(draw_sentences(*place)) if early else self.losses(draw(*place))
            total = torch.stack([weights[name] * loss for name, loss in losses.items() if weights[name]]).sum()
            (total / self.recipe.parts).backward()
            figures.update({"loss": total.item(), **{name: loss.item() for name, loss in losses.items()}})
        self._share_gradients()
        norm = torch.nn.utils.clip_grad_norm_(self.compressor.parameters(), self.recipe.clip)
        self.optimizer.step()
        self.scheduler.step()
        self.step += 1
        return {
            "step": self.step,
            **{name: round(figure / len(parts), 5) for name, figure in figures.items()},
            "norm": round(float(norm), 3),
            "seconds": round(time.perf_counter() - started, 3),
        }

    def _share_gradients(self) -> None:
        """Adds up the gradients of all processes."""
        if self.world == 1:
            return
        trained = [p for p in self.compressor.parameters() if p.requires_grad]
        for parameter in trained:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        flat = torch.cat([p.grad.ravel() for p in trained if p.grad is not None])
        torch.distributed.all_reduce(flat)
        for parameter, grad in zip(trained, flat.split([p.numel() for p in trained]), strict=True):
            parameter.grad = grad.view_as(parameter)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def validate(self) -> dict[str, float]:
        """On the held-out questions: the loss of answers from their own latents and from others'; F1; recall."""
        self.compressor.eval()
        held = self.corpus.held_out
        if len(held) < 2:
            return {}
        encoded = encode_all(self.compressor, [q.evidence[0] for q in held], "evidence")
        latents, vectors = self.compressor.latents(encoded), self.compressor.vectors(encoded)
        queries = encode_all(self.compressor, [q.text for q in held], "query")
        best = (self.compressor.vectors(queries) @ vectors.T).argmax(1).tolist()
        hits = sum(held[b].evidence == q.evidence for b, q in zip(best, held, strict=True))
        own, others = list(latents[:, None]), list(latents.roll(1, 0)[:, None])
        reader = (self.compressor.reader, self.compressor.latents(queries)) if self.recipe.weights.read else ()
        figures = {"held_out_recall_at_1": hits / len(held)}
        for name, contexts, helper in (("", own, reader), ("_shuffled", others, reader), ("_unread", own, ())):
            figures[f"held_out{name}"] = fmean(answer_loss(self.generator, held, contexts, *helper))
        figures["held_out_f1"] = fmean(answer_all(self.generator, held, own, *reader).f1)
        return {name: round(figure, 4) for name, figure in figures.items()}

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def fit_strength(self) -> dict[float, float]:
        """Sets the reader's strength to that with the least loss on the held-out questions; returns all losses.

        A reader is surer of the questions that it was trained on than of others.
        """
        compressor, generator, held = self.compressor.eval(), self.generator, self.corpus.held_out
        latents = compressor.latents(encode_all(compressor, [q.evidence[0] for q in held], "evidence"))
        asked = compressor.latents(encode_all(compressor, [q.text for q in held], "query"))
        losses = dict.fromkeys(STRENGTHS, 0.0)
        for begin in range(0, len(held), BATCH):
            part = range(begin, min(len(held), begin + BATCH))
            rows = [Reading(held[i].text, latents[i][None], self._answer(held[i].answers[0]), asked[i]) for i in part]
            states, targets = generator.states(rows), self._targets([row.answer for row in rows])
            logits = generator.logits(states, self._head)
            compressor.reader.strength.fill_(1.0)
            change = generator.logits(read(compressor.reader, states, rows), self._head)
            for strength in STRENGTHS:
                loss = objectives.cross_entropy(logits + strength * change, targets)
                losses[strength] += loss.item() * len(targets)
        compressor.reader.strength.fill_(min(losses, key=lambda strength: losses[strength]))
        tokens = sum(len(self._answer(q.answers[0])) for q in held)
        return {strength: round(loss / tokens, 4) for strength, loss in losses.items()}

    def save(self, folder: Path) -> None:
        """Writes a checkpoint that `load` continues from."""
        state = {
            "step": self.step,
            "model": self.compressor.trained_state(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
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
        self.step = state["step"]


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
    reader.set_attn_implementation("eager")  # twice as fast backward where most keys are a prompt without gradients
    generator = Generator(reader, reader_tokenizer)
    compressor = Compressor(base, tokenizer, recipe.compressor, generator.hidden, generator.embedding_norm)
    compressor.reader.start(generator.embedding, reader.lm_head.weight)
    drafted = _drafted_once(recipe, generator, out)
    corpus = read_corpus(recipe, compressor, generator, drafted)
    compressor.salience.copy_(salience(corpus.sentences, compressor))
    if recipe.start is not None:
        load_weights(compressor, recipe.start)
    trainer = Trainer(recipe, compressor, generator, corpus)
    run(trainer, out, resume)
    if trainer.rank:
        return out / "memory"
    if recipe.weights.read and corpus.held_out:
        fitted = {"losses": trainer.fit_strength(), "strength": round(float(compressor.reader.strength), 2)}
        (out / "strength.json").write_text(json.dumps(fitted) + "\n", encoding="utf-8")
    if recipe.retrieval_steps:
        distractors = random.Random(recipe.seed).sample(corpus.sentences, min(len(corpus.sentences), DISTRACTORS))
        fit = fit_retrieval(
            compressor, corpus.natural, corpus.held_out, distractors, recipe.retrieval_steps, recipe.retrieval_rate
        )
        (out / "retrieval.json").write_text(json.dumps(asdict(fit)) + "\n", encoding="utf-8")
    save_pretrained(compressor, base_identity, generator_identity, out / "memory")
    return out / "memory"


def _drafted_once(recipe: MemoryTraining, generator: Generator, out: Path) -> list[Question]:
    """Drafted questions, written by the first process alone; the others wait for it and read them."""
    rank, world = processes()
    first = drafted_questions(recipe, generator, out) if rank == 0 else []
    if world > 1:
        torch.distributed.barrier()
    return first if rank == 0 else drafted_questions(recipe, generator, out)


def run(trainer: Trainer, out: Path, resume: bool = True) -> None:
    """Trains to the recipe's last step, with checkpoints and `metrics.jsonl` in `out`.

    Steps behind the last checkpoint of an interrupted run are done, and logged, again.
    """
    out.mkdir(parents=True, exist_ok=True)
    if resume and (out / "checkpoint.pt").exists():
        trainer.load(out)
    recipe = trainer.recipe
    last = min(recipe.steps, recipe.stop or recipe.steps)
    if trainer.rank:
        while trainer.step < last:
            trainer.train_step()
        return
    with (out / "metrics.jsonl").open("a", encoding="utf-8") as log:
        while trainer.step < last:
            figures = trainer.train_step()
            if trainer.step % recipe.checkpoint_every == 0 or trainer.step == last:
                figures |= trainer.validate()
                trainer.save(out)
            log.write(json.dumps(figures) + "\n")
            log.flush()
