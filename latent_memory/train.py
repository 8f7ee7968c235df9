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
from contextlib import nullcontext
from dataclasses import asdict
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor

from latent_memory import objectives
from latent_memory.checkpoint import read_checkpoint, write_checkpoint
from latent_memory.compressor import Adapter, Compressor, Encoded, encode, in_order, together
from latent_memory.corpus import (
    Batch,
    Corpus,
    choose_contexts,
    drafted_questions,
    draw,
    read_corpus,
    read_sources,
    salience,
    vocabulary,
)
from latent_memory.data import Question
from latent_memory.evaluation.answers import answer_all, answer_loss
from latent_memory.evaluation.retrievers import SentenceEncoder
from latent_memory.frozen import ROWS, Frozen, in_groups
from latent_memory.generator import Generator, Reading
from latent_memory.pretrained import load_weights, save_pretrained
from latent_memory.reader import Latents, Read, Thought
from latent_memory.retrieval import encode_all, fit_retrieval, learn_from
from latent_memory.training_recipe import MemoryTraining
from tiers.errors import RecipeError
from tiers.llm.adapter import model_identity
from tiers.llm.models import default_models, load_causal_lm

RECONSTRUCT = "What does the context say, word for word?"
DISTRACTORS = 4000
SPREAD = 64
"""Texts that the spread of keys is measured on."""
SOUGHT = 4000
"""Questions that retrieval heads are fitted on at most: all of them meet all evidence at once."""
LONGEST_WAIT = timedelta(days=1)
"""Of the other processes, while the first one drafts questions or looks at the held-out ones."""


def processes() -> tuple[int, int]:
    """This process's number, and how many there are (`torchrun` starts several)."""
    if "WORLD_SIZE" not in os.environ:
        return 0, 1
    if not torch.distributed.is_initialized():
        backend = "nccl" if torch.cuda.is_available() else "gloo"
        torch.distributed.init_process_group(backend, timeout=LONGEST_WAIT)
    return torch.distributed.get_rank(), torch.distributed.get_world_size()


