"""Teaches a text memory to see: a vision tower in front of a trained compressor, all of which stays as it is.

Images and texts then share one latent space, one index, one reader and one frozen generator. Trained is the tower
alone, in two parts. At first an image's mean embedding has to be nearer to its own caption's words than to those of
other captions (as in CLIP: Radford et al., arXiv:2103.00020, section 2.3, against a fixed text side), which costs the
tower's own arithmetic only. Then the image's latent has to answer questions in the frozen generator, to
say what the generator says when it reads the caption, to give the caption back, and to be found by it.

A step's batch follows from the seed and the step alone, so that a resumed run sees what an unbroken one would have.
"""

from __future__ import annotations

import math
import random
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
import yaml
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional as F

from latent_memory import objectives
from latent_memory.checkpoint import read_checkpoint, write_checkpoint
from latent_memory.compressor import Compressor, encode, whitening
from latent_memory.easy_vqa import ImageQuestion
from latent_memory.evaluate_images import MAX_TOKENS
from latent_memory.evaluation.metrics import exact_match
from latent_memory.frozen import ClosedBook
from latent_memory.generator import Generator, Reading
from latent_memory.image_data import ImageSet, read_easy_vqa
from latent_memory.image_model import TowerConfig, load_tower, make_tower, save_vision
from latent_memory.images import Images, Picture, Vision, encode_images
from latent_memory.pretrained import PACKAGED, load_compressor, load_generator
from latent_memory.reader import Thought
from latent_memory.repeated_questions import RepeatedQuestions
from latent_memory.train import RECONSTRUCT, run, take_up, training_device
from tiers.llm.models import default_models
from tiers.training_recipe import read_training_recipe

TOP_K = 64
SAMPLE = 24
LOOK = 36
"""Questions in a look at the held-out images."""


class ImageWeights(BaseModel):
    """Weights of the terms of the loss.

    Attributes:
        early: An image's mean embedding finds its caption's words.
        answer: The gold answer, from the latent as an input alone.
        read: The gold answer, with the reader's help. Without `answer` and `distillation` the generator itself reads no
            latents, so that it has to be asked only once for each answer.
        distillation: The generator's own distribution when it reads the caption, where that gives the gold answer.
        reconstruction: The caption, from the latent.
        contrastive: The image's vector finds its caption's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    early: float = Field(default=1.0, ge=0)
    answer: float = Field(default=0.5, ge=0)
    read: float = Field(default=1.0, ge=0)
    distillation: float = Field(default=0.3, ge=0)
    reconstruction: float = Field(default=0.1, ge=0)
    contrastive: float = Field(default=0.2, ge=0)


class ImageTraining(BaseModel):
    """A training run of a vision tower, all of it.

    Attributes:
        images: The set of images, as `image_data.read_easy_vqa` reads it, from the working folder.
        memory: Folder of the trained text memory that learns to see; the packaged one where none is given.
        tower: Sizes of the tower.
        start: Folder of a trained tower of these sizes to go on from, for whatever memory that was trained.
        weights: Weights of the terms of the loss.
        held_out: Images of the training part that are never trained on.
        early: First steps, which train on captions' words alone.
        early_images: Images in such a step.
        questions: Questions in a later step, each about an image of its own.
        distilled: Of them those that the teacher answers too.
        reconstructed: Captions in such a step that are given back.
        rounded: Whether latents are read as they are stored, in the compressor's bits a number.
        temperature: Of the contrastive losses.
        steps: Optimiser steps.
        stop: Step at which the run ends, where that is before its schedule does.
        warmup: Steps of linear warm-up; a cosine follows, in both parts.
        rate: Peak learning rate.
        weight_decay: AdamW's.
        clip: Largest norm of the gradient.
        checkpoint_every: Steps between checkpoints, and looks at the held-out images.
        seed: Of everything that is drawn.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: Path
    memory: Path | None = None
    tower: TowerConfig = TowerConfig()
    start: Path | None = None
    weights: ImageWeights = ImageWeights()
    held_out: int = Field(default=200, ge=2)
    early: int = Field(default=600, ge=0)
    early_images: int = Field(default=128, ge=2)
    questions: int = Field(default=24, ge=3)
    distilled: int = Field(default=6, ge=0)
    reconstructed: int = Field(default=3, ge=0)
    rounded: bool = True
    temperature: float = Field(default=0.07, gt=0)
    steps: int = Field(default=1000, ge=1)
    stop: int | None = Field(default=None, ge=1)
    warmup: int = Field(default=30, ge=0)
    rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.05, ge=0)
    clip: float = Field(default=1.0, gt=0)
    checkpoint_every: int = Field(default=100, ge=1)
    seed: int = 0


