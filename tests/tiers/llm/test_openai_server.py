from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tiers.errors import LLMError, ModelError
from tiers.llm import Finish, Message, Request, open_llm
from tiers.llm.cache import CachedLLM
from tiers.llm.openai_server import OpenAIServer
from tiers.llm.transformers_llm import TransformersLLM

LISTED = tuple("0123456789abcdefghij")


@dataclass
class Served:
    """A chat server around a local model, which fails as often and as it is told to."""

    llm: TransformersLLM
    url: str = ""
    failures: list[int | str] = field(default_factory=list)
    seen: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    under_way: int = 0
    most_under_way: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    model_lock: threading.Lock = field(default_factory=threading.Lock)

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


class Handler(BaseHTTPRequestHandler):
    served: Served

    def do_POST(self) -> None:
        served = self.served
        payload = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with served.lock:
            served.under_way += 1
            served.most_under_way = max(served.most_under_way, served.under_way)
            served.seen.append(payload)
            served.keys.append(self.headers["Authorization"])
            failure = served.failures.pop(0) if served.failures else None
        try:
            body = failure or json.dumps(served.answer(payload))
        finally:  # before the reply: whoever has it may ask again at once
            with served.lock:
                served.under_way -= 1
        if failure == "reset":
            self.connection.close()
        elif isinstance(failure, int):
            self.reply(failure, b'{"error": "told to fail"}')
        else:
            self.reply(200, str(body).encode())

    def reply(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def local(tiny_model: Path) -> TransformersLLM:
    return TransformersLLM(str(tiny_model), tiny_model.parent)


@pytest.fixture
def served(local: TransformersLLM) -> Iterator[Served]:
    served = Served(local)
    handler = type("ServedHandler", (Handler,), {"served": served})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        served.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        server.shutdown()
        thread.join()


def client(served: Served, **settings: Any) -> OpenAIServer:
    return OpenAIServer("tiny", served.url, **{"backoff": 0.0, "timeout": 60.0, **settings})


def ask(text: str, **fields: Any) -> Request:
    return Request((Message("user", text),), **{"max_tokens": 6, **fields})


def test_a_server_gives_what_the_model_behind_it_gives(served: Served, local: TransformersLLM) -> None:
    requests = [ask("a"), ask("bb", prefill="So "), ask("c", choices=("1", "2", "3"))]
    remote = client(served).complete(requests)
    here = [local.complete([request])[0] for request in requests]
    assert [(r.text, r.finish, r.logprobs) for r in remote] == [(r.text, r.finish, r.logprobs) for r in here]
    assert [r.prompt_tokens for r in remote] == [r.prompt_tokens for r in here]


def test_what_a_server_is_sent(served: Served) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    client(served, key="secret").complete([ask("a", schema=schema)])
    client(served).complete([ask("b", choices=("1",)), ask("c", temperature=0.7, seed=3)])
    first, second, third = sorted(served.seen, key=lambda payload: payload["messages"][0]["content"])
    assert (first["temperature"], third["temperature"], third["seed"]) == (0, 0.7, 3)
    assert first["response_format"]["json_schema"]["schema"] == schema
    assert (second["max_tokens"], second["logprobs"], second["top_logprobs"]) == (1, True, 20)
    assert served.keys == ["Bearer secret", None, None]


@pytest.mark.parametrize("failures", [[429], [500, 503], ["reset"], [429, "reset", 502]])
def test_what_may_pass_is_tried_again(served: Served, failures: list[int | str]) -> None:
    served.failures = list(failures)
    (result,) = client(served).complete([ask("a")])
    assert result.finish is not Finish.ERROR
    assert len(served.seen) == len(failures) + 1


def test_trying_ends(served: Served) -> None:
    served.failures = [500, 500, 500, 500]
    (result,) = client(served, attempts=3).complete([ask("a")])
    assert result.finish is Finish.ERROR
    assert "500" in result.error
    assert len(served.seen) == 3


def test_a_request_that_is_refused_is_not_repeated_and_fails_alone(served: Served) -> None:
    served.failures = [400]
    results = client(served, concurrency=1).complete([ask("a"), ask("b")])
    assert [result.finish is Finish.ERROR for result in results] == [True, False]
    assert len(served.seen) == 2


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_wrong_key_or_address_stops_everything(served: Served, status: int) -> None:
    served.failures = [status]
    with pytest.raises(LLMError, match=str(status)):
        client(served).complete([ask("a")])


@pytest.mark.parametrize("body", ["not json", "{}", '{"choices": []}', '{"choices": [{"finish_reason": "stop"}]}'])
def test_an_answer_that_is_none_is_a_failure(served: Served, body: str) -> None:
    served.failures = [body]
    (result,) = client(served).complete([ask("a")])
    assert result.finish is Finish.ERROR
    assert result.error


def test_a_filtered_reply_is_a_failure(served: Served) -> None:
    served.failures = ['{"choices": [{"finish_reason": "content_filter", "message": {"content": "x"}}]}']
    (result,) = client(served).complete([ask("a")])
    assert result.finish is Finish.ERROR
    assert "content_filter" in result.error


def test_choices_that_the_server_does_not_list(served: Served) -> None:
    listed, unlisted = client(served).complete([ask("a", choices=("1", "Z")), ask("a", choices=("Y", "Z"))])
    lowest = min(client(served).complete([ask("a", choices=LISTED)])[0].logprobs)
    assert listed.logprobs[1] == lowest  # an upper bound of what it can be
    assert unlisted.finish is Finish.ERROR


def test_a_given_reply_cannot_be_weighed_over_this_protocol(served: Served) -> None:
    (result,) = client(served).complete([ask("a", reply="b")])
    assert result.finish is Finish.ERROR
    assert not served.seen


def test_no_more_requests_at_once_than_allowed(served: Served) -> None:
    results = client(served, concurrency=3).complete([ask(str(i)) for i in range(12)])
    assert all(result.finish is not Finish.ERROR for result in results)
    assert served.most_under_way <= 3


def test_each_answer_is_cached_by_itself(served: Served, tmp_path: Path) -> None:
    served.failures = [400]
    first = CachedLLM(client(served, concurrency=1), tmp_path).complete([ask("a"), ask("b")])
    second = CachedLLM(client(served), tmp_path).complete([ask("b"), ask("a")])
    assert [result.finish is Finish.ERROR for result in first] == [True, False]
    assert [result.cached for result in second] == [True, False]
    assert len(served.seen) == 3


def test_the_name_of_a_server(served: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spelt = open_llm(f"openai:org/tiny@{served.url}", tmp_path)
    monkeypatch.setenv("OPENAI_BASE_URL", served.url)
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    known = open_llm("openai:org/tiny", tmp_path)
    assert spelt.name == known.name == "openai/org/tiny"  # where it runs is no part of what it is
    assert known.complete([ask("a")])[0].finish is not Finish.ERROR
    assert served.keys == ["Bearer secret"]


@pytest.mark.parametrize("name", ["openai:", "openai:model", "openai:model@nowhere", "openai:@http://host/v1"])
def test_a_name_without_a_model_or_a_server_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="names no model on a server"):
        open_llm(name, tmp_path)
