"""Commands on latent memories: ask, search, change, serve."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from pipelines.cli.console import AsJson, app, failing_well, print_json
from tiers.errors import EngineError

command = partial(app.command, rich_help_panel="Memory")

Memory = Annotated[str, typer.Argument(metavar="DIR", help="The output of a run, or a memory that `add` made.")]
TopK = Annotated[int, typer.Option("-k", "--top-k", min=1, help="Pieces of evidence.")]
Status = Annotated[str | None, typer.Option(help="Only evidence of this status, such as verified.")]
Topic = Annotated[str | None, typer.Option(help="Only evidence on this topic.")]
Tag = Annotated[str | None, typer.Option(help="The memory as it was when it got this tag.")]


@command()
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

    with failing_well():
        memory = _memory(output, tag)
        answers = memory.ask_all(
            questions, k, raw, status, topic=topic, min_confidence=min_confidence, fallback=fallback
        )
    if as_json:
        print_json([{"question": q, **asdict(a)} for q, a in zip(questions, answers, strict=True)])
        return
    for question, answer in zip(questions, answers, strict=True):
        typer.echo(f"Q: {question}\nA: {answer.answer or '(not known)'}")
        _print_evidence(answer.evidence)
        read = f"{answer.mode}, after latents" if answer.fell_back else answer.mode
        typer.echo(
            f"   confidence {answer.confidence:.2f}, read {read}: {answer.context_tokens} context tokens of "
            f"{answer.prompt_tokens} in the prompt, {answer.generated_tokens} generated\n"
        )


@command()
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

    with failing_well():
        found = _memory(output, tag).search(words, k, status, topic)
    if as_json:
        print_json([asdict(evidence) for evidence in found])
    else:
        _print_evidence(found)


@command()
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

    with failing_well():
        added = add_files(output, files, default_models(), tag, vision or PACKAGED_VISION)
    if as_json:
        print_json(added)
    else:
        typer.echo(f"{added['latents']:,} latents of {added['documents']:,} documents; {added['unread']:,} rows unread")


@command()
def forget(
    output: Memory,
    documents: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of documents.")],
    as_json: AsJson = False,
) -> None:
    """Erase documents from the latent memory: their latents, from earlier versions and tags on the disk too.

    A run's tiers keep the documents themselves. Exit status 1 where a document has no latents.
    """
    with failing_well():
        memory = _memory(output)
        erased = {document: memory.forget(document) for document in documents}
    if as_json:
        print_json(erased)
    else:
        for document, rows in erased.items():
            typer.echo(f"{document}: {rows} latents erased" if rows else f"{document}: no latent is of this document")
    if not all(erased.values()):
        raise typer.Exit(1)


@command()
def serve(
    output: Memory,
    host: Annotated[str, typer.Option(help="Address to listen at; there is no access control.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    tag: Tag = None,
    together: Annotated[int, typer.Option(min=1, help="Most questions that are answered in one batch.")] = 16,
    waiting: Annotated[int, typer.Option(min=1, help="Most questions that wait; beyond, clients get 429.")] = 256,
) -> None:
    """Serve the latent memory over HTTP, as OpenAI's chat completions: POST /v1/chat/completions."""
    with failing_well():
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
