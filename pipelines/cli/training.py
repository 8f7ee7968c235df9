"""Commands that train models, and measure them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.console import AsJson, app, err, failing_well, out, print_json

command = partial(app.command, rich_help_panel="Training")


@command("train-memory")
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

    with failing_well():
        if names_images(recipe):
            trained = train_images(load_image_recipe(recipe), folder, models=default_models())
        else:
            trained = train(load_recipe(recipe), folder, models=default_models())
        plot_metrics(folder)
    typer.echo(f"trained: {trained}")


@command("train-editor")
def train_editor(
    recipe: Annotated[Path, typer.Argument(help="A YAML recipe, such as configs/editor.yaml.")],
    folder: Annotated[Path, typer.Option("--out", metavar="DIR", help="Checkpoint, metrics, and the adapter.")],
) -> None:
    """Train an editor on raw and refined texts, going on from the last checkpoint.

    Metrics are in `metrics.jsonl`; `losses.svg` and `held_out.svg` show them. `edit_by_program` takes the adapter.
    """
    from pipelines.training_plots import plot_metrics
    from tiers.l3_edited.editor_training import load_recipe, train

    with failing_well():
        trained = train(load_recipe(recipe), folder)
        plot_metrics(folder)
    typer.echo(f"trained: {trained}")


@command("train-xrag")
def train_xrag(
    recipe: Annotated[Path, typer.Argument(help="The compressor's recipe, such as configs/memory_text.yaml.")],
    file: Annotated[Path, typer.Option("--out", metavar="FILE", help="The projector, for eval --xrag.")],
    drafted: Annotated[Path | None, typer.Option(metavar="FILE", help="drafted.jsonl of the training.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Optimiser steps.")] = None,
) -> None:
    """Train xRAG's projector, a baseline of eval, on the questions that a compressor is trained on."""
    from pipelines.evaluation import train_xrag as train

    with failing_well():
        train(recipe, file, drafted, steps, lambda step, loss: err.print(f"step {step}: {loss:.4f}", highlight=False))
    typer.echo(f"trained: {file}")


@command("eval")
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

    with failing_well():
        names = [name.strip() for name in methods.split(",")] if methods else None
        evaluation = run_set(
            data, form, names, corpus, memory, limit, pretrained, xrag, k, against,
            lambda text: err.print(text, highlight=False),
        )  # fmt: skip
        if folder:
            write_results(evaluation, folder)
    if as_json:
        print_json(evaluation.summary)
    else:
        render(evaluation.summary, out)
