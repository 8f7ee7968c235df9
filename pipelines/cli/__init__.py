"""The command `tierline`. Heavy imports stand inside the commands, so that `--help` is quick."""

from pipelines.cli import runs, memory, training, models  # noqa: I001, in the order of the help
from pipelines.cli.console import BUDGET_EXIT, app

__all__ = ["BUDGET_EXIT", "app", "memory", "models", "runs", "training"]


@app.callback()
def main() -> None:
    """Turns raw crawls into tiers of training data, and into a memory that answers questions."""