def names_images(path: Path) -> bool:
    """Whether a recipe is one of this module: it has the key `images`. One that can't be read is none."""
    try:
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return False
    return isinstance(said, dict) and "images" in said


def load_image_recipe(path: Path) -> ImageTraining:
    """Reads and checks a recipe.

    Raises:
        RecipeError: naming every key that is wrong.
    """
    return read_training_recipe(path, ImageTraining)


@dataclass(frozen=True)
class Sights:
    """What is trained on: pictures, what they show, and the numbers of those that are trained on or held out."""

    pictures: list[Picture]
    captions: list[str]
    questions: list[ImageQuestion]
    trained: list[int]
    held_out: list[int]

    def about(self, images: list[int]) -> list[ImageQuestion]:
        """All questions about some images."""
        chosen = set(images)
        return [question for question in self.questions if question.image in chosen]


def sights(images: ImageSet, vision: Vision, recipe: ImageTraining) -> Sights:
    """Images with a caption, some of them held out."""
    known = [number for number, caption in enumerate(images.captions) if caption]
    random.Random(recipe.seed).shuffle(known)
    pictures = [vision.prepare(pixels, "") for pixels in images.pixels]
    held_out, trained = known[: recipe.held_out], known[recipe.held_out :]
    return Sights(pictures, images.captions, images.questions, trained, held_out)


@torch.no_grad()  # type: ignore[untyped-decorator]
def vocabulary(data: Sights, generator: Generator) -> Tensor:
    """Ids of the tokens that training scores.

    They are those of captions, answers and questions, and what the generator is most likely to say to some of the
    questions where it knows nothing: that is what a latent has to outdo.
    """
    asked = data.about(data.trained)
    texts = {text for question in asked for text in (question.answer, question.text)} | set(data.captions)
    seen = {token for text in texts for blank in (False, True) for token in generator.answer_ids(text, blank)}
    different = sorted({question.text for question in asked})
    some = random.Random(0).sample(different, min(SAMPLE, len(different)))
    logits = generator.score([Reading(question, None, generator.answer_ids("")) for question in some])
    return torch.tensor(sorted(seen | set(logits.topk(min(TOP_K * 4, logits.shape[1])).indices.ravel().tolist())))


def names(data: Sights, compressor: Compressor) -> Tensor:
    """Ids of the compressor's tokens that captions and answers are made of: what a place may be called by."""
    texts = {data.captions[number] for number in data.trained} | {q.answer for q in data.about(data.trained)}
    return torch.tensor(sorted({token for row in compressor.tokenize(sorted(texts)) for token in row}))


