"""Counts and durations, in the text format that Prometheus reads.

The format: "Exposition formats", version 0.0.4, of the Prometheus documentation.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)


class Count:
    """Counts that only grow, one for each value of a label."""

    def __init__(self, name: str, help_text: str, label: str = "") -> None:
        self.name, self._help, self._label = name, help_text, label
        self._values: Counter[str] = Counter() if label else Counter({"": 0})
        self._lock = threading.Lock()

    def add(self, by: int = 1, value: str = "") -> None:
        """Adds to the count of a label's value."""
        with self._lock:
            self._values[value] += by

    def lines(self) -> Iterator[str]:
        """The lines of the text format."""
        yield from _head(self.name, self._help, "counter")
        for value, count in sorted(self._values.items()):
            yield f'{self.name}{{{self._label}="{value}"}} {count}' if self._label else f"{self.name} {count}"


class Spread:
    """How often a measure was at most each of some bounds, and its sum: a histogram."""

    def __init__(self, name: str, help_text: str, bounds: Sequence[float]) -> None:
        self.name, self._help, self._bounds = name, help_text, tuple(bounds)
        self._counts, self._sum = [0] * (len(self._bounds) + 1), 0.0
        self._lock = threading.Lock()

    def add(self, measure: float) -> None:
        """Adds one measure."""
        with self._lock:
            self._counts[bisect_left(self._bounds, measure)] += 1
            self._sum += measure

    def lines(self) -> Iterator[str]:
        """The lines of the text format; each bucket holds those below it."""
        yield from _head(self.name, self._help, "histogram")
        with self._lock:
            counts, total = list(self._counts), self._sum
        below = 0
        for bound, count in zip((*self._bounds, "+Inf"), counts, strict=True):
            below += count
            yield f'{self.name}_bucket{{le="{bound}"}} {below}'
        yield f"{self.name}_sum {total:.6f}"
        yield f"{self.name}_count {below}"


def gauge(name: str, help_text: str, value: float) -> Iterator[str]:
    """The lines of a measure that is taken when it is asked for."""
    yield from _head(name, help_text, "gauge")
    yield f"{name} {value}"


def _head(name: str, help_text: str, kind: str) -> Iterator[str]:
    yield f"# HELP {name} {help_text}"
    yield f"# TYPE {name} {kind}"


class Metrics:
    """What the server counts."""

    def __init__(self) -> None:
        self.replies = Count("tierline_replies_total", "Replies to chat requests by HTTP status.", "status")
        self.abandoned = Count("tierline_abandoned_total", "Chat requests whose client went before the answer.")
        self.abstained = Count("tierline_abstained_total", "Answers that were withheld.")
        self.fell_back = Count("tierline_fell_back_total", "Answers that were read again from text.")
        self.tokens = Count("tierline_tokens_total", "Tokens by use; context tokens are prompt tokens too.", "use")
        self.seconds = Spread("tierline_answer_seconds", "From a question to its whole answer.", SECONDS)
        self.batch_size = Spread("tierline_batch_size", "Questions answered together.", SIZES)
        self.batch_seconds = Spread("tierline_batch_seconds", "How long a batch took.", SECONDS)

    def text(self, waiting: int, evidence: int) -> str:
        """Everything, with the measures that are taken now."""
        lines = [line for measure in vars(self).values() for line in measure.lines()]
        lines += gauge("tierline_waiting", "Questions that wait.", waiting)
        lines += gauge("tierline_evidence", "Pieces of evidence in the memory.", evidence)
        return "\n".join(lines) + "\n"
