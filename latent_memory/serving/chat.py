"""What a chat request may say, and how answers, pieces of answers and errors are written.

The forms are those of OpenAI's chat completions API. What a memory needs beside them are fields of its own: `k`, `raw`,
`status`, `topic`, `hybrid`, `min_confidence` and `fallback` in a request, `tierline` in a reply. A field that would
change what is said and that can't be honoured is refused.
"""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from latent_memory.answers import Answer
from latent_memory.memory import HYBRID
from tiers.errors import SchemaError

MODEL = "tierline-memory"
MAX_TOKENS = 12
"""The longest answer where a request doesn't say."""

LONGEST_SHOWN = 200
"""Characters of a refused value that an error shows."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")

    type: Literal["text"]
    text: str


class _Message(BaseModel):
    model_config = ConfigDict(extra="ignore")

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: list[_Part] = []

    @field_validator("content", mode="before")
    @classmethod
    def _parts(cls, content: Any) -> Any:
        return [{"type": "text", "text": content}] if isinstance(content, str) else content or []

    def words(self) -> str:
        return "\n".join(part.text for part in self.content).strip()


class _StreamOptions(BaseModel):
    model_config = ConfigDict(extra="ignore")

    include_usage: bool = False


class _TextFormat(BaseModel):
    model_config = ConfigDict(extra="forbid")

    type: Literal["text"]


class _Request(BaseModel):
    """The fields of a chat request, with the values that are allowed. Answers are greedy, one for each question."""

    model_config = ConfigDict(extra="forbid", strict=True)

    messages: list[_Message] = Field(min_length=1)
    model: str = MODEL
    stream: bool | None = False
    stream_options: _StreamOptions | None = None
    max_tokens: int | None = Field(default=None, ge=1, le=256)
    max_completion_tokens: int | None = Field(default=None, ge=1, le=256)

    k: int | None = Field(default=None, ge=1, le=100)
    top_k: int | None = Field(default=None, ge=1, le=100)
    raw: bool = False
    status: str | None = None
    topic: str | None = None
    hybrid: bool = HYBRID
    min_confidence: float = Field(default=0.0, ge=0, le=1)
    fallback: Literal["raw"] | None = None

    temperature: Literal[0] | None = None
    n: Literal[1] | None = None
    presence_penalty: Literal[0] | None = None
    frequency_penalty: Literal[0] | None = None
    logprobs: Literal[False] | None = None
    response_format: _TextFormat | None = None
    stop: None = None
    tools: None = None
    logit_bias: None = None
    top_p: float | None = Field(default=None, gt=0, le=1)
    seed: int | None = None
    user: str | None = None
    safety_identifier: str | None = None
    metadata: dict[str, str] | None = None
    store: Literal[False] | None = None


@dataclass(frozen=True)
class Options:
    """How a question is to be answered; the arguments of `LatentMemory.ask_all`."""

    k: int
    raw: bool
    status: str | None
    topic: str | None
    hybrid: bool
    min_confidence: float
    fallback: Literal["raw"] | None
    max_tokens: int


@dataclass(frozen=True)
class Chat:
    """A request that was understood.

    Attributes:
        question: The last user message.
        options: How it is to be answered.
        stream: Whether the answer is sent while it is being said.
        include_usage: Whether a stream ends with what it cost.
    """

    question: str
    options: Options
    stream: bool
    include_usage: bool


class UnknownModelError(SchemaError):
    """A request names a model that isn't served here."""


def parse_chat(body: bytes) -> Chat:
    """Reads the body of a chat request.

    Raises:
        SchemaError: when it isn't JSON, or a field is unknown or has a value that can't be honoured; `where` names it.
        UnknownModelError: when it asks for another model than `MODEL`.
    """
    try:
        asked = _Request.model_validate_json(body)
    except ValidationError as error:
        raise _refusal(error) from None
    if asked.model != MODEL:
        raise UnknownModelError("the model doesn't exist", where="model", got=asked.model, expected=MODEL)
    question = next((m.words() for m in reversed(asked.messages) if m.role == "user"), "")
    if not question:
        raise SchemaError("there is no question", where="messages", expected="a user message with words")
    k = _one_of("k", asked.k, "top_k", asked.top_k, 3)
    most = _one_of("max_tokens", asked.max_tokens, "max_completion_tokens", asked.max_completion_tokens, MAX_TOKENS)
    options = Options(
        k=k,
        raw=asked.raw,
        status=asked.status,
        topic=asked.topic,
        hybrid=asked.hybrid,
        min_confidence=asked.min_confidence,
        fallback=asked.fallback,
        max_tokens=most,
    )
    usage = bool(asked.stream_options and asked.stream_options.include_usage)
    return Chat(question, options, bool(asked.stream), usage)


