from __future__ import annotations

import json
import os
import signal
import socket
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from latent_memory.answers import Answer
from latent_memory.memory import LatentMemory
from latent_memory.serving.app import Limits
from latent_memory.serving.server import listen, serve
from tests.latent_memory.serving.conftest import CHAT, TEXTS, HeldMemory, at_once, body, measure, served, until
from tiers.errors import EngineError

QUESTIONS = [f"{ask} {text.lower().rstrip('.')}?" for text in TEXTS for ask in ("Why", "Who says that", "Since when")]
QUESTIONS.append("What?")


def told(reply: httpx.Response) -> dict[str, Any]:
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


def check_is(answer: Answer, reply: dict[str, Any]) -> None:
    """To the last bit, whatever batch it was in."""
    choice, more = reply["choices"][0], reply["tierline"]
    assert choice["message"]["content"] == answer.answer
    assert [(e["id"], e["score"], e["source"], e["status"], e["text"]) for e in more["evidence"]] == [
        (e.id, e.score, e.source, e.status, e.text) for e in answer.evidence
    ]
    assert (more["confidence"], more["mode"]) == (answer.confidence, answer.mode)
    assert reply["usage"] == {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.generated_tokens,
        "total_tokens": answer.prompt_tokens + answer.generated_tokens,
        "prompt_tokens_details": {"context_tokens": answer.context_tokens},
    }


def events(reply: httpx.Response) -> list[dict[str, Any]]:
    """The values of server-sent events, whose form is checked to the byte."""
    assert reply.headers["content-type"] == "text/event-stream"
    *parts, done, rest = reply.content.split(b"\n\n")
    assert (done, rest) == (b"data: [DONE]", b"")
    assert all(part.startswith(b"data: {") and b"\n" not in part for part in parts)
    return [json.loads(part.removeprefix(b"data: ")) for part in parts]


def test_16_clients_at_once_get_each_the_answer_to_their_own_question(held: HeldMemory, memory: LatentMemory) -> None:
    with served(held) as client, at_once() as start:
        replies = [start(client.post, CHAT, json=body(QUESTIONS[0]))]
        held.asked.wait()
        replies += [start(client.post, CHAT, json=body(question)) for question in QUESTIONS[1:]]
        until(client, waiting=15)
        held.go.set()
        for question, reply in zip(QUESTIONS, replies, strict=True):
            check_is(memory.ask(question), told(reply.result()))
        assert measure(client, "tierline_batch_size_count") == 2
        assert measure(client, "tierline_batch_size_sum") == 16
        assert measure(client, 'tierline_replies_total{status="200"}') == 16
        assert measure(client, "tierline_answer_seconds_count") == 16
        assert measure(client, "tierline_evidence") == len(TEXTS)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"k": 1},
        {"raw": True},
        {"status": "verified"},
        {"fallback": "raw"},
        {"min_confidence": 1},
        {"max_tokens": 8},
    ],
)
def test_a_stream_says_what_the_whole_reply_says(memory: LatentMemory, options: dict[str, Any]) -> None:
    with served(memory) as client:
        for question in QUESTIONS[:4]:
            whole = told(client.post(CHAT, json=body(question, **options)))
            check_is(memory.ask(question, **options), whole)
            usage = {"stream": True, "stream_options": {"include_usage": True}}
            first, *pieces, last, cost = events(client.post(CHAT, json=body(question, **options, **usage)))
            message = whole["choices"][0]["message"]
            assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
            said = [piece["choices"][0]["delta"]["content"] for piece in pieces]
            assert "".join(said) == message["content"]
            assert len(said) > 1 or "fallback" in options or "min_confidence" in options
            assert last["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]
            assert last["choices"][0]["delta"]["annotations"] == message["annotations"]
            assert last["choices"][0]["delta"].get("refusal") == message["refusal"]
            assert last["tierline"] == whole["tierline"]
            assert (cost["choices"], cost["usage"]) == ([], whole["usage"])
            assert len({event["id"] for event in (first, *pieces, last, cost)}) == 1


def test_streams_and_whole_replies_share_a_batch(held: HeldMemory, memory: LatentMemory) -> None:
    with served(held) as client, at_once() as start:
        replies = [start(client.post, CHAT, json=body(QUESTIONS[0]))]
        held.asked.wait()
        replies += [start(client.post, CHAT, json=body(q, stream=bool(n % 2))) for n, q in enumerate(QUESTIONS[:8])]
        replies.append(start(client.post, CHAT, json=body(QUESTIONS[0], k=2)))  # another way, another batch
        until(client, waiting=9)
        held.go.set()
        for question, reply in zip(QUESTIONS[1:8:2], replies[2:9:2], strict=True):
            pieces = events(reply.result())[1:-1]
            assert "".join(p["choices"][0]["delta"]["content"] for p in pieces) == memory.ask(question).answer
        assert len(told(replies[-1].result())["tierline"]["evidence"]) == 2
        assert measure(client, "tierline_batch_size_count") == 3


def test_the_last_user_message_is_the_question_and_sources_are_cited(memory: LatentMemory) -> None:
    turns = [("system", "Be brief."), ("user", "Who?"), ("assistant", "Me."), ("user", QUESTIONS[0])]
    messages = [{"role": role, "content": content} for role, content in turns]
    messages[-1]["content"] = [{"type": "text", "text": QUESTIONS[0]}]  # type: ignore[assignment]
    with served(memory) as client:
        reply = told(client.post(CHAT, json={"model": "tierline-memory", "messages": messages, "temperature": 0.0}))
    answer = memory.ask(QUESTIONS[0])
    check_is(answer, reply)
    message = reply["choices"][0]["message"]
    assert [a["url_citation"]["url"] for a in message["annotations"]] == [e.source for e in answer.evidence]
    assert {a["url_citation"]["end_index"] for a in message["annotations"]} == {len(answer.answer)}


@pytest.mark.parametrize(
    ("change", "status", "where"),
    [
        ({"temperature": 0.7}, 400, "temperature"),
        ({"max_tokens": 0}, 400, "max_tokens"),
        ({"max_tokens": 4, "max_completion_tokens": 5}, 400, "max_completion_tokens"),
        ({"n": 2}, 400, "n"),
        ({"stop": ["."]}, 400, "stop"),
        ({"k": 0}, 400, "k"),
        ({"k": "three"}, 400, "k"),
        ({"raw": 1}, 400, "raw"),
        ({"min_confidence": 1.5}, 400, "min_confidence"),
        ({"fallback": "web"}, 400, "fallback"),
        ({"colour": "blue"}, 400, "colour"),
        ({"messages": []}, 400, "messages"),
        ({"messages": [{"role": "user", "content": "  "}]}, 400, "messages"),
        ({"messages": [{"role": "assistant", "content": "Why?"}]}, 400, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}, 400, "messages.0"),
        ({"model": "gpt-5"}, 404, "model"),
    ],
)
def test_what_cannot_be_honoured_is_refused(
    memory: LatentMemory, change: dict[str, Any], status: int, where: str
) -> None:
    with served(memory) as client:
        reply = client.post(CHAT, json=body("Why?") | change)
        assert reply.status_code == status
        error = reply.json()["error"]
        assert error["type"] == "invalid_request_error"
        assert error["param"].startswith(where)
        assert where in error["message"]
        assert error["expected"] is not None
        assert measure(client, f'tierline_replies_total{{status="{status}"}}') == 1


