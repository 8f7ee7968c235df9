"""The back end for any server that speaks the OpenAI chat protocol: vLLM, llama.cpp, a hosted one.

Each request is a group of its own. What a server computes may depend on its load; the cache makes the first answer
the one that stays.
"""

from __future__ import annotations

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

from tiers.errors import LLMError, ModelError
from tiers.llm.cache import complete_in_groups
from tiers.llm.protocol import Finish, Request, Result

TOP_LOGPROBS = 20
"""The most alternatives that the protocol lists for one token."""

_LONGEST_WAIT = 60.0


class OpenAIServer:
    """A language model behind an OpenAI-compatible server.

    Args:
        model: What the server calls it.
        url: Of the API, up to and with `/v1`.
        key: Sent as a bearer token; `None` to send none.
        concurrency: The most requests under way at once.
        timeout: Seconds that one attempt may take.
        attempts: How often a request is sent before it counts as failed.
        backoff: Seconds to wait before the second attempt; doubled for each one after it, unless the server says
            how long to wait.
    """

    def __init__(
        self,
        model: str,
        url: str,
        key: str | None = None,
        *,
        concurrency: int = 8,
        timeout: float = 120.0,
        attempts: int = 5,
        backoff: float = 0.5,
    ) -> None:
        self._model = model
        self._url = url.rstrip("/") + "/chat/completions"
        self._headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        self._concurrency = concurrency
        self._timeout = timeout
        self._attempts = attempts
        self._backoff = backoff

    @classmethod
    def named(cls, name: str) -> OpenAIServer:
        """The server that `openai:MODEL@URL` names; without `@URL`, the one at `$OPENAI_BASE_URL`.

        Raises:
            ModelError: It names no model, or no server.
        """
        model, _, url = name.removeprefix("openai:").rpartition("@")
        if not model:
            model, url = url, os.environ.get("OPENAI_BASE_URL", "")
        if not model or not url.startswith(("http://", "https://")):
            raise ModelError(
                "this names no model on a server",
                got=name,
                expected="openai:MODEL@http://host:port/v1",
                hint="Or leave the address out and set OPENAI_BASE_URL",
            )
        return cls(model, url, os.environ.get("OPENAI_API_KEY"))

    @property
    def name(self) -> str:
        """The model as the server calls it; its address is no part of its identity."""
        return f"openai/{self._model}"

    def complete(self, requests: Sequence[Request]) -> list[Result]:
        """Answers every request, in order."""
        return complete_in_groups(self, requests)

    def groups(self, requests: Sequence[Request]) -> list[list[int]]:
        """Each request is a group of its own."""
        return [[i] for i in range(len(requests))]

    def answers(self, groups: Sequence[Sequence[Request]]) -> Iterator[tuple[int, list[Result]]]:
        """Answers the groups as the server does.

        Raises:
            LLMError: The server refuses the key, the address or the model, so that no request can succeed.
        """
        pool = ThreadPoolExecutor(self._concurrency, thread_name_prefix="llm")
        try:
            futures = {pool.submit(self._answer, group[0]): number for number, group in enumerate(groups)}
            for future in as_completed(futures):
                yield futures[future], [future.result()]
        finally:
            pool.shutdown(cancel_futures=True)

    def _answer(self, request: Request) -> Result:
        if request.reply:
            return Result(text="", finish=Finish.ERROR, error="the chat protocol can't weigh a given reply")
        body = json.dumps(self._payload(request)).encode()
        for attempt in range(self._attempts):
            try:
                return _parsed(request, self._post(body))
            except LLMError as error:
                if not error.retryable and error.got in {401, 403, 404}:
                    raise
                if not error.retryable or attempt + 1 == self._attempts:
                    return Result(text="", finish=Finish.ERROR, error=str(error))
                asked = error.expected if isinstance(error.expected, float) else 0.0
                time.sleep(min(max(asked, self._backoff * 2**attempt), _LONGEST_WAIT))
        raise AssertionError("unreachable")

    def _payload(self, request: Request) -> dict[str, Any]:
        messages = [{"role": turn.role, "content": turn.content} for turn in request.messages]
        payload: dict[str, Any] = {"model": self._model, "messages": messages}
        payload |= {"temperature": request.temperature, "seed": request.seed}
        payload["max_tokens"] = 1 if request.choices else request.max_tokens
        if request.choices:
            payload |= {"logprobs": True, "top_logprobs": TOP_LOGPROBS}
        if request.schema is not None:
            schema = {"name": "reply", "schema": request.schema, "strict": True}
            payload["response_format"] = {"type": "json_schema", "json_schema": schema}
        if request.prefill:
            messages.append({"role": "assistant", "content": request.prefill})
            payload |= {"add_generation_prompt": False, "continue_final_message": True}
        return payload

    def _post(self, body: bytes) -> Any:
        """Sends one attempt.

        Raises:
            LLMError: It failed; retryable on 429, 5xx, broken connections and time-outs.
        """
        post = urllib.request.Request(self._url, body, self._headers, method="POST")
        try:
            with urllib.request.urlopen(post, timeout=self._timeout) as reply:
                return json.loads(reply.read())
        except urllib.error.HTTPError as error:
            with error:
                said = error.read(400).decode("utf-8", "replace")
            again = error.code == 429 or error.code >= 500
            wait = error.headers.get("Retry-After", "")
            asked = float(wait) if wait.isdecimal() else None
            raise LLMError(
                "the server refused", where=self._url, got=error.code, expected=asked, hint=said, retryable=again
            ) from error
        except (OSError, http.client.HTTPException) as error:  # URLError, resets and time-outs among them
            raise LLMError("the server didn't answer", where=self._url, got=str(error), retryable=True) from error
        except ValueError as error:
            raise LLMError("the server's answer isn't JSON", where=self._url, got=str(error)) from error


def _parsed(request: Request, reply: Any) -> Result:
    """The result that a reply holds.

    Raises:
        LLMError: It isn't what the protocol says.
    """
    try:
        choice, usage = reply["choices"][0], reply.get("usage") or {}
        counts: dict[str, Any] = {key: int(usage.get(key, 0)) for key in ("prompt_tokens", "completion_tokens")}
        if request.choices:
            listed = choice["logprobs"]["content"][0]["top_logprobs"]
            return _rated(request, {entry["token"]: float(entry["logprob"]) for entry in listed}, counts)
        finish, text = str(choice["finish_reason"]), choice["message"]["content"] or ""
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise LLMError("the server's answer isn't a chat completion", got=f"{type(error).__name__}: {error}") from error
    if finish not in {Finish.STOP, Finish.LENGTH}:
        return Result(text=text, finish=Finish.ERROR, error=f"the server ended the reply with {finish!r}", **counts)
    if request.prefill and text.startswith(request.prefill):  # some servers repeat what they continue
        text = text[len(request.prefill) :]
    return Result(text=text, finish=Finish(finish), **counts)


def _rated(request: Request, listed: dict[str, float], counts: dict[str, Any]) -> Result:
    """Log-probabilities of the choices; one that isn't listed gets the lowest listed value, its upper bound."""
    if not any(choice in listed for choice in request.choices):
        return Result(text="", finish=Finish.ERROR, error="none of the choices is among the likeliest tokens", **counts)
    floor = min(listed.values())
    logprobs = tuple(listed.get(choice, floor) for choice in request.choices)
    best = max(range(len(logprobs)), key=logprobs.__getitem__)
    return Result(text=request.choices[best], finish=Finish.STOP, logprobs=logprobs, **counts)