def training_device() -> torch.device:
    """This process's GPU, or the CPU where there is none."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    return torch.device("cpu")


class Trainer:
    """Model, optimiser and data of a run."""

    def __init__(self, recipe: MemoryTraining, compressor: Compressor, generator: Generator, corpus: Corpus) -> None:
        self.recipe, self.compressor, self.generator, self.corpus = recipe, compressor, generator, corpus
        if not corpus.natural and recipe.natural:
            raise RecipeError("the recipe asks for natural questions, but no source gives any", where="natural")
        trained = [(name, p) for name, p in compressor.named_parameters() if p.requires_grad]
        rates = {"lora_": recipe.lora_rate, "retrieval_": recipe.retrieval_rate, "": recipe.head_rate}
        kinds = [next(kind for kind in rates if kind in name) for name, _ in trained]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": [p for kind, (_, p) in zip(kinds, trained, strict=True) if kind == own], "lr": rate}
                for own, rate in rates.items()
            ],
            weight_decay=recipe.weight_decay,
            betas=(0.9, 0.98),
        )
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, self._rate)
        self.step = 0
        self.rank, self.world = processes()
        self.device = generator.embedding.device.type
        self._sought = set(corpus.sought)
        self.columns = vocabulary(corpus, generator)
        self._head = generator.model.lm_head.weight[self.columns]
        self._column = torch.zeros(len(generator.model.lm_head.weight), dtype=torch.long)
        self._column[self.columns] = torch.arange(len(self.columns))
        self.frozen = Frozen(compressor, generator, self._head, recipe.answer_tokens)
        self.best: tuple[float, int] = (-1.0, 0)
        compressor.checkpointed = recipe.checkpointed

    def _rate(self, step: int) -> float:
        """Linear warm-up, then a cosine down to a twentieth, for each part of the run."""
        recipe = self.recipe
        borders = sorted({0, recipe.early, recipe.steps})
        begin, end = next(((a, b) for a, b in pairwise(borders) if step < b), borders[-2:])
        peak = recipe.early_rate / recipe.head_rate if step < recipe.early else 1.0
        done, cooling = step - begin, max(1, end - begin - recipe.warmup)
        if done < recipe.warmup:
            return peak * (done + 1) / recipe.warmup
        return peak * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(1.0, (done - recipe.warmup) / cooling))))

    def _targets(self, answers: Sequence[Sequence[int]]) -> Tensor:
        """The columns of the restricted output head that answers' tokens have, one after the other."""
        return self._column[torch.tensor([token for answer in answers for token in answer])]

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Every term of the loss, unweighted."""
        recipe, generator, compressor = self.recipe, self.generator, self.compressor
        encoded = self._encoded(batch.texts, "evidence")
        latents = compressor.latents(encoded.code, recipe.rounded)
        readings = self._readings(batch, latents)
        answers = [reading.answer for reading in readings]
        thought = generator.states(readings)
        logits = generator.logits(thought.last, self._head)
        found = {"answer": objectives.cross_entropy(logits, self._targets(answers))}
        if recipe.weights.read or recipe.weights.pointing:
            found |= self._read(batch, thought, readings)
        taught = batch.questions[: min(recipe.distilled, batch.natural)]
        if recipe.weights.distillation and taught:
            count = sum(len(a) for a in answers[: len(taught)])
            found["distillation"] = objectives.distillation(logits[:count], *self.frozen.taught(taught))
        if recipe.weights.reconstruction and recipe.reconstructed:
            chosen = range(0, len(batch.texts), max(1, len(batch.texts) // recipe.reconstructed))
            wanted = [generator.answer_ids(batch.texts[i])[: recipe.reconstructed_tokens] for i in chosen]
            rows = [Reading(RECONSTRUCT, latents[i].tokens, t) for i, t in zip(chosen, wanted, strict=True)]
            found["reconstruction"] = objectives.cross_entropy(
                generator.logits(generator.states(rows).last, self._head), self._targets(wanted)
            )
        if recipe.weights.contrastive:
            found |= self._contrastive(batch, encoded)
        return found

    def early_losses(self, batch: Batch) -> dict[str, Tensor]:
        """The loss of an early step: the answer, from the reader and what the generator makes of the question alone."""
        compressor, adapted = self.compressor, self.recipe.early_adapters
        if adapted:
            encoded = self._encoded(batch.texts, "evidence")
        else:
            encoded = compressor.encoded(self.frozen.states(batch.texts, "evidence"))
        readings = self._readings(batch, compressor.latents(encoded.code, self.recipe.rounded))
        found = self._read(batch, self.frozen.closed_book(batch.questions), readings)
        if adapted and self.recipe.weights.contrastive:
            found |= self._contrastive(batch, encoded)
        return found

    def _encoded(self, texts: Sequence[str], adapter: Adapter) -> Encoded:
        """Runs in groups of similar length, the base in the recipe's precision and what is behind it in float32."""
        words = self.frozen.words(texts)
        groups = in_groups(range(len(texts)), [len(own.ids) for own in words], ROWS[self.device])
        parts = []
        for group in groups:
            ids, slots = [words[number].ids for number in group], [words[number].slots for number in group]
            with torch.autocast(self.device, torch.bfloat16, enabled=self.recipe.dtype == "bfloat16"):
                states = self.compressor.states(ids, adapter, slots=slots)
            parts.append(self.compressor.encoded(states))
        return in_order(groups, parts)

    def _readings(self, batch: Batch, latents: Sequence[Latents]) -> list[Reading]:
        return [
            Reading(question.text, together([latents[i] for i in context]), self.frozen.answer(question))
            for question, context in zip(batch.questions, batch.contexts, strict=True)
        ]

    def _read(self, batch: Batch, thought: Thought, readings: Sequence[Reading]) -> dict[str, Tensor]:
        """How badly the reader speaks the answers, and points at where they begin in their own evidence."""
        _, read = self.generator.read(self.compressor.reader, thought, readings)
        assert read is not None, "every reading has latents"
        tokens = torch.tensor([token for reading in readings for token in reading.answer])
        changed = self.generator.logits(thought.last.float() + read.change, self._head)
        ends = tokens == self.generator.tokenizer.eos_token_id
        found = {"read": objectives.read_aloud(read, changed, self._column[tokens], read.of_words(tokens), ends)}
        if self.recipe.weights.pointing:
            found["pointing"] = self._pointing(batch, read, readings)
        return found

    def _pointing(self, batch: Batch, read: Read, readings: Sequence[Reading]) -> Tensor:
        """How far the reader points at other slots than those where the answers begin in their own evidence."""
        wanted = torch.zeros_like(read.pointed)
        before = 0
        for question, context, reading in zip(batch.questions, batch.contexts, readings, strict=True):
            spoken = self.frozen.spoken(question)
            first = [batch.texts[number] for number in context].index(spoken.text) * self.compressor.config.words
            wanted[before, [first + slot for slot in spoken.begins]] = 1
            before += len(reading.answer)
        return objectives.pointing(read.pointed, wanted)

    def _contrastive(self, batch: Batch, encoded: Encoded) -> dict[str, Tensor]:
        """The vectors of questions that can be sought against those of all evidence in their part of the batch."""
        both = [(text, text.lower()) for text in batch.texts]
        asked = [(own, question) for own, question in enumerate(batch.questions) if question in self._sought]
        if not asked:
            return {}
        positive = torch.tensor([[own == number for number in range(len(both))] for own, _ in asked])
        ignored = torch.tensor([[text in q.evidence or q.answered_in(low) for text, low in both] for _, q in asked])
        queries = self.compressor.vectors(self._encoded([question.text for _, question in asked], "query"))
        found, temperature = self.compressor.vectors(encoded), self.recipe.temperature
        return {"contrastive": objectives.contrastive(queries, found, positive, ignored, temperature)}

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
            batch = draw(self.corpus, self.recipe, self.step, part)
            losses = self.early_losses(batch) if self.step < self.recipe.early else self.losses(batch)
            total = torch.stack([weights[name] * loss for name, loss in losses.items() if weights[name]]).sum()
            (total / self.recipe.parts).backward()
            figures.update({"loss": total.item(), **{name: loss.item() for name, loss in losses.items()}})
        self._share_gradients()
        norm = torch.nn.utils.clip_grad_norm_(self.compressor.parameters(), self.recipe.clip)
        if not norm.isfinite():  # a rare batch has no gradient in bfloat16, and would take all weights with it
            self.optimizer.zero_grad(set_to_none=True)
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
        """On the held-out questions: the loss of answers from their own latents and from others'; F1; recall.

        `held_out_f1_among` is that of answers from their own evidence among what a search finds.
        """
        self.compressor.eval()
        held = self.corpus.held_out
        if len(held) < 2:
            return {}
        encoded = encode_all(self.compressor, [q.evidence[0] for q in held], "evidence")
        latents = self.compressor.latents(encoded.code, self.recipe.rounded)
        vectors = self.compressor.vectors(encoded)
        _, sought = encode(self.compressor, [q.text for q in held], "query")
        best = (torch.as_tensor(sought) @ vectors.T).argmax(1).tolist()
        hits = sum(held[b].evidence == q.evidence for b, q in zip(best, held, strict=True))
        others = latents[-1:] + latents[:-1]
        reader = (self.compressor.reader,) if self.recipe.weights.read else ()
        figures = {"held_out_recall_at_1": hits / len(held)}
        for name, contexts, helper in (("", latents, reader), ("_shuffled", others, reader), ("_unread", latents, ())):
            figures[f"held_out{name}"] = fmean(answer_loss(self.generator, held, contexts, *helper))
        figures["held_out_f1"] = fmean(answer_all(self.generator, held, latents, *reader).f1)
        if self.recipe.distracted:
            texts, company = choose_contexts(held, self.corpus.found, 1.0, random.Random(self.recipe.seed))
            pieces = self.compressor.latents(encode_all(self.compressor, texts, "evidence").code, self.recipe.rounded)
            among = [together([pieces[number] for number in numbers]) for numbers in company]
            figures["held_out_f1_among"] = fmean(answer_all(self.generator, held, among, *reader).f1)
        return {name: round(figure, 4) for name, figure in figures.items()}

    def look(self, folder: Path) -> dict[str, float]:
        """Validates, and writes a checkpoint; with a patience, the best weights too. All processes learn the F1."""
        figures = self.validate() if self.rank == 0 else {}
        if self.recipe.patience and self.step > self.recipe.early:
            reached = [figure for name, figure in figures.items() if name.startswith("held_out_f1")]
            f1 = torch.tensor(fmean(reached or [0.0]), dtype=torch.float64)
            if self.world > 1:
                torch.distributed.broadcast(f1, 0)
            if f1.item() > self.best[0]:
                self.best = (f1.item(), self.step)
                if self.rank == 0:
                    torch.save(self.compressor.trained_state(), folder / "best.pt")
        if self.rank == 0:
            self.save(folder)
        return figures

    def impatient(self) -> bool:
        """Whether the last `patience` looks brought no better F1."""
        patience, (_, step) = self.recipe.patience, self.best
        return patience is not None and step > 0 and self.step - step >= patience * self.recipe.checkpoint_every

    def take_best(self, folder: Path) -> None:
        """Goes back to the weights with the best F1."""
        if (folder / "best.pt").exists():
            self.compressor.load_state_dict(torch.load(folder / "best.pt", weights_only=True), strict=False)

    def save(self, folder: Path) -> None:
        """Writes a checkpoint that `load` continues from."""
        model = self.compressor.trained_state()
        write_checkpoint(folder, self.recipe, model, self.optimizer, self.scheduler, step=self.step, best=self.best)

    def load(self, folder: Path) -> None:
        """Continues from a checkpoint."""
        state = read_checkpoint(folder, self.recipe, self.optimizer, self.scheduler)
        self.compressor.load_state_dict(state["model"], strict=False)
        self.step, self.best = state["step"], tuple(state["best"])


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
    norm = generator.embedding_norm
    compressor = Compressor(base, tokenizer, recipe.compressor, generator.hidden, norm, reader_tokenizer)
    compressor.start_for(generator.embedding, reader_tokenizer)
    if recipe.heads:
        layer = reader.model.layers[recipe.compressor.depth]
        compressor.start_heads(layer.self_attn, layer.input_layernorm.weight, recipe.heads)
    texts = read_sources(recipe)[1]
    compressor.salience.copy_(salience(texts, tokenizer, len(compressor.salience)))
    rarity = salience(texts, reader_tokenizer, len(generator.embedding)) / 2
    compressor.reader.matching.start(generator.embedding, rarity)
    compressor.spread_keys(_short_texts(compressor, texts, recipe))
    if recipe.start is not None:
        load_weights(compressor, recipe.start)
    device = training_device()
    compressor.to(device)
    generator.to(device)
    with device:
        first = _train_on(recipe, compressor, generator, out, resume, folder)
    if first:
        save_pretrained(compressor, base_identity, generator_identity, out / "memory")
    return out / "memory"


