"""Questions that wait while the model is busy are answered together in the next batch.

One thread owns the model. It takes the question that waited longest, and with it those behind it that are to be
answered in the same way; nothing waits for a batch to fill up. No answer depends on the batch that it was in.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from latent_memory.answers import Answer, OnText
from tiers.errors import EngineError

Way = TypeVar("Way", bound=Hashable)


class BusyError(EngineError):
    """The queue is full; the same request may succeed later."""


@dataclass(eq=False)
class Asking(Generic[Way]):
    """A question that waits for its answer.

    Attributes:
        question: In words.
        way: How it is to be answered; those of one batch are equal.
        hear: Called on the model's thread with each piece of the answer, then with the whole answer; or with what
            went wrong.
        said: How much of the answer was heard, in characters.
    """

    question: str
    way: Way
    hear: Callable[[str | Answer | Exception], None]
    said: int = field(default=0, init=False)


class Batcher(Generic[Way]):
    """A bounded queue of questions, and the thread that answers them.

    Args:
        answer: Answers questions in one way, calling the third argument with each piece of text.
        together: Most questions in a batch.
        waiting: Most questions that wait.
        on_batch: Hears the size of each batch that was answered and how long it took, in seconds.
    """

    def __init__(
        self,
        answer: Callable[[Sequence[str], Way, OnText], list[Answer]],
        together: int,
        waiting: int,
        on_batch: Callable[[int, float], None] = lambda size, seconds: None,
    ) -> None:
        self._answer, self._together, self._waiting, self._on_batch = answer, together, waiting, on_batch
        self._queue: deque[Asking[Way]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="memory", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        """Questions that wait."""
        return len(self._queue)

    @property
    def alive(self) -> bool:
        """Whether questions are still being taken and answered."""
        return self._thread.is_alive() and not self._closed

    def submit(self, asking: Asking[Way]) -> None:
        """Puts a question into the queue.

        Raises:
            BusyError: when the queue is full.
            EngineError: when it is closed.
        """
        with self._changed:
            if self._closed:
                raise EngineError("the server is closing", where="queue")
            if len(self._queue) >= self._waiting:
                raise BusyError(
                    "too many questions are waiting",
                    where="queue",
                    got=len(self._queue) + 1,
                    expected=f"at most {self._waiting}",
                    hint="Ask again later",
                    retryable=True,
                )
            self._queue.append(asking)
            self._changed.notify()

    def drop(self, asking: Asking[Way]) -> bool:
        """Takes a question out of the queue; returns whether it was still there."""
        with self._changed:
            waits = asking in self._queue
            if waits:
                self._queue.remove(asking)
            return waits

    def close(self) -> None:
        """Takes no more questions, answers those that wait, and returns when that is done."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while batch := self._next():
            self._answer_batch(batch)

    def _next(self) -> list[Asking[Way]]:
        """The next batch; empty at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closed)
            if not self._queue:
                return []
            way = self._queue[0].way
            batch = [asking for asking in self._queue if asking.way == way][: self._together]
            for asking in batch:
                self._queue.remove(asking)
            return batch

    def _answer_batch(self, batch: Sequence[Asking[Way]]) -> None:
        """Answers a batch; where that fails, each question alone, so that one which can't be answered fails alone."""
        started = time.monotonic()
        try:
            answers = self._answer([asking.question for asking in batch], batch[0].way, _to(batch))
        except Exception as error:
            if len(batch) == 1:
                batch[0].hear(error)
                return
            for asking in batch:
                self._answer_batch([asking])
            return
        self._on_batch(len(batch), time.monotonic() - started)
        for asking, answer in zip(batch, answers, strict=True):
            asking.hear(answer)


def _to(batch: Sequence[Asking[Way]]) -> OnText:
    """Passes pieces of text on, but not again what was heard before the batch failed: it is the same text."""
    heard = [asking.said for asking in batch]
    spoken = [0] * len(batch)

    def on_text(number: int, text: str) -> None:
        asking = batch[number]
        new = text[max(0, heard[number] - spoken[number]) :]
        spoken[number] += len(text)
        if new:
            asking.said += len(new)
            asking.hear(new)

    return on_text
