"""What `tierline eval` and `tierline train-xrag` do: load models and evidence, run methods, show and keep figures."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from rich.console import Console
from rich.table import Table

from pipelines.plots import Point, scatter, standalone
from tiers.errors import SourceError

if TYPE_CHECKING:
    from latent_memory.data import Form, Question
    from latent_memory.evaluation.bench import Corpus, Models
    from latent_memory.evaluation.run import Evaluation
    from latent_memory.memory import LatentMemory

FORMATS = ("hotpotqa", "2wiki", "musique", "squad", "qed", "nq-open", "pairs")


def load_models(
    methods: Sequence[str], pretrained: Path | None, xrag: Path | None, folder: Path | None = None
) -> Models:
    """The frozen generator, the compressor, and what else these methods need.

    Args:
        methods: Names of methods.
        pretrained: Folder of the trained compressor; the packaged one by default.
        xrag: xRAG's projector.
        folder: The folder of model weights.

    Raises:
        ModelError: when a model isn't there, or isn't the right one.
    """
    from latent_memory.baselines import xrag as projector
    from latent_memory.evaluation.bench import Models
    from latent_memory.evaluation.methods import METHODS
    from latent_memory.evaluation.retrievers import ENCODER, SentenceEncoder
    from latent_memory.pretrained import PACKAGED, load_compressor, load_generator, read_manifest
    from tiers.llm.models import default_models

    pretrained, folder = pretrained or PACKAGED, folder or default_models()
    generator = read_manifest(pretrained).generator
    encodes = any("encoder" in METHODS[name].made for name in methods if name in METHODS)
    return Models(
        generator=load_generator(pretrained, folder),
        compressor=load_compressor(pretrained, folder),
        encoder=SentenceEncoder(folder) if encodes else None,
        projector=projector.load(xrag, generator.hash, ENCODER) if xrag else None,
    )


def read_set(path: Path, form: Form, limit: int | None, corpus: Path | None, memory: str | None) -> list[Question]:
    """The questions of a set.

    Raises:
        SourceError: when the file can't be read, holds no question, or there would be nothing to search.
    """
    from latent_memory.data import read_questions

    questions = read_questions(path, form)[:limit]
    if not questions:
        raise SourceError("there is no question in the file", where=str(path), expected=f"the form {form}")
    if corpus is None and memory is None and not any(question.pool for question in questions):
        raise SourceError(
            "these questions come without passages to search", where=str(path), hint="Give --corpus or --memory"
        )
    return questions


def open_corpus(
    models: Models, questions: Sequence[Question], corpus: Path | None = None, memory: LatentMemory | None = None
) -> Corpus:
    """What is searched: a memory's evidence, or that of the questions and a file of passages."""
    from latent_memory.data import read_passages
    from latent_memory.evaluation.bench import Corpus, read_memory

    if memory is None:
        return Corpus.of(models, questions, read_passages(corpus) if corpus else ())
    return Corpus.stored(models, questions, *read_memory(memory))


def find_memory(uri: str, pretrained: Path | None = None) -> LatentMemory:
    """The memory of a run, or one that was made from Python.

    Raises:
        SourceError: there is none.
        ModelError: it was made with another compressor.
    """
    from latent_memory.memory import LatentMemory
    from pipelines.artifact import Store
    from pipelines.build_memory import RECORD, open_memory

    store = Store(uri)
    return open_memory(store) if store.exists(RECORD) else LatentMemory.open(uri, pretrained)


