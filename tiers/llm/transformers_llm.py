"""The in-process back end: a transformers model on the CPU.

Measured on one core of a server CPU without matrix units, with 135 million and 494 million parameters in bfloat16:
reading 500 and 190 tokens/s, whatever the batch; writing 12 and 5 tokens/s alone, 66 and 29 in a batch of eight.
So requests with choices or a reply go one by one, and their result depends on nothing but themselves; generation
goes in batches. The turns before the last one, which a stage's requests mostly share, are read once.

Decoding in one thread gives the same bytes on the same kind of machine. What is sampled is also the same in any batch,
to the last bit, which takes longer; so greedy requests, whose batches are cached whole, do without.
"""

from __future__ import annotations

import copy
import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from jinja2 import TemplateError

from tiers.errors import LLMError
from tiers.llm.adapter import adapted, adapter_hash
from tiers.llm.cache import complete_in_groups
from tiers.llm.models import load_causal_lm, model_folder, model_hash
from tiers.llm.protocol import Finish, Message, Request, Result
from tiers.llm.schemas import Schemas

BATCH = 8
"""Requests that are generated together."""

_ROWS = 64
"""Rows of the products of samples; see `invariant`."""

_PREFIXES = 4
"""Shared beginnings of prompts whose keys and values are kept."""

_POSITIONS = 256
"""Positions of a given reply whose probabilities over the vocabulary are held at once."""


