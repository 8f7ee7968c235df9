"""The back end of llama.cpp in this process (by the package xllamacpp), for generation on a CPU.

It computes with the quantised weights of a GGUF file as they are, in slots that share one batch, keeps what prompts
have in common, and enforces a JSON schema while it decodes. `benchmarks/generation.py` measures it beside transformers.

Each request is a group of its own; its last bits may depend on what shared its batch, and the cache makes the first
answer the one that stays.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tiers.errors import LLMError, ModelError
from tiers.llm.cache import complete_in_groups
from tiers.llm.models import file_hash, gguf_file
from tiers.llm.openai_protocol import parsed, payload
from tiers.llm.protocol import Finish, Request, Result
from tiers.llm.slots import answer_in_slots

SLOTS = 8
"""Requests that are decoded together."""

CONTEXT = 4096
"""The most tokens of a prompt and its reply. Each slot has room for it: 12 to 30 kB of memory a token."""


class LlamaCpp:
    """A language model in a GGUF file, in this process.

    Args:
        name: A known model that was pulled as `llamacpp:NAME`, or the path of a GGUF file.
        models: The folder of model weights.
        threads: How many threads the arithmetic may use.

    Raises:
        ModelError: The package or the file isn't there, or it can't be loaded.
    """

    def __init__(self, name: str, models: Path, threads: int = 1) -> None:
        path = gguf_file(name, models)
        self._server = _server(path, threads)
        self._name = f"llamacpp/{file_hash(path)}/slots-{SLOTS}"

    @property
    def name(self) -> str:
        """The weights, by their hash, and what else changes a result."""
        return self._name

    def complete(self, requests: Sequence[Request]) -> list[Result]:
        """Answers every request, in order."""
        return complete_in_groups(self, requests)

    def groups(self, requests: Sequence[Request]) -> list[list[int]]:
        """Each request is a group of its own."""
        return [[i] for i in range(len(requests))]

    def answers(self, groups: Iterable[Sequence[Request]]) -> Iterator[tuple[int, list[Result]]]:
        """Answers the groups as slots become free."""
        return answer_in_slots(self._answer, groups, SLOTS)

    def _answer(self, request: Request) -> Result:
        if request.reply:
            return Result(text="", finish=Finish.ERROR, error="llama.cpp can't weigh a given reply")
        reply = self._server.handle_chat_completions(payload("", request))
        if "error" in reply:
            return Result(text="", finish=Finish.ERROR, error=str(reply["error"].get("message", reply["error"])))
        try:
            return parsed(request, reply)
        except LLMError as error:
            return Result(text="", finish=Finish.ERROR, error=str(error))


def _server(path: Path, threads: int) -> Any:
    """llama.cpp's server with the model in `path`; asked by calls, its port on this machine needs a key."""
    try:
        import xllamacpp
    except ImportError:
        raise ModelError(
            "xllamacpp isn't installed", where=f"llamacpp:{path.stem}", hint="pip install 'tierline[llamacpp]'"
        ) from None
    settings = xllamacpp.CommonParams()
    settings.model.path = str(path)
    settings.n_parallel, settings.n_ctx = SLOTS, SLOTS * CONTEXT
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = threads
    settings.verbosity = -1
    settings.ui = False
    settings.api_keys = [secrets.token_hex(16)]
    try:
        return xllamacpp.Server(settings)
    except (RuntimeError, ValueError) as error:
        raise ModelError("llama.cpp can't load the file", where=str(path), got=str(error)) from error