class ImageTrainer:
    """Model, optimiser and data of a run; `train.run` drives it."""

    rank = 0

    def __init__(
        self, recipe: ImageTraining, compressor: Compressor, generator: Generator, vision: Vision, data: Sights
    ) -> None:
        self.recipe, self.compressor, self.generator = recipe, compressor, generator
        self.vision, self.data = vision, data
        vision.requires_grad_(True)
        self.optimizer = torch.optim.AdamW(
            vision.parameters(), lr=recipe.rate, weight_decay=recipe.weight_decay, betas=(0.9, 0.98)
        )
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, self._rate)
        self.step = 0
        self.by_kind: dict[str, list[ImageQuestion]] = defaultdict(list)
        for question in data.about(data.trained):
            self.by_kind[question.kind].append(question)
        self.said = sorted({data.captions[number] for number in data.trained})
        _, vectors = encode(compressor, self.said, "evidence")
        table = compressor.base.get_input_embeddings().weight.float()
        self._white, self._centre = whitening(table), table.mean(0)
        self.vectors, self.words = torch.as_tensor(vectors), self._words(self.said)
        vision.names = self._names = names(data, compressor)
        self.columns = vocabulary(data, generator)
        self._head = generator.model.lm_head.weight[self.columns]
        self._column = {token: column for column, token in enumerate(self.columns.tolist())}
        self._closed_book = ClosedBook(generator)
        self._teacher: dict[tuple[str, str, tuple[int, ...]], Tensor] = {}

    def _rate(self, step: int) -> float:
        """Linear warm-up, then a cosine down to a twentieth, once for each part of the run."""
        recipe = self.recipe
        first, last = (0, recipe.early) if step < recipe.early else (recipe.early, recipe.steps)
        done, whole = step - first, max(1, last - first - recipe.warmup)
        if done < recipe.warmup:
            return (done + 1) / recipe.warmup
        return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(1.0, (done - recipe.warmup) / whole)))

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def _words(self, texts: list[str]) -> Tensor:
        """Captions as sums of their words' embeddings, (N, H)."""
        rows = [torch.tensor(row) for row in self.compressor.tokenize(texts)]
        embedding, salience = self.compressor.base.get_input_embeddings().weight, self.compressor.salience
        return self._lexical(torch.stack([salience[ids].softmax(0) @ embedding[ids].float() for ids in rows]))

    def _lexical(self, sums: Tensor) -> Tensor:
        """Whitened, so that rare and common directions of the embedding table count alike, and of length one."""
        return F.normalize((sums - self._centre) @ self._white.T, dim=-1)

    def _found(self, queries: Tensor, evidence: Tensor, images: list[int]) -> Tensor:
        """The contrastive loss of images against all captions."""
        positive = torch.tensor([[self.data.captions[i] == text for text in self.said] for i in images])
        return objectives.contrastive(queries, evidence, positive, positive, self.recipe.temperature)

    def early_losses(self, rng: random.Random) -> dict[str, Tensor]:
        """The loss of an early step."""
        images = rng.sample(self.data.trained, min(len(self.data.trained), self.recipe.early_images))
        features = self.vision.features([self.data.pictures[i] for i in images])
        sums = self._lexical(torch.stack([rows.mean(0) for rows in features]))
        return {"early": self._found(sums, self.words, images)}

    def draw(self, rng: random.Random) -> list[ImageQuestion]:
        """Questions of a later step: as many of each kind, no two about one image."""
        chosen: dict[int, ImageQuestion] = {}
        kinds = sorted(self.by_kind)
        while len(chosen) < self.recipe.questions:
            question = rng.choice(self.by_kind[kinds[len(chosen) % len(kinds)]])
            chosen.setdefault(question.image, question)
        return list(chosen.values())

    def losses(self, rng: random.Random) -> dict[str, Tensor]:
        """Every term of a later step's loss, unweighted."""
        weights, generator = self.recipe.weights, self.generator
        questions = self.draw(rng)
        images = [question.image for question in questions]
        pictures = [self.data.pictures[i] for i in images]
        look = self.vision.look(pictures)
        encoded = self.compressor([picture.ids for picture in pictures], "evidence", look)
        latents = self.compressor.latents(encoded.code, self.recipe.rounded)
        readings = [
            Reading(q.text, z, generator.answer_ids(q.answer, blank=True))
            for q, z in zip(questions, latents, strict=True)
        ]
        captions = [self.data.captions[i] for i in images]
        found = {}
        taught = readings[: self.recipe.distilled if weights.distillation else 0]
        if weights.answer or taught:
            thought = generator.states(readings)
            logits = generator.logits(thought.last, self._head)
            found["answer"] = objectives.cross_entropy(logits, self._targets(readings))
        else:
            thought = self._closed_book(readings)
        if weights.read:
            found["read"] = self._read(look, thought, readings)
        if taught:
            found["distillation"] = self._distil(logits, taught, captions)
        if weights.reconstruction and self.recipe.reconstructed:
            rows = [
                Reading(RECONSTRUCT, z.tokens, generator.answer_ids(caption))
                for z, caption in zip(latents[: self.recipe.reconstructed], captions, strict=False)
            ]
            given = generator.logits(generator.states(rows).last, self._head)
            found["reconstruction"] = objectives.cross_entropy(given, self._targets(rows))
        if weights.contrastive:
            found["contrastive"] = self._found(self.compressor.vectors(encoded), self.vectors, images)
        return found

    def _read(self, look: Images, thought: Thought, readings: Sequence[Reading]) -> Tensor:
        """How badly the reader speaks the answers, where each place of an image is called by each name a little."""
        _, read = self.generator.read(self.compressor.reader, thought, readings)
        assert read is not None, "every reading has latents"
        tokens = torch.tensor([token for reading in readings for token in reading.answer])
        rows = torch.tensor([number for number, reading in enumerate(readings) for _ in reading.answer])
        fits = (
            look.alike(self.compressor.base.get_input_embeddings().weight).softmax(1).unflatten(0, (len(readings), -1))
        )
        called = torch.stack(
            [fits[row] @ (self._names == token).float() for row, token in zip(rows, tokens, strict=True)]
        )
        pointed = (read.pointed[:, : called.shape[1]] * called).sum(1) * read.parts[:, 0].exp()
        changed = self.generator.logits(thought.last.float() + read.change, self._head)
        ends = tokens == self.generator.tokenizer.eos_token_id
        return objectives.read_aloud(read, changed, self._targets(readings), pointed, ends)

    def _targets(self, readings: Sequence[Reading]) -> Tensor:
        """The columns of the restricted output head that the answers' tokens have, one after the other."""
        return torch.tensor([self._column[token] for reading in readings for token in reading.answer])

    def _distil(self, logits: Tensor, readings: list[Reading], captions: list[str]) -> Tensor:
        """The divergence from the generator that reads the captions, on the rows that it answers as it should."""
        lengths = [len(reading.answer) for reading in readings]
        rows: list[Tensor] = []
        parts = logits[: sum(lengths)].split(lengths)
        for part, reading, taught in zip(parts, readings, self._teach(readings, captions), strict=True):
            if taught.argmax(1).tolist() == [self._column[token] for token in reading.answer]:
                top = taught.topk(min(TOP_K, len(self.columns)))
                rows.append(objectives.distillation(part, top.indices, top.values))
        return torch.stack(rows).mean() if rows else logits.sum() * 0

    def _teach(self, readings: list[Reading], captions: list[str]) -> list[Tensor]:
        """Log-probabilities of each answer's tokens where the generator reads the caption; each asked once."""
        keys = [
            (reading.question, caption, reading.answer) for reading, caption in zip(readings, captions, strict=False)
        ]
        new = [key for key in dict.fromkeys(keys) if key not in self._teacher]
        if new:
            with torch.no_grad():
                rows = [Reading(question, self.generator.embed(caption), answer) for question, caption, answer in new]
                logprobs = self.generator.logits(self.generator.states(rows).last, self._head).log_softmax(-1)
            self._teacher.update(zip(new, logprobs.split([len(row.answer) for row in rows]), strict=True))
        return [self._teacher[key] for key in keys]

    def train_step(self) -> dict[str, float]:
        """One optimiser step; returns its losses."""
        started = time.process_time()
        rng = random.Random(f"{self.recipe.seed}/{self.step}")
        losses = self.early_losses(rng) if self.step < self.recipe.early else self.losses(rng)
        weights = self.recipe.weights.model_dump()
        total = torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        self.compressor.zero_grad(set_to_none=True)
        norm = torch.nn.utils.clip_grad_norm_(self.vision.parameters(), self.recipe.clip)
        self.optimizer.step()
        self.scheduler.step()
        self.step += 1
        return {
            "step": self.step,
            "loss": round(total.item(), 5),
            **{name: round(loss.item(), 5) for name, loss in losses.items()},
            "norm": round(float(norm), 3),
            "cpu_seconds": round(time.process_time() - started, 3),
        }

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def validate(self) -> dict[str, float]:
        """On the held-out images: exact answers for each kind of question, the loss from own and others' latents."""
        images = self.data.held_out
        if self.step < self.recipe.early:
            sums = torch.stack([rows.mean(0) for rows in self.vision.features([self.data.pictures[i] for i in images])])
            return {"held_out_words_at_1": self._hits(self._lexical(sums), self.words, images)}
        pictures = [self.data.pictures[i] for i in images]
        codes, vectors = map(torch.as_tensor, encode_images(self.compressor, self.vision, pictures))
        latents = self.compressor.latents(codes, self.recipe.rounded)
        figures = {"held_out_caption_at_1": self._hits(vectors, self.vectors, images)}
        asked = self.data.about(images)
        chosen = random.Random(0).sample(asked, min(len(asked), LOOK))
        row = {image: at for at, image in enumerate(images)}
        reader = self.compressor.reader

        def rows(shift: int, answered: bool) -> list[Reading]:
            ids = [self.generator.answer_ids(q.answer, blank=True) if answered else () for q in chosen]
            seen = [latents[row[q.image] - shift] for q in chosen]
            return [Reading(q.text, z, i) for q, z, i in zip(chosen, seen, ids, strict=True)]

        for name, shift in (("", 0), ("_shuffled", 1)):
            told = rows(shift, answered=True)
            targets = torch.tensor([token for reading in told for token in reading.answer])
            figures[f"held_out{name}"] = float(objectives.cross_entropy(self.generator.score(told, reader), targets))
        written = self.generator.answer(rows(0, answered=False), reader, MAX_TOKENS)
        for kind in sorted(self.by_kind):
            right = [exact_match(said, [q.answer]) for said, q in zip(written, chosen, strict=True) if q.kind == kind]
            figures[f"held_out_{kind}"] = fmean(right) if right else 0.0
        return {name: round(figure, 4) for name, figure in figures.items()}

    def look(self, folder: Path) -> dict[str, float]:
        """Validates, and writes a checkpoint."""
        figures: dict[str, float] = self.validate()
        self.save(folder)
        return figures

    def impatient(self) -> bool:
        """Never: such a run goes to its last step."""
        return False

    def _hits(self, vectors: Tensor, captions: Tensor, images: list[int]) -> float:
        """How often an image's nearest caption is its own."""
        best = (vectors @ captions.T).argmax(1).tolist()
        return fmean(self.said[b] == self.data.captions[i] for b, i in zip(best, images, strict=True))

    def save(self, folder: Path) -> None:
        """Writes a checkpoint that `load` continues from."""
        model = self.vision.state_dict()
        write_checkpoint(folder, self.recipe, model, self.optimizer, self.scheduler, step=self.step)

    def load(self, folder: Path) -> None:
        """Continues from a checkpoint."""
        state = read_checkpoint(folder, self.recipe, self.optimizer, self.scheduler)
        self.vision.load_state_dict(state["model"])
        self.step = state["step"]