def _short_texts(compressor: Compressor, texts: Sequence[str], recipe: MemoryTraining) -> list[str]:
    """Some texts of a corpus that a latent is trained on."""
    some = random.Random(recipe.seed).sample(texts, min(len(texts), 4 * SPREAD))
    ids = compressor.tokenizer([f" {text}" for text in some], add_special_tokens=False)["input_ids"]
    return [text for text, row in zip(some, ids, strict=True) if 0 < len(row) <= recipe.evidence_tokens][:SPREAD]


def _train_on(
    recipe: MemoryTraining, compressor: Compressor, generator: Generator, out: Path, resume: bool, models: Path
) -> bool:
    """Trains on the device that all is on; returns whether this process has the result."""
    teacher = SentenceEncoder(models, recipe.retrieval_teacher) if recipe.retrieval_teacher else None
    drafted = _drafted_once(recipe, generator, out)
    corpus = read_corpus(recipe, compressor, generator, drafted, teacher.encode if teacher else None)
    trainer = Trainer(recipe, compressor, generator, corpus)
    rng = random.Random(recipe.seed)
    some = rng.sample(corpus.sentences, min(len(corpus.sentences), DISTRACTORS))
    sought = rng.sample(corpus.sought, min(len(corpus.sought), SOUGHT))
    resumed = resume and take_up(trainer, out)
    if not resumed and teacher is not None and recipe.early_adapters and recipe.weights.contrastive:
        learn_from(teacher, compressor, sought, some)
    if trainer.step < recipe.early and trainer.device == "cuda":  # at once, in large batches, which a step's are not
        trainer.frozen.closed_book(corpus.natural)
    run(trainer, out)
    if trainer.rank:
        return False
    if recipe.patience:
        trainer.take_best(out)
    if recipe.retrieval_steps:
        steps, rate = recipe.retrieval_steps, recipe.retrieval_rate
        anew = not (recipe.early_adapters and recipe.weights.contrastive)  # else training has fitted them with the rest
        fit = fit_retrieval(compressor, sought, corpus.held_out, some, steps, rate, teacher=teacher, anew=anew)
        (out / "retrieval.json").write_text(json.dumps(asdict(fit)) + "\n", encoding="utf-8")
    return True