class TransformersLLM:
    """A language model in this process.

    Args:
        name: A known model that was pulled, or a folder in Hugging Face layout.
        models: The folder of model weights.
        threads: How many threads the arithmetic may use.
        adapter: The folder of a LoRA adapter that was trained on the model, see `tiers.llm.adapter`.

    Raises:
        ModelError: The model or the adapter isn't there, can't be loaded, or they don't belong together.
    """

    def __init__(self, name: str, models: Path, threads: int = 1, adapter: Path | None = None) -> None:
        self._weights = _shared(name, models, threads, adapter)
        self._model, self._tokenizer = self._weights.model, self._weights.tokenizer
        weights = model_hash(model_folder(name, models))
        if adapter is not None:
            weights += f"+{adapter_hash(adapter)}"
        self._name = f"transformers/{weights}/bfloat16/batch-{BATCH}/schemas"
        self._limit = int(getattr(self._model.config, "max_position_embeddings", 1 << 30))
        self._special = control_tokens(self._tokenizer)
        self._prefixes: OrderedDict[tuple[int, ...], Any] = OrderedDict()
        self._ends = _end_tokens(self._model, self._tokenizer)

    @property
    def name(self) -> str:
        """The weights, by their hash, and what else changes a result."""
        return self._name

    @cached_property
    def _schemas(self) -> Schemas:
        return Schemas(self._tokenizer, self._model.get_output_embeddings().out_features)

    def complete(self, requests: Sequence[Request]) -> list[Result]:
        """Answers every request, in order."""
        return complete_in_groups(self, requests)

    def groups(self, requests: Sequence[Request]) -> list[list[int]]:
        """One group for each request with choices or a reply; the others by length, `BATCH` together."""
        single = [[i] for i, request in enumerate(requests) if request.choices or request.reply]
        rest = [i for i, request in enumerate(requests) if not (request.choices or request.reply)]
        rest.sort(key=lambda i: (requests[i].max_tokens, _length(requests[i]), i))
        for sampled in (False, True):
            some = [i for i in rest if (requests[i].temperature > 0) is sampled]
            single += [some[at : at + BATCH] for at in range(0, len(some), BATCH)]
        return single

    def answers(self, groups: Iterable[Sequence[Request]]) -> Iterator[tuple[int, list[Result]]]:
        """Answers each group in turn."""
        for number, group in enumerate(groups):
            try:
                if group[0].choices:
                    yield number, [self._rate(group[0])]
                elif group[0].reply:
                    yield number, [self._weigh(group[0])]
                else:
                    yield number, self._generate(group)
            except LLMError as error:
                yield number, [Result(text="", finish=Finish.ERROR, error=str(error))]

    def _rate(self, request: Request) -> Result:
        """One forward pass; log-probabilities over the whole vocabulary."""
        import torch

        ids = self._encode(request, room=1)
        chosen = [self._one_token(choice) for choice in request.choices]
        prefix = self._shared(request, ids)
        past = copy.deepcopy(self._read(prefix)) if prefix else None
        with torch.inference_mode():
            rest = torch.tensor([ids[len(prefix) :]])
            state_D = self._model.base_model(input_ids=rest, cache=past).last_hidden_state[0, -1]
            head = self._model.get_output_embeddings()
            # bfloat16 rounds logits to steps of 1/8; the few that matter are worth a product in float32
            given = head.weight[chosen].float() @ state_D.float()
            logprobs = (given - head(state_D).float().logsumexp(-1)).tolist()
        best = max(range(len(chosen)), key=logprobs.__getitem__)
        return Result(request.choices[best], Finish.STOP, tuple(logprobs), prompt_tokens=len(ids))

    def _weigh(self, request: Request) -> Result:
        """One forward pass over the reply; the prompt is read once for all replies to it."""
        import torch

        reply = list(self._tokenizer(self._plain(request.reply), add_special_tokens=False)["input_ids"])
        ids = self._encode(request, room=len(reply))
        past = copy.deepcopy(self._read(tuple(ids[:-1])))
        logprobs: list[float] = []
        with torch.inference_mode():
            fed = torch.tensor([ids[-1:] + reply[:-1]])
            states_TD = self._model.base_model(input_ids=fed, cache=past).last_hidden_state[0]
            head = self._model.get_output_embeddings()
            for at in range(0, len(reply), _POSITIONS):  # the vocabulary is wide
                some_TD, tokens_T = states_TD[at : at + _POSITIONS], torch.tensor(reply[at : at + _POSITIONS])
                given_T = (head.weight[tokens_T].float() * some_TD.float()).sum(-1)
                logprobs += (given_T - head(some_TD).float().logsumexp(-1)).tolist()
        return Result("", Finish.STOP, tuple(logprobs), prompt_tokens=len(ids) + len(reply))

    def _generate(self, group: Sequence[Request]) -> list[Result]:
        """Decodes one batch, padded on the left."""
        results: dict[int, Result] = {}
        encoded: dict[int, list[int]] = {}
        held: dict[int, Any] = {}
        for i, request in enumerate(group):
            try:
                held[i] = self._schemas.matcher(request.schema, request.prefill) if request.schema else None
                encoded[i] = self._encode(request, room=request.max_tokens)
            except LLMError as error:
                results[i] = Result(text="", finish=Finish.ERROR, error=str(error))
        if encoded:
            rows = self._decode(list(encoded.values()), [group[i] for i in encoded], [held[i] for i in encoded])
            for (i, ids), new in zip(encoded.items(), rows, strict=True):
                results[i] = self._result(group[i], len(ids), new)
        return [results[i] for i in range(len(group))]

    def _decode(self, prompts: list[list[int]], asked: Sequence[Request], held: Sequence[Any]) -> list[list[int]]:
        """The new tokens of each prompt, as many as the request with the largest `max_tokens` allows."""
        import torch
        from transformers import GenerationConfig

        from tiers.llm.invariant import BatchInvariant

        longest, pad = max(map(len, prompts)), self._tokenizer.pad_token_id
        ids_BT = torch.tensor([[pad] * (longest - len(ids)) + ids for ids in prompts])
        mask_BT = torch.tensor([[0] * (longest - len(ids)) + [1] * len(ids) for ids in prompts])
        # a published generation_config may hold penalties and temperatures, which aren't ours
        most = max(request.max_tokens for request in asked)
        config = GenerationConfig(max_new_tokens=most, do_sample=False, eos_token_id=self._ends, pad_token_id=pad)
        self._model.generation_config = config
        sampled = any(request.temperature > 0 for request in asked)
        changes = [self._schemas.processor(held, longest)] if any(held) else []
        changes += [_noise(prompts, asked)] if sampled else []
        with torch.inference_mode(), BatchInvariant(_ROWS) if sampled else nullcontext():
            out_BT = self._model.generate(input_ids=ids_BT, attention_mask=mask_BT, logits_processor=changes)
        return [row[longest:] for row in out_BT.tolist()]

    def _result(self, request: Request, prompt_tokens: int, new: list[int]) -> Result:
        end = next((at for at, token in enumerate(new) if token in self._ends), None)
        whole = end is not None and end < request.max_tokens
        kept = new[:end] if whole else new[: request.max_tokens]
        text = self._tokenizer.decode(kept, skip_special_tokens=True)
        finish = Finish.STOP if whole else Finish.LENGTH
        return Result(text, finish, prompt_tokens=prompt_tokens, completion_tokens=len(kept) + whole)

    def _encode(self, request: Request, room: int) -> list[int]:
        """The tokens of the prompt.

        Raises:
            LLMError: They, and `room` more, are too many for the model.
        """
        text = self._render(request.messages, reply=True) + self._plain(request.prefill)
        ids = list(self._tokenizer(text, add_special_tokens=False)["input_ids"])
        if len(ids) + room > self._limit:
            raise LLMError("the prompt is too long", where=self._name, got=len(ids) + room, expected=self._limit)
        return ids

    def _render(self, messages: Sequence[Message], reply: bool) -> str:
        return rendered(self._tokenizer, messages, self._special, reply)

    def _plain(self, text: str) -> str:
        return plain(text, self._special)

    def _one_token(self, choice: str) -> int:
        ids = self._tokenizer(choice, add_special_tokens=False)["input_ids"]
        if len(ids) != 1:
            raise LLMError("a choice must be one token of the model", where=self._name, got=choice)
        return int(ids[0])

    def _shared(self, request: Request, ids: list[int]) -> tuple[int, ...]:
        """The tokens of all turns but the last: decided by the request alone, never by its company."""
        if len(request.messages) < 2:
            return ()
        try:
            text = self._render(request.messages[:-1], reply=False)
        except TemplateError:  # a template that refuses a conversation without a last user turn
            return ()
        prefix = tuple(self._tokenizer(text, add_special_tokens=False)["input_ids"])
        return prefix if len(prefix) < len(ids) and tuple(ids[: len(prefix)]) == prefix else ()

    def _read(self, prefix: tuple[int, ...]) -> Any:
        """The keys and values of `prefix`."""
        import torch

        if prefix not in self._prefixes:
            with torch.inference_mode():
                out = self._model(input_ids=torch.tensor([prefix]), use_cache=True, logits_to_keep=1)
            self._prefixes[prefix] = out.cache
            if len(self._prefixes) > _PREFIXES:
                self._prefixes.popitem(last=False)
        self._prefixes.move_to_end(prefix)
        return self._prefixes[prefix]


