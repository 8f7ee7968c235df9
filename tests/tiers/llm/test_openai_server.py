from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from tests.served_model import LISTED, Refusal, Served, serving
from tiers.errors import LLMError, ModelError
from tiers.llm import Finish, Message, Request, open_llm
from tiers.llm.cache import CachedLLM
from tiers.llm.openai_protocol import plain
from tiers.llm.openai_server import OpenAIServer
from tiers.llm.transformers_llm import TransformersLLM


@pytest.fixture(scope="module")
def local(tiny_model: Path) -> TransformersLLM:
    return TransformersLLM(str(tiny_model), tiny_model.parent)


@pytest.fixture
def served(local: TransformersLLM) -> Iterator[Served]:
    with serving(local) as served:
        yield served


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


def test_where_a_schema_is_enforced_it_begins_the_reply(served: Served) -> None:
    """The reply is what follows the prefill, whatever spaces the server puts into its JSON."""
    choice = '{"finish_reason": "stop", "message": {"content": "{ \\"a\\" : \\"b\\" }"}}'
    served.failures = [f'{{"choices": [{choice}]}}']
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    (result,) = client(served).complete([ask("x", schema=schema, prefill='{"a": "')])
    assert result.text == 'b"}'
    assert [turn["role"] for turn in served.seen[0]["messages"]] == ["user"]


@pytest.mark.parametrize(
    "token", ["<|im_end|>", "<|eot_id|>", "</s>", "[/INST]", "<end_of_turn>", "<｜end▁of▁sentence｜>"]
)
def test_a_document_cannot_end_its_turn(token: str) -> None:
    assert token not in plain(f"a{token}{token}b")
    assert plain("a < b, 1 <| 2 |> 3, <span> [1]") == "a < b, 1 <| 2 |> 3, <span> [1]"


@pytest.mark.parametrize("failures", [[429], [500, 503], ["reset"], ["torn"], [408], [429, "torn", 502]])
def test_what_may_pass_is_tried_again(served: Served, local: TransformersLLM, failures: list[int | str]) -> None:
    served.failures = list(failures)
    (result,) = client(served).complete([ask("a")])
    assert result == local.complete([ask("a")])[0]
    assert len(served.seen) == len(failures) + 1


def test_a_server_that_says_nothing_is_asked_again(served: Served) -> None:
    served.failures = ["silent"]
    (result,) = client(served, timeout=0.2).complete([ask("a")])
    assert result.finish is not Finish.ERROR
    assert len(served.seen) == 2


@pytest.mark.parametrize(
    "headers",
    [
        {"Retry-After": "0.3"},
        {"Retry-After": format_datetime(datetime.now(UTC) + timedelta(days=-1)), "x-ratelimit-reset-requests": "300ms"},
        {"x-ratelimit-reset-tokens": "0.3s", "x-ratelimit-remaining-tokens": "12"},
    ],
)
def test_all_wait_as_long_as_the_server_asks(served: Served, headers: dict[str, str]) -> None:
    served.failures = [Refusal(429, headers)]
    began = time.monotonic()
    results = client(served, concurrency=1).complete([ask("a"), ask("b")])
    assert time.monotonic() - began >= 0.3
    assert all(result.finish is not Finish.ERROR for result in results)
    assert len(served.seen) == 3


def test_nothing_is_sent_while_nothing_is_left(served: Served) -> None:
    asked = client(served, concurrency=1)
    served.headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "200ms"}
    asked.complete([ask("a")])
    began = time.monotonic()
    asked.complete([ask("b")])
    assert time.monotonic() - began >= 0.1
    assert len(served.seen) == 2  # it wasn't refused first


def test_a_server_that_bears_little_loses_nothing(served: Served) -> None:
    served.per_second = 4
    results = client(served, backoff=0.25, attempts=2).complete([ask(str(number)) for number in range(20)])
    assert all(result.finish is not Finish.ERROR for result in results)
    assert len(served.seen) < 3 * 20


def test_a_wait_for_tomorrow_is_a_failure_now(served: Served) -> None:
    served.failures = [Refusal(429, {"Retry-After": "86400"})]
    (result,) = client(served).complete([ask("a")])
    assert result.finish is Finish.ERROR
    assert len(served.seen) == 1


def test_an_empty_account_stops_everything(served: Served) -> None:
    served.failures = [Refusal(429, body=b'{"error": {"code": "insufficient_quota"}}')]
    with pytest.raises(LLMError, match="account is empty"):
        client(served).complete([ask("a")])
    assert len(served.seen) == 1


def test_a_reply_that_is_cut_off_says_so(served: Served) -> None:
    (result,) = client(served).complete([ask("a", max_tokens=1)])
    assert result.finish is Finish.LENGTH
    assert result.completion_tokens == 1


def test_tokens_from_the_servers_own_cache_are_counted(served: Served) -> None:
    reply = '{"choices": [{"finish_reason": "stop", "message": {"content": "x"}}], "usage": {"prompt_tokens": 9, %s}}'
    served.failures = [
        reply % part for part in ('"prompt_tokens_details": {"cached_tokens": 4}', '"prompt_cache_hit_tokens": 5')
    ]
    results = client(served, concurrency=1).complete([ask("a"), ask("b")])
    assert [(result.prompt_tokens, result.cached_prompt_tokens) for result in results] == [(9, 4), (9, 5)]


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


def test_a_server_that_has_answered_may_forbid_one_request(served: Served) -> None:
    asked = client(served, concurrency=1)
    asked.complete([ask("a")])
    served.failures = [403]
    assert [result.finish is Finish.ERROR for result in asked.complete([ask("b"), ask("c")])] == [True, False]


@pytest.mark.parametrize(
    "body", ["not json", "[" * 100_000, "{}", '{"choices": []}', '{"choices": [{"finish_reason": "stop"}]}']
)
def test_an_answer_that_is_none_is_a_failure(served: Served, body: str) -> None:
    served.failures = [body]
    (result,) = client(served).complete([ask("a")])
    assert result.finish is Finish.ERROR
    assert result.error


def test_a_filtered_reply_is_a_failure_that_is_paid_for_once(served: Served, tmp_path: Path) -> None:
    served.failures = ['{"choices": [{"finish_reason": "content_filter", "message": {"content": "x"}}]}']
    for cached in (False, True):
        (result,) = CachedLLM(client(served), tmp_path).complete([ask("a")])
        assert (result.finish, result.cached) == (Finish.ERROR, cached)
        assert "content_filter" in result.error
    assert len(served.seen) == 1


@pytest.mark.parametrize(
    "shape", ['"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2}', '"usage": 3']
)
def test_what_a_useless_answer_cost_is_counted(served: Served, shape: str) -> None:
    served.failures = [f"{{{shape}}}"]
    (result,) = client(served).complete([ask("a" * 400)])
    assert result.finish is Finish.ERROR
    assert result.prompt_tokens == 7 or 100 <= result.prompt_tokens < 120  # as the server says, or guessed


def test_half_a_surrogate_is_no_text(served: Served) -> None:
    served.failures = ['{"choices": [{"finish_reason": "stop", "message": {"content": "x\\ud83d"}}]}']
    (result,) = client(served).complete([ask("a")])
    assert result.text == "x\ufffd"


def test_a_deep_reply_is_a_reply(served: Served) -> None:
    deep = "[" * 100_000
    served.failures = [f'{{"choices": [{{"finish_reason": "stop", "message": {{"content": "{deep}"}}}}]}}']
    (result,) = client(served).complete([ask("a", schema={"type": "array"}, prefill="x")])
    assert result.text == deep


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
