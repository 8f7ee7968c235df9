"""A model that is asked nothing: it counts what a run would ask, and replies with words of what it was shown.

With it a recipe can be tried on a sample before anything is paid for. Its replies have the form that was asked for, so
that the stages behind go on; what they say means nothing.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xxhash

from tiers.errors import ModelError
from tiers.llm.cache import RequestCache
from tiers.llm.models import LLAMACPP, load_tokenizer
from tiers.llm.prices import find_price, is_remote
from tiers.llm.protocol import Finish, Request, Result
from tiers.llm.token_guess import BYTES_PER_TOKEN, guessed_tokens


@dataclass(frozen=True)
class Asked:
    """A request that would have been sent; `cost` is `None` where no price is known, and takes the longest reply."""

    request: Request
    prompt_tokens: int
    completion_tokens: int
    cost: float | None


@dataclass(frozen=True)
class Rehearsal(RequestCache):
    """A request cache that lets nobody be asked.

    Attributes:
        asked: By stage and model, what would have been asked, in order; equal requests once, as from a cache.
        known: By model, hashes of the requests that were met.
    """

    asked: dict[tuple[str, str], list[Asked]] = field(default_factory=dict, repr=False)
    known: set[tuple[str, int]] = field(default_factory=set, repr=False)

    def rehearse(self, llm: str, models: Path) -> RehearsedLLM:
        """The model called `llm`, on the account of this cache's stage."""
        price = find_price(llm, self.prices)
        asked = self.asked.setdefault((self.stage, llm), [])
        return RehearsedLLM(llm, token_counter(llm, models), asked, self.known, price.of if price else None)


class RehearsedLLM:
    """Counts, and answers at once."""

    def __init__(
        self,
        name: str,
        count: Callable[[Request], int],
        asked: list[Asked],
        known: set[tuple[str, int]],
        cost: Callable[[float, float], float] | None,
    ) -> None:
        self.name = name
        self._count = count
        self._asked = asked
        self._known = known
        self._cost = cost

    def complete(self, requests: Sequence[Request]) -> list[Result]:
        """A reply to each request, in the form that it asks for."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Request) -> Result:
        prompt, completion = self._count(request), _most_tokens(request, is_remote(self.name))
        digest = xxhash.xxh3_64_intdigest(repr(request).encode())
        cached, noise = (self.name, digest) in self._known, digest / 2**64
        if not cached:
            self._known.add((self.name, digest))
            self._asked.append(Asked(request, prompt, completion, self._cost and self._cost(prompt, completion)))
        counts: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": completion}
        counts |= {"cached": cached, "rehearsed": True}
        if request.choices:
            logprobs = tuple(-math.log(len(request.choices)) - noise * at for at in range(len(request.choices)))
            return Result(request.choices[0], Finish.STOP, logprobs, **counts)
        if request.reply:
            return Result("", Finish.STOP, (-2 - noise,) * max(1, len(request.reply) // BYTES_PER_TOKEN), **counts)
        return Result(_reply(request), Finish.STOP, **counts)


def token_counter(llm: str, models: Path) -> Callable[[Request], int]:
    """Counts the tokens that a model would read: by its own tokenizer where that is here, else by `BYTES_PER_TOKEN`."""
    try:
        if is_remote(llm):
            return guessed_tokens
        tokenizer = load_tokenizer(llm.removeprefix(LLAMACPP), models)
    except ModelError:
        if llm.startswith(LLAMACPP):
            return guessed_tokens
        raise

    def count(request: Request) -> int:
        turns = [{"role": turn.role, "content": turn.content} for turn in request.messages]
        text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        return len(tokenizer(text + request.prefill + request.reply, add_special_tokens=False)["input_ids"])

    return count


def _most_tokens(request: Request, remote: bool) -> int:
    """The most tokens that are generated; servers generate one to give the probabilities of choices."""
    if request.choices or request.reply:
        return int(remote)
    return request.max_tokens


def _reply(request: Request) -> str:
    """Words of the text that is quoted last in the prompt: as JSON where there is a schema, else up to the limit."""
    shown = request.messages[-1].content
    quoted = re.findall(r"<(\w+)>\n(.*?)\n</\1>", shown, re.DOTALL)
    words = (quoted[-1][1] if quoted else shown).split() or ["nothing"]
    if request.schema is None:
        return " ".join(words[: max(1, request.max_tokens * 3 // 4)])
    text = json.dumps(_instance(request.schema, request.schema, words), ensure_ascii=False)
    return text.removeprefix(request.prefill)


def _instance(schema: dict[str, Any], root: dict[str, Any], words: list[str], at: int = 0) -> Any:
    """A value that fits a JSON schema, of strings of three words each."""
    match schema:
        case {"$ref": reference}:
            return _instance(root["$defs"][reference.rsplit("/", 1)[-1]], root, words, at)
        case {"const": value} | {"default": value} | {"enum": [value, *_]}:
            return value
        case {"anyOf": [first, *_]} | {"oneOf": [first, *_]} | {"allOf": [first, *_]}:
            return _instance(first, root, words, at)
        case {"type": "object"}:
            parts = enumerate(schema.get("properties", {}).items())
            return {name: _instance(part, root, words, at + number) for number, (name, part) in parts}
        case {"type": "array"}:
            count = schema.get("maxItems", schema.get("minItems", 1))
            return [_instance(schema.get("items", {}), root, words, at + number) for number in range(count)]
        case {"type": "integer" | "number"}:
            return schema.get("minimum", 0)
        case {"type": "boolean"}:
            return False
        case _:
            start = 3 * at % max(1, len(words) - 2)
            return " ".join(words[start : start + 3])
