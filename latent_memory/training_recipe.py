"""What a training recipe may say, and reading it."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from latent_memory.compressor import CompressorConfig
from latent_memory.data import Form
from tiers.training_recipe import read_training_recipe


class DataSource(BaseModel):
    """A part of a question answering set.

    Attributes:
        path: File, relative to the recipe's `data` folder.
        form: Its layout.
        first: First article or row.
        last: End, exclusive.
        questions: Whether its questions are trained on.
        sentences: Whether its passages' sentences are.
        sought: Whether its questions say what they are about, so that their evidence can be found by them. Only such
            questions are held out, and train the retrieval heads at the end.
        times: How often its questions are asked for once that others are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    form: Form
    first: int = 0
    last: int | None = None
    questions: bool = True
    sentences: bool = True
    sought: bool = True
    times: int = Field(default=1, ge=1)


class Weights(BaseModel):
    """Weights of the terms of the loss.

    Attributes:
        reconstruction: The evidence's own words, from its latent.
        contrastive: Questions find their evidence.
        distillation: The generator's own distribution when it reads the text.
        answer: The gold answer, from the latent as an input alone.
        read: The gold answer, with the reader's help.
        pointing: The reader points at where the answer begins.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    reconstruction: float = Field(default=0.5, ge=0)
    contrastive: float = Field(default=0.2, ge=0)
    distillation: float = Field(default=1.0, ge=0)
    answer: float = Field(default=0.0, ge=0)
    read: float = Field(default=1.0, ge=0)
    pointing: float = Field(default=0.5, ge=0)


class MemoryTraining(BaseModel):
    """A training run, all of it.

    Attributes:
        compressor_model: Base of the compressor, as `tiers.llm.models` names it.
        generator_model: The frozen generator.
        data: Folder of the sources, from the working folder.
        sources: What is read of it.
        unlike: Sets to report on. What shares `corpus.SHARED_WORDS` words in a row with them isn't trained on.
        python_documentation: Whether sentences of the running Python's documentation are compressed too.
        drafted: Sentences about which the generator drafts a question, for training.
        held_out: Natural questions that are never trained on; their loss is what choices rest on.
        compressor: Sizes.
        weights: Weights of the terms of the loss.
        parts: Parts of a batch; gradients are averaged over them, and each process computes some of them.
        early: First steps that train slots and reader alone, on what frozen models say without evidence.
        early_adapters: Whether they train the adapters too, and the retrieval heads: a step then costs a run of the
            compressor and the gradient through it, which wants a GPU.
        early_rate: Peak learning rate of these steps.
        early_questions: Natural questions in a part of such a step.
        natural: Natural questions in a part.
        cloze: Questions in a part that are made from sentences.
        distilled: Natural questions in a part that the teacher answers.
        distracted: Share of questions that are read with what a search finds beside their own evidence.
        rounded: Whether latents are read as they are stored, in the compressor's bits a number.
        reconstructed: Evidence in a part that is reconstructed.
        reconstructed_tokens: Tokens of it that are scored.
        evidence_tokens: Longer evidence isn't trained on.
        answer_tokens: Answers are scored up to here.
        longest_answer: Longer natural answers aren't trained on.
        temperature: Of the contrastive loss.
        heads: Heads of the generator that keys and the reader start with, in the layer behind the compressor's last
            one. For this both have to be one model.
        start: Folder of a trained compressor to go on from, with a fresh optimiser.
        steps: Optimiser steps of the learning rate's schedule.
        stop: Step at which the run ends, where that is before its schedule does.
        warmup: Steps of linear warm-up; a cosine follows. Both come anew in each part of the run.
        head_rate: Peak learning rate of the heads, the pooling and the memory token.
        lora_rate: Peak learning rate of the adapters.
        weight_decay: AdamW's.
        clip: Largest norm of the gradient.
        retrieval_steps: Full-batch steps for the retrieval heads behind training; 0 leaves them as trained.
        retrieval_rate: Learning rate of the retrieval heads, in these steps; in training its peak.
        retrieval_teacher: A sentence encoder whose vectors they start from; none starts them from words alone.
        patience: Looks at the held-out questions without a better F1 before the run ends; the best weights are kept.
        checkpointed: Whether the base's activations are computed again for the gradient, to save memory.
        checkpoint_every: Steps between checkpoints, and looks at the held-out questions.
        seed: Of everything that is drawn.
        dtype: Of the frozen weights.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    compressor_model: str
    generator_model: str
    data: Path
    sources: tuple[DataSource, ...] = Field(min_length=1)
    unlike: tuple[DataSource, ...] = ()
    python_documentation: bool = True
    drafted: int = Field(default=0, ge=0)
    held_out: int = Field(default=120, ge=0)
    compressor: CompressorConfig = CompressorConfig()
    weights: Weights = Weights()
    parts: int = Field(default=1, ge=1)
    early: int = Field(default=0, ge=0)
    early_adapters: bool = False
    early_rate: float = Field(default=1e-3, gt=0)
    early_questions: int = Field(default=32, ge=1)
    natural: int = Field(default=6, ge=0)
    cloze: int = Field(default=10, ge=0)
    distilled: int = Field(default=4, ge=0)
    distracted: float = Field(default=0.25, ge=0, le=1)
    rounded: bool = True
    reconstructed: int = Field(default=4, ge=0)
    reconstructed_tokens: int = Field(default=32, ge=1)
    evidence_tokens: int = Field(default=64, ge=8)
    answer_tokens: int = Field(default=8, ge=2)
    longest_answer: int = Field(default=24, ge=2)
    temperature: float = Field(default=0.07, gt=0)
    heads: tuple[int, ...] = ()
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
    retrieval_teacher: str | None = None
    patience: int | None = Field(default=None, ge=1)
    checkpointed: bool = False
    checkpoint_every: int = Field(default=100, ge=1)
    seed: int = 0
    dtype: str = "bfloat16"


def load_recipe(path: Path) -> MemoryTraining:
    """Reads and checks a recipe.

    Raises:
        RecipeError: naming every key that is wrong.
    """
    return read_training_recipe(path, MemoryTraining)
