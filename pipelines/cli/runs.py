"""Commands on runs: plan, run, look at, verify, release."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.console import AsJson, Output, app, err, failing_well, out, print_json

QUARANTINE_EXIT = 3

command = partial(app.command, rich_help_panel="Runs")


@command()
def run(
    recipe: Annotated[Path, typer.Argument(help="A YAML recipe, such as configs/quickstart.yaml.")],
    output: Annotated[str, typer.Option("--out", metavar="DIR", help="Where the tiers go: a folder or an fsspec URL.")],
    to: Annotated[str | None, typer.Option(help="The last tier to make: L0 … L4, or memory.")] = None,
    engine: Annotated[str, typer.Option(help="ray, or local for this process alone.")] = "ray",
    address: Annotated[str | None, typer.Option(help="A Ray cluster to join; else Ray is started here.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Shard tasks at once; default: one for each CPU.")] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Ask models again about rows that they failed on.")] = False,
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

    with failing_well():
        plan = make_plan(load_recipe(recipe))
        context = Context(models=default_models(), cache=request_cache(output, plan.prices, plan.budget))
        with open_engine(engine, address, workers) as opened:
            summary = run_plan(plan, output, opened, context, RunProgress(err, quiet or as_json), to, retry)
    status(output, as_json)
    if summary.quarantined:
        err.print(
            f"{summary.quarantined} rows are in quarantine; `tierline status {output}` counts the reasons, and "
            "`--retry` asks models again about those that they failed on"
        )
        raise typer.Exit(QUARANTINE_EXIT)


@command()
def plan(
    recipe: Annotated[Path, typer.Argument(help="A YAML recipe, such as configs/quickstart.yaml.")],
    documents: Annotated[int, typer.Option(min=8, help="How many documents to try it on, about.")] = 400,
    ask_servers: Annotated[
        bool, typer.Option("--ask-servers", help="Send each server a few requests, which may cost, to tell its time.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Estimate what a recipe will keep and cost, from a sample: rows, tokens, time and money of each tier.

    Nothing is written, and no server asked unless told; models in this process answer a few prompts, to be timed. Exit
    status 1 where the sample couldn't go through all tiers.
    """
    from dataclasses import asdict

    from pipelines.estimate import estimate, render_estimate
    from pipelines.recipe import load_recipe
    from tiers.llm.models import default_models

    err.print(
        f"Trying about {documents} documents; models in this process answer some prompts, which may take minutes."
    )
    with failing_well():
        found = estimate(load_recipe(recipe), default_models(), documents, ask_servers)
    if as_json:
        print_json(asdict(found))
    else:
        render_estimate(found, out)
    if found.ended:
        raise typer.Exit(1)


@command()
def status(output: Output, as_json: AsJson = False) -> None:
    """Show each tier: documents, tokens, what was dropped and why, and what it cost."""
    from pipelines.artifact import Store
    from pipelines.status import render_status, run_status

    with failing_well():
        found = run_status(Store(output))
        if as_json:
            print_json(found)
        else:
            render_status(found, out)


@command()
def thresholds(
    output: Output,
    rule: Annotated[str | None, typer.Option(help="One rule in detail, by its reason or a unique part of it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what each rule would drop at other thresholds, from what the run measured; nothing is computed again."""
    from pipelines.artifact import Store
    from pipelines.thresholds import render_thresholds
    from pipelines.thresholds import thresholds as look

    with failing_well():
        found = look(Store(output), rule)
        if as_json:
            print_json(found)
        else:
            render_thresholds(found, out)


@command()
def verify(output: Output, as_json: AsJson = False) -> None:
    """Re-read every commit: checksums, balance, lineage. Exit status 1 with the list of what is wrong."""
    from pipelines.artifact import Store
    from pipelines.verify import verify as find_faults

    with failing_well():
        faults = find_faults(Store(output))
    if as_json:
        print_json({"faults": faults})
    else:
        for fault in faults:
            typer.echo(fault)
        typer.echo(f"{len(faults)} faults" if faults else "everything that was committed holds")
    if faults:
        raise typer.Exit(1)


@command()
def explain(
    row_id: Annotated[str, typer.Argument(metavar="ID", help="A document's id, or a unique beginning of it.")],
    output: Annotated[str, typer.Option("--at", metavar="DIR", help="The output of a run.")],
    as_json: AsJson = False,
) -> None:
    """Tell the whole life of a document: what changed it, what was made of it, what dropped it and by which figure."""
    from dataclasses import asdict

    from pipelines.artifact import Store
    from pipelines.ledger import explain as life_of

    with failing_well():
        events = life_of(Store(output), row_id)
    if as_json:
        print_json([asdict(event) for event in events])
        return
    for event in events:
        child = "" if event.id.startswith(row_id) else event.id
        parts = (event.step, event.fate, child, event.stage, event.reason, event.detail)
        typer.echo("  ".join(part for part in parts if part))


@command()
def report(
    output: Output,
    page: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Default: report.html in DIR.")] = None,
) -> None:
    """Write one HTML page: each tier's rows, losses and their reasons, scores, lengths, costs, and examples."""
    from pipelines.artifact import Store
    from pipelines.report import write_report

    with failing_well():
        typer.echo(write_report(Store(output), page))


@command()
def release(
    tier: Annotated[str, typer.Argument(help="L0 … L4.")],
    output: Annotated[str, typer.Option("--at", metavar="DIR", help="The output of a run.")],
    to: Annotated[str, typer.Option("--to", metavar="OUT", help="A folder that does not exist yet, or a URL.")],
) -> None:
    """Write a tier as a data set: Parquet, card, lineage, licences, checksums; `datasets.load_dataset` loads it."""
    from pipelines.artifact import Store
    from pipelines.release import release as write_release

    with failing_well():
        written = write_release(Store(output), tier, to)
    typer.echo(f"{written.folder}: {written.rows:,} rows, {written.tokens:,} tokens, {len(written.files)} files")


@command()
def sample(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the WARC files go.")],
    pages: Annotated[int | None, typer.Option(help="How many pages; default: all there are.")] = None,
    seed: Annotated[int, typer.Option(help="Which share of the pages it is.")] = 0,
    files: Annotated[int, typer.Option(help="How many WARC files.")] = 8,
) -> None:
    """Render the Python documentation on this machine into WARC files of real HTML pages."""
    from pipelines.sample import write_sample

    with failing_well():
        summary = write_sample(folder, pages=pages, seed=seed, files=files)
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in summary.pages.items())
    typer.echo(f"{len(summary.files)} WARC files in {folder}: {kinds} pages, {summary.bytes / 1e6:.1f} MB")