def _one_of(name: str, value: int | None, other_name: str, other: int | None, default: int) -> int:
    if value is not None and other is not None and value != other:
        raise SchemaError(f"it contradicts {name}", where=other_name, got=other, expected=value)
    return next((given for given in (value, other) if given is not None), default)


def _refusal(error: ValidationError) -> SchemaError:
    """The first fault, in the words of our errors."""
    fault = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "json_invalid":
        return SchemaError("the body isn't JSON", where="body", expected="a JSON object", hint=fault["msg"])
    if fault["type"] == "extra_forbidden":
        allowed = sorted(_Request.model_fields) if len(fault["loc"]) == 1 else None
        return SchemaError("the field is unknown", where=where, got=fault["loc"][-1], expected=allowed)
    expected = fault["msg"].removeprefix("Input should be ")
    got = None if fault["type"] == "missing" else fault["input"]
    if len(repr(got)) > LONGEST_SHOWN:
        got = f"{repr(got)[:LONGEST_SHOWN]}…"
    return SchemaError("the value can't be honoured", where=where or "body", got=got, expected=expected)


def error_body(kind: str, code: str | None, error: Exception) -> dict[str, Any]:
    """An error in OpenAI's form; with what was got and expected where it is one of ours."""
    told: dict[str, Any] = {"message": str(error), "type": kind, "param": None, "code": code}
    if isinstance(error, SchemaError):
        told |= {"param": error.where, "got": error.got, "expected": error.expected}
    return {"error": told}


class Reply:
    """One reply's forms, all under one id.

    Args:
        include_usage: Whether a stream ends with what it cost.
    """

    def __init__(self, include_usage: bool = False) -> None:
        self._id, self._created = f"chatcmpl-{uuid.uuid4().hex}", int(time.time())
        self._include_usage = include_usage

    def whole(self, answer: Answer) -> dict[str, Any]:
        """The reply in one piece."""
        message = {
            "role": "assistant",
            "content": answer.answer,
            "refusal": _refused(answer),
            "annotations": citations(answer),
        }
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(answer)}
        return self._of("chat.completion", [choice], tierline=_details(answer), usage=_usage(answer))

    def first(self) -> bytes:
        """The event that opens a stream."""
        return self._event({"role": "assistant", "content": ""})

    def piece(self, text: str) -> bytes:
        """The event that carries a piece of the answer."""
        return self._event({"content": text})

    def last(self, answer: Answer) -> bytes:
        """The events that end a stream: citations and evidence, the cost if it was asked for, and `[DONE]`."""
        delta: dict[str, Any] = {"annotations": citations(answer)}
        if answer.abstained:
            delta["refusal"] = _refused(answer)
        events = self._event(delta, _finish(answer), tierline=_details(answer))
        if self._include_usage:
            events += event(self._of("chat.completion.chunk", [], usage=_usage(answer)))
        return events + b"data: [DONE]\n\n"

    def _event(self, delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        more |= {"usage": None} if self._include_usage else {}
        return event(self._of("chat.completion.chunk", [choice], **more))

    def _of(self, kind: str, choices: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": kind,
            "created": self._created,
            "model": MODEL,
            "choices": choices,
            **more,
        }


def event(value: dict[str, Any]) -> bytes:
    """A server-sent event: one line of JSON, which holds no line break of its own."""
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


def citations(answer: Answer) -> list[dict[str, Any]]:
    """A `url_citation` of the whole answer for each source that is a URL, best first; the others are evidence alone."""
    if not answer.answer:
        return []
    first: dict[str, str] = {}
    for evidence in answer.evidence:
        if "://" in evidence.source:
            first.setdefault(evidence.source, evidence.text)
    return [
        {
            "type": "url_citation",
            "url_citation": {"url": url, "title": text[:80], "start_index": 0, "end_index": len(answer.answer)},
        }
        for url, text in first.items()
    ]


def _refused(answer: Answer) -> str | None:
    return f"no answer is sure enough: confidence {answer.confidence:.2f}" if answer.abstained else None


def _finish(answer: Answer) -> str:
    return "stop" if answer.ended else "length"


def _details(answer: Answer) -> dict[str, Any]:
    return {
        "evidence": [asdict(evidence) for evidence in answer.evidence],
        "mode": answer.mode,
        "confidence": answer.confidence,
        "abstained": answer.abstained,
        "fell_back": answer.fell_back,
    }


def _usage(answer: Answer) -> dict[str, Any]:
    return {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.generated_tokens,
        "total_tokens": answer.prompt_tokens + answer.generated_tokens,
        "prompt_tokens_details": {"context_tokens": answer.context_tokens},
    }