def test_what_is_no_chat_request_is_refused(memory: LatentMemory) -> None:
    json_header = {"content-type": "application/json"}
    with served(memory, Limits(body_bytes=5000)) as client:
        refused = [
            (client.post(CHAT, content=b'{"messages": [', headers=json_header), 400),
            (client.post(CHAT, content=b"[1]", headers=json_header), 400),
            (client.post(CHAT, content=b"\xff\xfe", headers=json_header), 400),
            (client.post(CHAT, json=body("long " * 900)), 400),  # the compressor refuses it
            (client.post(CHAT, content=b"{}", headers={"content-type": "text/plain"}), 415),
            (client.post(CHAT, json=body("long " * 2000)), 413),
            (client.get(CHAT), 405),
            (client.get("/v1/embeddings"), 404),
            (client.get("/v1/models/gpt-5"), 404),
        ]
        for reply, status in refused:
            assert reply.status_code == status, reply.text
            assert reply.json()["error"]["type"] == "invalid_request_error"
        assert told(client.get("/health"))["status"] == "ok"
        assert told(client.post(CHAT, json=body("Why?")))


def test_models_and_health(memory: LatentMemory) -> None:
    with served(memory) as client:
        (model,) = told(client.get("/v1/models"))["data"]
        assert told(client.get(f"/v1/models/{model['id']}")) == model
        assert told(client.post(CHAT, json=body("Why?", model=model["id"])))["model"] == model["id"]
        assert told(client.get("/health")) == {"status": "ok", "waiting": 0, "evidence": len(TEXTS)}