def _drafted_once(recipe: MemoryTraining, generator: Generator, out: Path) -> list[Question]:
    """Drafted questions, written by the first process alone; the others wait for it and read them."""
    rank, world = processes()
    first = drafted_questions(recipe, generator, out) if rank == 0 else []
    if world > 1:
        torch.distributed.barrier()
    return first if rank == 0 else drafted_questions(recipe, generator, out)


def take_up(trainer: Trainer, out: Path) -> bool:
    """Goes back to the last checkpoint in `out`, if there is one; steps behind it are done, and logged, again."""
    found = (out / "checkpoint.pt").exists()
    if found:
        trainer.load(out)
    return found


def run(trainer: Trainer, out: Path) -> None:
    """Trains to the recipe's last step, with checkpoints and `metrics.jsonl` in `out`."""
    out.mkdir(parents=True, exist_ok=True)
    recipe = trainer.recipe
    last = min(recipe.steps, recipe.stop or recipe.steps)
    with (out / "metrics.jsonl").open("a", encoding="utf-8") if trainer.rank == 0 else nullcontext() as log:
        while trainer.step < last and not trainer.impatient():
            figures = trainer.train_step()
            if trainer.step % recipe.checkpoint_every == 0 or trainer.step == last:
                figures |= trainer.look(out)
            if log is not None:
                log.write(json.dumps(figures) + "\n")
                log.flush()