@dataclass(eq=False)
class _Weights:
    """A model and its tokenizer, which whoever works with them in this process shares; nobody changes them."""

    model: Any
    tokenizer: Any


_LOADED: WeakValueDictionary[tuple[str, Path, int, Path | None], _Weights] = WeakValueDictionary()


def _shared(name: str, models: Path, threads: int, adapter: Path | None) -> _Weights:
    """The weights of a model, with an adapter's where there is one, loaded where nobody has them."""
    weights = _LOADED.get((name, models, threads, adapter))
    if weights is None:
        model, tokenizer = load_causal_lm(name, models, threads)
        if adapter is not None:
            model = adapted(name, model, tokenizer, adapter)
        weights = _LOADED[name, models, threads, adapter] = _Weights(model.requires_grad_(False), tokenizer)
    return weights


def _noise(prompts: Sequence[Sequence[int]], requests: Sequence[Request]) -> Any:
    """What makes the likeliest token a sample: Gumbel noise on the logits (Maddison et al. 2014, arXiv:1411.0030).

    Each row has a generator of its own, whose state follows from its request alone.
    """
    import torch

    keys = [repr((list(ids), request.seed)).encode() for ids, request in zip(prompts, requests, strict=True)]
    seeds = [int.from_bytes(hashlib.sha256(key).digest()[:7]) for key in keys]
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def add(ids_BT: Any, logits_BV: Any) -> Any:
        for row, (request, generator) in enumerate(zip(requests, generators, strict=True)):
            if request.temperature > 0:
                drawn_V = torch.empty(logits_BV.shape[1]).exponential_(generator=generator)
                logits_BV[row] = logits_BV[row].float() / request.temperature - drawn_V.log()
        return logits_BV

    return add


def control_tokens(tokenizer: Any) -> list[str]:
    """What a tokenizer reads as one of its model's control tokens."""
    return sorted(token.content for token in tokenizer.added_tokens_decoder.values() if token.special)


def plain(text: str, control: Sequence[str]) -> str:
    """`text` with the model's control tokens broken up, so that a document can't end its turn."""
    for token in control:
        if token in text:
            text = text.replace(token, f"{token[0]} {token[1:]}")
    return text


def rendered(tokenizer: Any, messages: Sequence[Message], control: Sequence[str], reply: bool = True) -> str:
    """A conversation as the model reads it; with `reply`, up to where its reply begins."""
    turns = [{"role": turn.role, "content": plain(turn.content, control)} for turn in messages]
    return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=reply))


def _length(request: Request) -> int:
    return sum(len(turn.content) for turn in request.messages) + len(request.prefill)


def _end_tokens(model: Any, tokenizer: Any) -> list[int]:
    """Every token that ends a reply: the tokenizer's own, and those of the published generation settings."""
    published = model.generation_config.eos_token_id
    ids = {tokenizer.eos_token_id, *(published if isinstance(published, list) else [published])}
    return sorted(token for token in ids if token is not None)
