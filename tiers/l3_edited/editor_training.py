"""Trains an editor: from pairs of raw and refined texts to an adapter for `edit_by_program`.

Of each pair the editor learns the program of every window, as the stage shows it, and whether the document is worth
keeping, as the stage asks it; both are in one adapter, since both follow from telling content from the rest.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import xxhash
from pydantic import BaseModel, ConfigDict, Field

from tiers.errors import RecipeError, SourceError
from tiers.l3_edited.edit_examples import edit_examples
from tiers.l3_edited.edit_labels import lone_surrogate
from tiers.l3_edited.edit_program import KeepAll, dump_program
from tiers.l3_edited.edit_prompt import Verdict, verdict_conversation
from tiers.l3_edited.edit_verdict import BEGINNING
from tiers.l3_edited.edit_windows import OVERLAP
from tiers.llm import Message
from tiers.training_recipe import read_training_recipe

UNCHANGED = dump_program((KeepAll(),))


class EditorTraining(BaseModel):
    """A training run, all of it.

    Attributes:
        llm: The model that is to edit, as `tiers.llm.models` names it.
        pairs: Files of JSON lines, gzip or not: `id`, `raw` and `refined`, which is empty where a text is worthless.
        held_out: Share of the texts that isn't trained on.
        windows: Sizes of windows, see `edit_windows.windows`; each text gets one of them.
        overlap: See `edit_windows.windows`.
        judged: Characters of a text's beginning that it is judged by.
        unchanged: The largest share of the windows trained on in which nothing is to be done.
        rank: Of the adapter.
        alpha: Its scale is `alpha / rank`.
        rate: Peak learning rate.
        warmup: Share of the run that warms up.
        batch_tokens: Tokens of a batch.
        clip: Largest norm of the gradient.
        steps: Optimiser steps.
        checkpoint_every: Steps between checkpoints, and looks at what is held out.
        looked_at: Lessons of what is held out that are looked at, at most.
        seed: Of the adapter's start and the order of examples.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    llm: str
    pairs: tuple[Path, ...] = Field(min_length=1)
    held_out: float = Field(default=0.05, ge=0, lt=1)
    windows: tuple[int, ...] = Field(default=(1500, 2000, 3000, 4000, 6000), min_length=1)
    overlap: float = Field(default=OVERLAP, ge=0, lt=1)
    judged: int = Field(default=BEGINNING, ge=200)
    unchanged: float = Field(default=0.3, ge=0, le=1)
    rank: int = Field(default=8, ge=1)
    alpha: int = Field(default=16, ge=1)
    rate: float = Field(default=5e-4, gt=0)
    warmup: float = Field(default=0.05, gt=0, lt=1)
    batch_tokens: int = Field(default=16_384, ge=1)
    clip: float = Field(default=1.0, gt=0)
    steps: int = Field(default=600, ge=1)
    checkpoint_every: int = Field(default=100, ge=1)
    looked_at: int = Field(default=400, ge=1)
    seed: int = 0


class Pair(NamedTuple):
    """A text, and what an expert made of it; an empty `refined` says that it isn't worth keeping."""

    id: str
    raw: str
    refined: str


class Lesson(NamedTuple):
    """What is asked of an editor about a text, and what it is to reply."""

    id: str
    messages: tuple[Message, ...]
    reply: str


_Drawn = TypeVar("_Drawn", Pair, Lesson)


def load_recipe(path: Path) -> EditorTraining:
    """Reads and checks a recipe.

    Raises:
        RecipeError: naming every key that is wrong.
    """
    return read_training_recipe(path, EditorTraining)


def read_pairs(paths: Iterable[Path]) -> Iterator[Pair]:
    """The pairs in files of JSON lines.

    Raises:
        SourceError: A file isn't there, or a line of it is no pair.
    """
    for path in paths:
        try:
            content = path.read_bytes()
            lines = (gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content).split(b"\n")
        except (OSError, EOFError) as error:
            raise SourceError("the pairs can't be read", where=str(path), got=str(error)) from error
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield _pair(line, f"{path}:{number}")


def _pair(line: bytes, where: str) -> Pair:
    try:
        row = json.loads(line)
        pair = Pair(*(row[key] for key in Pair._fields))
    except (ValueError, KeyError, TypeError) as error:
        raise SourceError("a line is no pair", where=where, got=repr(error), expected=Pair._fields) from error
    if not all(isinstance(value, str) for value in pair):
        raise SourceError("a line is no pair", where=where, got=line[:80].decode("utf-8", "replace"), expected="text")
    return pair


def lessons(pairs: Iterable[Pair], recipe: EditorTraining) -> tuple[list[Lesson], list[Lesson]]:
    """What is trained on, and what is held out.

    Which texts are held out follows from themselves, so that equal ones stay together; what else is drawn, from their
    ids. Windows that several texts share are learned once; as many texts are judged to be kept as to be dropped. Of
    texts with a lone surrogate nothing is learned.
    """
    trained: list[Pair] = []
    held: list[Pair] = []
    for pair in (pair for pair in pairs if not lone_surrogate(pair.raw + pair.refined)):
        (held if _draw(pair.raw, "held out") < recipe.held_out else trained).append(pair)
    return _lessons(trained, recipe), _lessons(held, recipe)[: recipe.looked_at]