def test_one_question_that_fails_takes_no_other_along(
    held: HeldMemory, memory: LatentMemory, caplog: pytest.LogCaptureFixture
) -> None:
    with served(held) as client, at_once() as start:
        first = start(client.post, CHAT, json=body("Why?"))
        held.asked.wait()
        poisoned = [start(client.post, CHAT, json=body("poison", stream=s)) for s in (False, True)]
        others = [start(client.post, CHAT, json=body(question)) for question in QUESTIONS[:3]]
        until(client, waiting=5)
        held.go.set()
        for question, reply in zip(["Why?", *QUESTIONS[:3]], [first, *others], strict=True):
            check_is(memory.ask(question), told(reply.result()))
        for reply in poisoned:
            assert reply.result().status_code == 500
            assert reply.result().json()["error"]["type"] == "server_error"
        assert "the well is poisoned" in caplog.text
        assert "poisoned" not in poisoned[0].result().text
        assert told(client.get("/health"))["status"] == "ok"


def test_a_full_queue_turns_clients_away(held: HeldMemory) -> None:
    with served(held, Limits(waiting=2)) as client, at_once() as start:
        replies = [start(client.post, CHAT, json=body("Why?"))]
        held.asked.wait()
        replies += [start(client.post, CHAT, json=body("Who?")) for _ in range(2)]
        until(client, waiting=2)
        refused = client.post(CHAT, json=body("When?"))
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json()["error"]["type"] == "rate_limit_error"
        held.go.set()
        assert all(told(reply.result()) for reply in replies)


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_has_gone_is_not_answered(held: HeldMemory, stream: bool) -> None:
    with served(held) as client, at_once() as start:
        first = start(client.post, CHAT, json=body("Why?"))
        held.asked.wait()
        with raw_socket(client) as sock:
            sock.sendall(raw_request(body("poison", stream=stream)))
            until(client, waiting=1)
        until(client, waiting=0)
        held.go.set()
        assert told(first.result())
        assert measure(client, "tierline_abandoned_total") == 1
        assert measure(client, 'tierline_replies_total{status="499"}') == 1


def raw_socket(client: httpx.Client) -> socket.socket:
    return socket.create_connection((client.base_url.host, client.base_url.port))


def raw_request(value: dict[str, Any]) -> bytes:
    content = json.dumps(value).encode()
    head = (
        f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


def test_clients_that_take_too_long_are_hung_up_on(memory: LatentMemory) -> None:
    request = raw_request(body("Why?"))
    with served(memory, Limits(seconds=0.2)) as client:
        for sent in (b"", b"GET /health HTTP/1.1\r\nho"):
            with raw_socket(client) as sock:
                sock.sendall(sent)
                assert closed(sock)
        with raw_socket(client) as sock:
            sock.sendall(request[:-5])
            assert b" 408 " in sock.recv(1000)
        assert told(client.get("/health"))["status"] == "ok"


def closed(sock: socket.socket) -> bool:
    try:
        return sock.recv(100) == b""
    except ConnectionResetError:
        return True


def test_told_to_end_a_server_finishes_what_is_under_way(
    held: HeldMemory, memory: LatentMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended, ready, replies = [], threading.Event(), []
    before = signal.signal(signal.SIGTERM, lambda number, frame: ended.append(number))
    address: list[str] = []

    def hear(url: str) -> None:
        address.append(url)
        ready.set()

    def clients() -> None:
        ready.wait()
        with httpx.Client(base_url=address[0], timeout=None) as client, at_once() as start:
            replies.append(start(client.post, CHAT, json=body(QUESTIONS[0])))
            held.asked.wait()
            replies.append(start(client.post, CHAT, json=body(QUESTIONS[1], stream=True)))
            until(client, waiting=1)
            os.kill(os.getpid(), signal.SIGTERM)
            try:
                until_refused(client)
            finally:
                held.go.set()

    asking = threading.Thread(target=clients)
    asking.start()
    try:
        monkeypatch.setattr(held, "ask", memory.ask)  # it is asked whether it can answer before there is a client
        serve(held, port=0, on_ready=hear)
    finally:
        signal.signal(signal.SIGTERM, before)
    asking.join()
    assert ended == [signal.SIGTERM]
    check_is(memory.ask(QUESTIONS[0]), told(replies[0].result()))
    pieces = events(replies[1].result())[1:-1]
    assert "".join(p["choices"][0]["delta"]["content"] for p in pieces) == memory.ask(QUESTIONS[1]).answer


def until_refused(client: httpx.Client) -> None:
    while True:
        try:
            raw_socket(client).close()
        except ConnectionRefusedError:
            return
        except ConnectionResetError:  # it had not been taken yet when the server closed
            continue


def test_an_address_that_is_taken_is_an_error(memory: LatentMemory, tmp_path: Path) -> None:
    with listen("127.0.0.1", 0) as sock, pytest.raises(EngineError, match="cannot listen"):
        serve(memory, port=sock.getsockname()[1])
