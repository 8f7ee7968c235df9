"""What is sent to a server that speaks the OpenAI chat protocol, and what its reply says."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any

from tiers.llm.protocol import Finish, Request, Result, well_formed
from tiers.llm.token_guess import guess, guessed_tokens

TOP_LOGPROBS = 20
"""The most alternatives that the protocol lists for one token."""

_CONTROL = re.compile(r"<(?=[|｜][^<>\s]{1,40}[|｜]>|/?s>|[be]os>|(?:start|end)_of_turn>)|\[(?=/?INST\])")
"""The first sign of what is a control token to some model: of ChatML, Llama, Mistral, Gemma, DeepSeek and the like."""


def payload(model: str, request: Request) -> dict[str, Any]:
    """The body of a request for one chat completion."""
    messages = [{"role": turn.role, "content": plain(turn.content)} for turn in request.messages]
    body: dict[str, Any] = {"model": model, "messages": messages}
    body |= {"temperature": request.temperature, "seed": request.seed}
    body["max_tokens"] = 1 if request.choices else request.max_tokens
    if request.choices:
        body |= {"logprobs": True, "top_logprobs": TOP_LOGPROBS}
    if request.schema is not None:
        schema = {"name": "reply", "schema": request.schema, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif request.prefill:  # where a schema is enforced, it says how the reply begins
        messages.append({"role": "assistant", "content": plain(request.prefill)})
        body |= {"add_generation_prompt": False, "continue_final_message": True}
    return body


def plain(text: str) -> str:
    """`text` with control tokens broken up, so that a document can't end its turn where servers parse them."""
    return _CONTROL.sub(lambda found: f"{found[0]} ", text)


def parsed(request: Request, reply: Any) -> Result:
    """The result that a reply holds; one that isn't what the protocol says is a failure, with what it cost."""
    counts = _counts(request, reply)
    try:
        choice = reply["choices"][0]
        if request.choices:
            listed = choice["logprobs"]["content"][0]["top_logprobs"]
            return _rated(request, {entry["token"]: float(entry["logprob"]) for entry in listed}, counts)
        finish, text = str(choice["finish_reason"]), well_formed(choice["message"]["content"] or "")
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        told = f"the server's answer isn't a chat completion: {type(error).__name__}: {error}"
        return Result(text="", finish=Finish.ERROR, error=told, **counts)
    if finish not in {Finish.STOP, Finish.LENGTH}:
        told = f"the server ended the reply with {finish!r}"
        return Result(text=text, finish=Finish.ERROR, error=told, final=True, **counts)
    return Result(text=_after(request, text), finish=Finish(finish), **counts)


def _after(request: Request, text: str) -> str:
    """What follows the prefill, whether the server repeats it, or wrote it itself, in its own spacing."""
    if request.prefill and request.schema is not None and not text.startswith(request.prefill):
        with suppress(ValueError, RecursionError):
            text = json.dumps(json.loads(text), ensure_ascii=False)
    return text.removeprefix(request.prefill)


def _counts(request: Request, reply: Any) -> dict[str, Any]:
    """The tokens that a server counted, or what they may be where it doesn't say."""
    try:
        usage = reply["usage"]
        details = usage.get("prompt_tokens_details") or {}
        cached = details.get("cached_tokens") or usage.get("prompt_cache_hit_tokens")  # the latter is DeepSeek's
        counts = {key: int(usage.get(key) or 0) for key in ("prompt_tokens", "completion_tokens")}
        return {**counts, "cached_prompt_tokens": min(int(cached or 0), counts["prompt_tokens"])}
    except (KeyError, TypeError, ValueError, AttributeError):
        return {"prompt_tokens": guessed_tokens(request), "completion_tokens": guess(json.dumps(reply))}


def _rated(request: Request, listed: dict[str, float], counts: dict[str, Any]) -> Result:
    """Log-probabilities of the choices; one that isn't listed gets the lowest listed value, its upper bound."""
    if not any(choice in listed for choice in request.choices):
        told = "none of the choices is among the likeliest tokens"
        return Result(text="", finish=Finish.ERROR, error=told, final=True, **counts)
    floor = min(listed.values())
    logprobs = tuple(listed.get(choice, floor) for choice in request.choices)
    best = max(range(len(logprobs)), key=logprobs.__getitem__)
    return Result(text=request.choices[best], finish=Finish.STOP, logprobs=logprobs, **counts)
