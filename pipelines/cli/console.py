"""What all commands share: the application, where they print, and how they end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console

from tiers.errors import BudgetError, TierlineError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

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


@contextmanager
def failing_well() -> Iterator[None]:
    """Ends the command with the error's message and exit status 1, or 4 for a spent budget, not with a traceback."""
    try:
        yield
    except TierlineError as error:
        err.print(f"error: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(BUDGET_EXIT if isinstance(error, BudgetError) else 1) from None


def print_json(value: Any) -> None:
    """Prints a value as JSON, indented."""
    typer.echo(json.dumps(value, indent=1, ensure_ascii=False))