def run_set(
    data: Path,
    form: str,
    methods: Sequence[str] | None,
    corpus: Path | None = None,
    memory: str | None = None,
    limit: int | None = None,
    pretrained: Path | None = None,
    xrag: Path | None = None,
    k: int = 3,
    against: str | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Evaluation:
    """Evaluates methods on a file of questions; without `methods` all that the questions allow.

    Raises:
        SourceError: when the file is wrong, or its questions lack what a method needs.
        ModelError: when a method isn't known, or a model isn't there.
    """
    from latent_memory.evaluation.run import check_methods, evaluate, possible

    if form not in FORMATS:
        raise SourceError("there is no format of this name", where=str(data), got=form, expected=", ".join(FORMATS))
    if corpus and memory:
        raise SourceError("a corpus and a memory can't both be searched", where="--corpus, --memory", expected="one")
    questions = read_set(data, cast("Form", form), limit, corpus, memory)
    allowed, missing = possible(questions, xrag is not None)
    names = list(methods or allowed)
    check_methods(names, questions, xrag is not None, against)
    if methods is None:
        for name, reason in missing.items():
            tell(f"{name} is left out: {reason}")
    found = find_memory(memory, pretrained) if memory else None
    models = load_models(names, found.pretrained if found else pretrained, xrag)
    return evaluate(questions, open_corpus(models, questions, corpus, found), names, k, against, tell=tell)


def write_results(evaluation: Evaluation, folder: Path) -> None:
    """Writes `evaluation.json`, `answers.jsonl` (each answer of each method) and `f1_by_tokens.svg`."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(evaluation.summary, indent=1, ensure_ascii=False)
    (folder / "evaluation.json").write_text(text + "\n", encoding="utf-8")
    lines = (json.dumps(answer, ensure_ascii=False) for answer in evaluation.answers)
    (folder / "answers.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    (folder / "f1_by_tokens.svg").write_text(plot(evaluation.summary), encoding="utf-8")


def plot(summary: dict[str, Any]) -> str:
    """F1 against context tokens, as a file of SVG."""
    points = [
        Point(name, got["context_tokens"], *(got["f1"][key] for key in ("mean", "low", "high")))
        for name, got in summary["methods"].items()
    ]
    title = f"F1 of {summary['questions']} questions against context tokens"
    return standalone(scatter(points, title, "context tokens", "F1, with 95 % intervals"))


def render(summary: dict[str, Any], console: Console) -> None:
    """Prints how well the methods answer, what they cost, and what their searches find."""
    console.print(_scores(summary))
    console.print(_costs(summary["methods"]))
    if cut := summary["methods"].get("full-context", {}).get("cut"):
        console.print(f"full-context was cut at the generator's {summary['generator_limit']:,} tokens {cut} times")
    if summary["retrieval"]:
        console.print(_searches(summary["retrieval"]))


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("", no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right")
    return table


def _scores(summary: dict[str, Any]) -> Table:
    title = f"{summary['questions']} questions, {summary['corpus']:,} pieces of evidence, k = {summary['k']}"
    table = _table(title, "F1", f"F1 - {summary['against']}", "EM", "answer loss", "context tokens", "prompt tokens")
    for name, got in summary["methods"].items():
        difference = summary["differences"].get(name)
        table.add_row(
            name,
            _interval(got["f1"]),
            _interval(difference["f1"]) if difference else "",
            _interval(got["exact"]),
            _interval(got["answer_loss"], 1, 2) if got["answer_loss"] else "",
            f"{got['context_tokens']:,.1f}",
            f"{got['prompt_tokens']:,.1f}",
        )
    return table


def _costs(methods: dict[str, Any]) -> Table:
    table = _table(
        "Costs of a piece of evidence, once, and of a question", "bytes", "made, ms", "retrieve ms", "answer ms"
    )
    for name, got in methods.items():
        seconds = got["seconds"]
        times = (_milliseconds(seconds[key]) for key in ("compress_per_evidence", "retrieve", "answer"))
        table.add_row(name, f"{got['bytes_per_evidence']:,.0f}", *times)
    return table


def _interval(got: dict[str, float], factor: float = 100, digits: int = 1) -> str:
    mean, low, high = (f"{factor * got[key]:.{digits}f}" for key in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{1000 * seconds:,.2f}" if seconds < 0.01 else f"{1000 * seconds:,.0f}"


def _searches(retrieval: dict[str, Any]) -> Table:
    columns = [f"{name}@{n}" for name in ("recall", "any", "answer") for n in (1, 5, 10)]
    table = _table("Gold evidence found: its share, any of it, a text with the answer", "among", *columns)
    for search, places in retrieval.items():
        for place, among in (("corpus", "the whole corpus"), ("own", "the question's own passages")):
            if place in places:
                got = places[place]
                table.add_row(search, among, *(f"{got[key]:.3f}" if key in got else "" for key in columns))
    return table


def train_xrag(
    recipe: Path, out: Path, drafted: Path | None, steps: int | None, tell: Callable[[int, float], None]
) -> None:
    """Trains xRAG's projector on what a compressor's recipe trains on, for that recipe's generator.

    Args:
        recipe: A recipe of `tierline train-memory`.
        out: The file to write.
        drafted: Questions that the compressor's training drafted, to train on too.
        steps: Optimiser steps; by default as `XRagTraining` has them.
        tell: Is told each step and its loss.
    """
    from latent_memory.baselines import xrag
    from latent_memory.corpus import read_sources
    from latent_memory.data import read_drafted
    from latent_memory.evaluation.retrievers import ENCODER, SentenceEncoder
    from latent_memory.generator import Generator
    from latent_memory.training_recipe import load_recipe
    from tiers.llm.adapter import model_identity
    from tiers.llm.models import default_models, load_causal_lm

    read = load_recipe(recipe)
    asked, texts = read_sources(read)
    questions = [*asked, *(read_drafted(drafted) if drafted else [])]
    model, tokenizer = load_causal_lm(read.generator_model, default_models(), dtype=read.dtype)
    training = xrag.XRagTraining(seed=read.seed) if steps is None else xrag.XRagTraining(seed=read.seed, steps=steps)
    encode = SentenceEncoder(default_models()).encode
    projector = xrag.train(Generator(model, tokenizer), questions, texts, encode, training, tell)
    xrag.save(projector, model_identity(read.generator_model, model, tokenizer).hash, ENCODER, out)
