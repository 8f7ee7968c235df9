"""One protocol for every language model: requests in, results out, in the same order.

Text under curation is data. It enters a prompt only through `quoted`, and what comes back is validated by the stage
that asked, against a schema and against the source.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol


class Finish(StrEnum):
    """Why a completion ended. Only `STOP` is whole; the others are failures that a stage must report."""

    STOP = "stop"
    LENGTH = "length"
    ERROR = "error"


@dataclass(frozen=True)
class Message:
    """One turn of a conversation; `role` is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True)
class Request:
    """What is asked of a model. Decoding is greedy unless a temperature is given.

    Attributes:
        messages: The conversation so far.
        max_tokens: The most tokens to generate.
        choices: When given, nothing is generated: the result holds the log-probability of each choice as the next
            token. Each must be one token of the model.
        schema: A JSON schema that the reply must satisfy, enforced while decoding where the back end can.
        prefill: The beginning of the assistant's reply, given rather than generated.
        reply: When given, nothing is generated: the result holds the log-probability of each token of this text, as
            the beginning of the reply.
        temperature: Above 0 each token is drawn from the probabilities of the logits over the temperature.
        seed: Which of the possible samples; the same request gives the same one, whatever is asked beside it. A server
            is asked to do so.
    """

    messages: tuple[Message, ...]
    max_tokens: int = 256
    choices: tuple[str, ...] = ()
    schema: dict[str, Any] | None = None
    prefill: str = ""
    reply: str = ""
    temperature: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Result:
    """What a model answered.

    Attributes:
        text: The generated text, without the prefill.
        finish: Why it ended.
        logprobs: For a request with choices, the natural-log probability of each, in their order; for one with a reply,
            that of each of its tokens.
        prompt_tokens: Tokens read.
        cached_prompt_tokens: Those of them that a server had in its own cache of prompts, and takes less for.
        completion_tokens: Tokens generated.
        cost: What it cost when it was asked for, in the currency of the run's prices; 0 where no price is known.
        cached: Whether it came from the request cache, and so cost nothing again.
        error: What went wrong, where `finish` is `ERROR`.
        final: Whether asking again would give the same error, so that it is kept as an answer is.
        rehearsed: Whether nobody wrote it, so that nothing can be told from it.
    """

    text: str
    finish: Finish
    logprobs: tuple[float, ...] = ()
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached: bool = False
    error: str = ""
    cached_prompt_tokens: int = 0
    cost: float = 0.0
    final: bool = False
    rehearsed: bool = False


class LLM(Protocol):
    """A language model behind some back end.

    `name` identifies the weights and every setting that changes a result; it is part of the cache key.
    """

    @property
    def name(self) -> str:
        """What identifies the model and its settings."""
        ...

    def complete(self, requests: Sequence[Request]) -> list[Result]:
        """Answers every request, in order. One request's failure is a result with `Finish.ERROR`."""
        ...


def quoted(text: str, tag: str = "document") -> str:
    """`text` between delimiters that it cannot close: a look-alike delimiter inside it is broken up."""
    safe = text.replace(f"<{tag}", f"< {tag}").replace(f"</{tag}", f"</ {tag}")
    return f"<{tag}>\n{safe}\n</{tag}>"


def well_formed(text: str) -> str:
    """`text` as Unicode allows it: a surrogate without its other half, which JSON can spell, becomes U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def unfenced(text: str) -> str:
    """`text` without the fence around it, in which models that write JSON often put it."""
    return re.sub(r"\A\s*```(?:json)?\s*|\s*```\s*\Z", "", text)
