"""Shows how a run goes on: a live line in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class RunProgress:
    """Shards done, documents a second, the share kept, and the time left, for the step at work.

    Args:
        console: Where to show it.
        quiet: Show nothing.
    """

    def __init__(self, console: Console, quiet: bool = False) -> None:
        self._console = console
        self._quiet = quiet
        self._live: Progress | None = None
        self._label = ""

    def begin(self, label: str, total: int, done: int) -> None:
        """A step begins, `done` of its `total` shards standing already."""
        self._label, self._total, self._done, self._reused = label, total, done, done
        self._rows_in = self._rows_out = 0
        self._started = time.perf_counter()
        if self._console.is_terminal and not self._quiet and total > done:
            self._live = Progress(
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(), console=self._console, transient=True,
            )  # fmt: skip
            self._live.start()
            self._task = self._live.add_task(label, total=total, completed=done, rate="")

    def advance(self, record: dict[str, Any] | None) -> None:
        """A shard task has ended; `record` is its commit record, where it has one."""
        self._done += 1
        if record and record["stages"]:
            self._rows_in += record["stages"][0]["rows_in"]
            self._rows_out += record["stages"][-1]["kept"]
        if self._live:
            self._live.update(self._task, completed=self._done, rate=self._rate())

    def end(self) -> None:
        """The step has ended."""
        if self._live:
            self._live.stop()
            self._live = None
        if not self._quiet and self._total:
            reused = f", {self._reused} reused" if self._reused else ""
            seconds = time.perf_counter() - self._started
            line = f"{self._label}: {self._done}/{self._total} shards{reused}, {self._rate()}{seconds:.1f} s"
            self._console.print(line, highlight=False, soft_wrap=True)

    def _rate(self) -> str:
        if not self._rows_in:
            return ""
        rate = self._rows_in / max(time.perf_counter() - self._started, 1e-9)
        return f"{rate:,.0f} rows/s, {self._rows_out / self._rows_in:.0%} kept, "