def _lessons(pairs: Sequence[Pair], recipe: EditorTraining) -> list[Lesson]:
    windows = {lesson.messages: lesson for pair in pairs for lesson in program_lessons(pair, recipe)}
    edits = [lesson for lesson in windows.values() if lesson.reply != UNCHANGED]
    rest = [lesson for lesson in windows.values() if lesson.reply == UNCHANGED]
    most = len(rest) if recipe.unchanged == 1 else int(len(edits) * recipe.unchanged / (1 - recipe.unchanged))
    drops = [pair for pair in pairs if not pair.refined]
    keeps = _some([pair for pair in pairs if pair.refined], len(drops))
    found = [*edits, *_some(rest, most), *(verdict_lesson(pair, recipe.judged) for pair in (*drops, *keeps))]
    return sorted(found, key=lambda lesson: _draw(lesson.id, lesson.messages[-1].content))


def program_lessons(pair: Pair, recipe: EditorTraining) -> list[Lesson]:
    """The windows of a text, and their programs; none where the text has no label."""
    size = recipe.windows[int(_draw(pair.id, "size") * len(recipe.windows))]
    rows = edit_examples([pair], size=size, overlap=recipe.overlap).table.to_pylist()
    turns = [tuple(Message(turn["role"], turn["content"]) for turn in row["messages"][:-1]) for row in rows]
    return [Lesson(pair.id, messages, row["program"]) for messages, row in zip(turns, rows, strict=True)]


def verdict_lesson(pair: Pair, judged: int) -> Lesson:
    """The beginning of a text, and whether it is worth keeping."""
    return Lesson(pair.id, verdict_conversation(pair.raw[:judged]), Verdict.KEEP if pair.refined else Verdict.DROP)


def _some(found: Sequence[_Drawn], most: int) -> list[_Drawn]:
    return sorted(found, key=lambda one: _draw(one.id, "some"))[:most]


def _draw(row_id: str, what: str) -> float:
    """A number between 0 and 1, 1 excluded, that follows from what it is for."""
    return xxhash.xxh3_64_intdigest(f"{row_id}\n{what}".encode("utf-8", "surrogatepass")) / 2**64


def train(recipe: EditorTraining, out: Path, resume: bool = True, models: Path | None = None) -> Path:
    """Trains an editor as the recipe says, on a GPU in bfloat16 where there is one, else in float32.

    Args:
        recipe: What to train on what.
        out: Folder for `checkpoint.pt`, `metrics.jsonl` and, at the end, the adapter in `adapter/`.
        resume: Go on from the checkpoint in `out` if there is one; the losses are those of an unbroken run.
        models: Folder of model weights.

    Returns:
        The adapter's folder.

    Raises:
        SourceError: The pairs can't be read, or nothing can be learned from them.
        ModelError: The model isn't there.
        RecipeError: The checkpoint belongs to another recipe.
    """
    import torch

    from tiers.l3_edited import fine_tuning
    from tiers.llm.adapter import model_identity, write_base
    from tiers.llm.models import default_models, load_causal_lm

    learned, held = lessons(read_pairs(recipe.pairs), recipe)
    if not learned:
        raise SourceError("no pair has a label", where=", ".join(map(str, recipe.pairs)))
    device, dtype = ("cuda", "bfloat16") if torch.cuda.is_available() else ("cpu", "float32")
    model, tokenizer = load_causal_lm(recipe.llm, models or default_models(), torch.get_num_threads(), dtype)
    base = model_identity(recipe.llm, model, tokenizer)
    tuning = fine_tuning.Tuning(**{name: getattr(recipe, name) for name in fine_tuning.Tuning.__dataclass_fields__})
    examples = [_example(lesson, tokenizer) for lesson in learned]
    tuner = fine_tuning.Tuner(fine_tuning.with_adapter(model.to(device), tuning), examples, tuning)
    _run(tuner, [_example(lesson, tokenizer) for lesson in held], recipe, out, resume)
    fine_tuning.save_adapter(tuner.model, out / "adapter")
    write_base(base, out / "adapter")
    return out / "adapter"


def _example(lesson: Lesson, tokenizer: Any) -> Any:
    from tiers.l3_edited.fine_tuning import Example
    from tiers.llm.transformers_llm import control_tokens, rendered

    prompt = rendered(tokenizer, lesson.messages, control_tokens(tokenizer))
    prompt_ids, reply_ids = tokenizer([prompt, lesson.reply], add_special_tokens=False)["input_ids"]
    return Example(prompt_ids, [*reply_ids, tokenizer.eos_token_id])


def _run(tuner: Any, held: Sequence[Any], recipe: EditorTraining, out: Path, resume: bool) -> None:
    """Trains to the last step; steps behind the last checkpoint of an interrupted run are done, and logged, again."""
    from tiers.l3_edited.fine_tuning import look

    out.mkdir(parents=True, exist_ok=True)
    told, checkpoint = out / "recipe.json", out / "checkpoint.pt"
    if resume and checkpoint.exists():
        if told.read_text(encoding="utf-8") != recipe.model_dump_json():
            raise RecipeError("the checkpoint belongs to another recipe", where=str(out), hint="Give another --out")
        tuner.load(checkpoint)
    told.write_text(recipe.model_dump_json(), encoding="utf-8")
    with (out / "metrics.jsonl").open("a", encoding="utf-8") as log:
        while tuner.steps < recipe.steps:
            figures = tuner.step(tuner.steps / recipe.steps)
            if tuner.steps % recipe.checkpoint_every == 0 or tuner.steps == recipe.steps:
                if held:
                    seen = look(tuner.model, held, recipe.batch_tokens)
                    figures |= {"held_out": round(seen.loss, 5), "held_out_exact": round(seen.exact, 4)}
                tuner.save(checkpoint)
            log.write(json.dumps(figures) + "\n")
            log.flush()
