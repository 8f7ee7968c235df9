"""A chat server whose replies are written in the test."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tiers.llm.openai_server import OpenAIServer

Reply = str | tuple[str, str] | int | dict[str, float]


@dataclass
class Author:
    """Says to each request what the first rule that matches it says.

    A rule is (model, words that the last turn has, reply): a text, a text with the reason why it ended, a status, or
    log-probabilities of single tokens; or what gives one of them from the request.
    """

    url: str = ""
    rules: list[tuple[str, str, Reply | Callable[[dict[str, Any]], Reply]]] = field(default_factory=list)
    seen: list[dict[str, Any]] = field(default_factory=list)

    def llm(self, name: str = "author") -> OpenAIServer:
        return OpenAIServer(name, self.url, attempts=1)

    def reply(self, payload: dict[str, Any]) -> Reply:
        self.seen.append(payload)
        turns = [turn["content"] for turn in payload["messages"] if turn["role"] == "user"]
        model = payload["model"]
        found = next(reply for name, words, reply in self.rules if name == model and words in turns[-1])
        return found(payload) if callable(found) else found


class Handler(BaseHTTPRequestHandler):
    author: Author

    def do_POST(self) -> None:
        payload = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        reply = self.author.reply(payload)
        if isinstance(reply, int):
            self.answer(reply, b"{}")
            return
        text, finish = reply if isinstance(reply, tuple) else (reply, "stop")
        choice: dict[str, Any] = {"message": {"content": text}, "finish_reason": finish}
        if isinstance(text, dict):
            top = [{"token": token, "logprob": value} for token, value in text.items()]
            choice = {"message": {"content": ""}, "finish_reason": "length"}
            choice["logprobs"] = {"content": [{"token": "", "top_logprobs": top}]}
        usage = {"prompt_tokens": 10, "completion_tokens": 5}
        self.answer(200, json.dumps({"choices": [choice], "usage": usage}).encode())

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


class Server(ThreadingHTTPServer):
    request_queue_size = 128  # of 5, as it is otherwise, connections are lost where all of a client's come at once


@contextmanager
def serving() -> Iterator[Author]:
    """An author behind a server on this machine."""
    author = Author()
    handler = type("AuthorHandler", (Handler,), {"author": author})
    with Server(("127.0.0.1", 0), handler) as server:
        author.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield author
        server.shutdown()
        thread.join()
