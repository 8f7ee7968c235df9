"""The back end for any server that speaks the OpenAI chat protocol: vLLM, llama.cpp, a hosted one.

Each request is a group of its own. What a server computes may depend on its load; the cache makes the first answer
the one that stays. An attempt that timed out or broke off is repeated, though the server may have computed it.
"""

from __future__ import annotations

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import count
from typing import Any

from tiers.errors import LLMError, ModelError
from tiers.llm.cache import complete_in_groups
from tiers.llm.openai_protocol import parsed, payload
from tiers.llm.prices import BASE_URL, REMOTE, without_address
from tiers.llm.protocol import Finish, Request, Result
from tiers.llm.rate_limits import Throttle, seconds_to_wait
from tiers.llm.slots import answer_in_slots

CONCURRENCY = 16
"""Requests under way at once, of one process."""

_LONGEST_BACKOFF = 60.0
_LONGEST_WAIT = 900.0
"""Seconds from the first attempt until the last; a server that asks for more has run out for today."""

_TOO_MANY = 429


class OpenAIServer:
    """A language model behind an OpenAI-compatible server.

    Args:
        model: What the server calls it.
        url: Of the API, up to and with `/v1`.
        key: Sent as a bearer token; `None` to send none.
        concurrency: The most requests under way at once.
        timeout: Seconds without a byte from the server until an attempt has failed.
        attempts: How often a request may fail. That the server is asked too much counts as waiting, which it may tell
            how long to, not as a failure.
        backoff: Seconds to wait before the second attempt; doubled for each one after it, unless the server says
            how long to wait.
    """

    def __init__(
        self,
        model: str,
        url: str,
        key: str | None = None,
        *,
        concurrency: int = CONCURRENCY,
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
        self._throttle = Throttle(concurrency)
        self._has_answered = False

    @classmethod
    def named(cls, name: str) -> OpenAIServer:
        """The server that `openai:MODEL@URL` names; without `@URL`, the one at `$OPENAI_BASE_URL`.

        Raises:
            ModelError: It names no model, or no server.
        """
        plain = without_address(name)
        model, url = plain.removeprefix(REMOTE), name[len(plain) + 1 :] or os.environ.get(BASE_URL, "")
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

    def answers(self, groups: Iterable[Sequence[Request]]) -> Iterator[tuple[int, list[Result]]]:
        """Answers the groups as the server does.

        Raises:
            LLMError: The server refuses the key, the address or the model, or its account is empty, so that no request
                can succeed.
        """
        return answer_in_slots(self._answer, groups, self._concurrency)

    def _answer(self, request: Request) -> Result:
        if request.reply:
            return Result(text="", finish=Finish.ERROR, error="the chat protocol can't weigh a given reply")
        body = json.dumps(payload(self._model, request)).encode()
        failures, last = 0, time.monotonic() + _LONGEST_WAIT
        for attempt in count():
            try:
                with self._throttle.request():
                    reply = self._post(body)
            except LLMError as error:
                if self._is_hopeless(error):
                    raise
                asked = error.expected if isinstance(error.expected, float) else 0.0
                wait = asked or min(self._backoff * 2**attempt, _LONGEST_BACKOFF)
                failures += error.got != _TOO_MANY  # a server that is busy hasn't failed
                if not error.retryable or failures == self._attempts or time.monotonic() + wait > last:
                    return Result(text="", finish=Finish.ERROR, error=str(error))
                if error.got == _TOO_MANY:
                    self._throttle.refused(wait)
                else:
                    time.sleep(wait)
            else:
                self._has_answered = True
                self._throttle.answered()
                return parsed(request, reply)
        raise AssertionError("unreachable")

    def _is_hopeless(self, error: LLMError) -> bool:
        """Whether no request can succeed; a server that has answered before forbids this one alone."""
        return error.got in {401, 402, 404} or (error.got == 403 and not self._has_answered)

    def _post(self, body: bytes) -> Any:
        """Sends one attempt.

        Raises:
            LLMError: It failed; retryable on 408, 429, 5xx, broken connections and time-outs.
        """
        post = urllib.request.Request(self._url, body, self._headers, method="POST")
        try:
            with urllib.request.urlopen(post, timeout=self._timeout) as reply:
                self._throttle.pause(min(seconds_to_wait(reply.headers, refused=False), _LONGEST_WAIT))
                return json.loads(reply.read())
        except urllib.error.HTTPError as error:
            with error:
                raise self._refusal(error) from error
        except (OSError, http.client.HTTPException) as error:  # URLError, resets and time-outs among them
            raise LLMError("the server didn't answer", where=self._url, got=str(error), retryable=True) from error
        except (ValueError, RecursionError) as error:
            raise LLMError("the server's answer isn't JSON", where=self._url, got=str(error)) from error

    def _refusal(self, error: urllib.error.HTTPError) -> LLMError:
        said, status = "", error.code
        with suppress(OSError, http.client.HTTPException):  # the body may be late or torn
            said = error.read(400).decode("utf-8", "replace")
        if status == _TOO_MANY and "insufficient_quota" in said:  # no wait brings money; as good as 402
            return LLMError("the server's account is empty", where=self._url, got=402, hint=said)
        again = status in {408, _TOO_MANY} or status >= 500
        asked = seconds_to_wait(error.headers, refused=status == _TOO_MANY) or None
        return LLMError("the server refused", where=self._url, got=status, expected=asked, hint=said, retryable=again)