def train_images(recipe: ImageTraining, out: Path, resume: bool = True, models: Path | None = None) -> Path:
    """Trains a vision tower as the recipe says.

    Args:
        recipe: What to train on what.
        out: Folder for `checkpoint.pt`, `metrics.jsonl` and, at the end, the tower in `vision/`.
        resume: Go on from the checkpoint in `out` if there is one; the losses are those of an unbroken run.
        models: Folder of model weights.

    Returns:
        The folder of the tower, for `image_model.load_vision`.

    Raises:
        SourceError: the images are missing.
        ModelError: a model is missing.
        RecipeError: the checkpoint belongs to another recipe.
    """
    return train_tower(recipe, read_easy_vqa(recipe.images, "train"), out, resume, models)


def train_tower(
    recipe: ImageTraining, images: ImageSet, out: Path, resume: bool = True, models: Path | None = None
) -> Path:
    """`train_images` on images that have been read."""
    folder, memory = models or default_models(), recipe.memory or PACKAGED
    compressor, generator = load_compressor.__wrapped__(memory, folder), load_generator.__wrapped__(memory, folder)
    _lighten(compressor)
    torch.manual_seed(recipe.seed)
    vision = make_tower(compressor.base, compressor.tokenizer, recipe.tower)
    if recipe.start is not None:
        load_tower(vision, recipe.start)
    generator.model.set_attn_implementation("eager")  # twice as fast backward where most keys have no gradient
    device = training_device()
    for part in (compressor, generator, vision):
        part.to(device)
    with device:
        asked = RepeatedQuestions(generator)
        trainer: Any = ImageTrainer(recipe, compressor, asked, vision, sights(images, vision, recipe))
        if resume:
            take_up(trainer, out)
        run(trainer, out)
    save_vision(vision, recipe.tower, memory, out / "vision")
    return out / "vision"


def _lighten(compressor: Compressor) -> None:
    """The frozen base in bfloat16, as the text memory was trained with; what was trained stays as it is."""
    for name, parameter in compressor.base.named_parameters():
        if "lora_" not in name:
            parameter.data = parameter.data.bfloat16()
