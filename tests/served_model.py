"""A chat server around a local model, which fails as often and in the way it is told to, and remembers all it saw."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tiers.llm import Message, Request
from tiers.llm.transformers_llm import TransformersLLM

LISTED = tuple("0123456789abcdefghij")


@dataclass(frozen=True)
class Refusal:
    """A status with headers."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b'{"error": "told to fail"}'


@dataclass
class Served:
    """What the server is told, and what it saw.

    Attributes:
        failures: What to do with the next requests instead of answering: a status; a `Refusal`; `reset` to close the
            connection, `torn` to do so in the middle of the body, `silent` to answer only when the test is over; or any
            other body.
        headers: Of whole answers.
        per_second: How many requests may begin in a second; more are refused with 429.
        holds_after: How many requests are answered; later ones get no answer until `release`.
        seen: The payloads, in the order in which they came.
    """

    llm: TransformersLLM
    url: str = ""
    failures: list[int | str | Refusal] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    per_second: int | None = None
    begun: list[float] = field(default_factory=list)
    holds_after: int | None = None
    seen: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    under_way: int = 0
    most_under_way: int = 0
    held: int = 0
    over: bool = False
    changed: threading.Condition = field(default_factory=threading.Condition)
    model_lock: threading.Lock = field(default_factory=threading.Lock)

    def asked(self) -> Counter[str]:
        """How often each payload came."""
        with self.changed:
            return Counter(json.dumps(payload, sort_keys=True) for payload in self.seen)

    def wait_until_held(self, count: int) -> None:
        """Returns when so many requests are without an answer."""
        with self.changed:
            self.changed.wait_for(lambda: self.held >= count)

    def release(self) -> None:
        """Answers those that were held, and all that follow."""
        with self.changed:
            self.holds_after = None
            self.changed.notify_all()

    def is_too_much(self) -> bool:
        """Whether more requests began in the last second than may; else one more has."""
        if self.per_second is None:
            return False
        now = time.monotonic()
        self.begun = [begun for begun in self.begun if now - begun < 1]
        if len(self.begun) < self.per_second:
            self.begun.append(now)
            return False
        return True

    def answer(self, payload: dict[str, Any]) -> dict[str, Any]:
        turns = tuple(Message(turn["role"], turn["content"]) for turn in payload["messages"])
        prefill = turns[-1].content if payload.get("continue_final_message") else ""
        messages = turns[:-1] if prefill else turns
        choices = LISTED if payload.get("logprobs") else ()
        with self.model_lock:
            (result,) = self.llm.complete(
                [
                    Request(
                        messages,
                        max_tokens=payload["max_tokens"],
                        prefill=prefill,
                        choices=choices,
                        temperature=payload["temperature"],
                        seed=payload["seed"],
                    )
                ]
            )
        choice: dict[str, Any] = {"message": {"content": result.text}, "finish_reason": str(result.finish)}
        if choices:
            top = [{"token": t, "logprob": p} for t, p in zip(choices, result.logprobs, strict=True)]
            choice["logprobs"] = {"content": [{"token": result.text, "top_logprobs": top}]}
        usage = {"prompt_tokens": result.prompt_tokens, "completion_tokens": result.completion_tokens}
        return {"choices": [choice], "usage": usage}


class _Handler(BaseHTTPRequestHandler):
    served: Served

    def do_POST(self) -> None:
        served = self.served
        payload = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with served.changed:
            served.under_way += 1
            served.most_under_way = max(served.most_under_way, served.under_way)
            served.seen.append(payload)
            served.keys.append(self.headers["Authorization"])
            failure = served.failures.pop(0) if served.failures else 429 if served.is_too_much() else None
            if served.holds_after is not None and len(served.seen) > served.holds_after:
                self._hold(lambda: served.holds_after is None)
            if failure == "silent":
                self._hold(lambda: served.over)
        try:
            body = failure or json.dumps(served.answer(payload))
        finally:  # before the reply: whoever has it may ask again at once
            with served.changed:
                served.under_way -= 1
        self._respond(body)

    def _hold(self, until: Callable[[], bool]) -> None:
        self.served.held += 1
        self.served.changed.notify_all()
        self.served.changed.wait_for(lambda: until() or self.served.over)
        self.served.held -= 1

    def _respond(self, body: int | str | Refusal) -> None:
        if body in ("reset", "silent"):
            self.connection.close()
        elif body == "torn":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b'{"choices": [')
            self.wfile.flush()
            self.connection.close()
        elif isinstance(body, int):
            self._reply(Refusal(body))
        elif isinstance(body, Refusal):
            self._reply(body)
        else:
            self._reply(Refusal(200, self.served.headers, str(body).encode()))

    def _reply(self, reply: Refusal) -> None:
        try:
            self.send_response(reply.status)
            for name, value in {**reply.headers, "Content-Length": str(len(reply.body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.body)
        except OSError:
            pass  # whoever asked was killed

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


@contextmanager
def serving(llm: TransformersLLM) -> Iterator[Served]:
    """Serves a model on this machine."""
    served = Served(llm)
    handler = type("ServedHandler", (_Handler,), {"served": served})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        served.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        with served.changed:
            served.over = True
            served.changed.notify_all()
        server.shutdown()
        thread.join()
