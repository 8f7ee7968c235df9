"""What a server's reply says about when it may be asked again."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from threading import Condition
from typing import Protocol

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Headers(Protocol):
    """Of a reply; names in any case."""

    def get(self, name: str, default: str, /) -> str:
        """The value of a header."""


def seconds_to_wait(headers: Headers, refused: bool) -> float:
    """How long to ask nothing.

    Args:
        headers: Of any reply: `Retry-After` in seconds or as a date (RFC 9110, section 10.2.3), and
            `x-ratelimit-remaining-*` with `x-ratelimit-reset-*` for requests and tokens, as OpenAI and those who follow
            it send them (durations such as 120ms or 6m0s, or seconds).
        refused: Whether the reply says that there were too many requests; then a reset counts even where it says that
            something is left.
    """
    waits = [_retry_after(headers.get("Retry-After", ""))]
    for kind in ("requests", "tokens"):
        if refused or headers.get(f"x-ratelimit-remaining-{kind}", "").strip() == "0":
            waits.append(_duration(headers.get(f"x-ratelimit-reset-{kind}", "")))
    if refused and waits[0] > 0:
        return waits[0]
    return max(waits)


def _retry_after(value: str) -> float:
    with suppress(ValueError):
        return max(0.0, float(value))
    with suppress(ValueError):
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    return 0.0


def _duration(value: str) -> float:
    """Seconds in `1h2m3.5s`, `120ms` or `12`."""
    with suppress(ValueError):
        return max(0.0, float(value))
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|[smhd])", value)
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


class Throttle:
    """Lets as many requests of this process be under way as a server bears.

    A refusal pauses all threads and halves how many there may be; each round of answers allows one more again
    (additive increase, multiplicative decrease: Chiu and Jain 1989).

    Args:
        most: Requests under way at once, at most.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._allowed = float(most)
        self._under_way = 0
        self._until = 0.0
        self._changed = Condition()

    @contextmanager
    def request(self) -> Iterator[None]:
        """Waits until a request may be sent; it is under way until the end of the block."""
        with self._changed:
            while (left := self._until - time.monotonic()) > 0 or self._under_way >= int(self._allowed):
                self._changed.wait(left if left > 0 else None)
            self._under_way += 1
        try:
            yield
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()

    def pause(self, seconds: float) -> None:
        """Nothing is sent for so many seconds from now."""
        with self._changed:
            self._until = max(self._until, time.monotonic() + seconds)

    def refused(self, seconds: float) -> None:
        """There were too many requests; what was under way when another was refused counts once."""
        with self._changed:
            if time.monotonic() >= self._until:
                self._allowed = max(1.0, self._allowed / 2)
        self.pause(seconds)

    def answered(self) -> None:
        """A request was answered."""
        with self._changed:
            self._allowed = min(float(self._most), self._allowed + 1 / self._allowed)
            self._changed.notify_all()
