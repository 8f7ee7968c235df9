"""Language models behind one protocol: back ends, request cache, and where their weights come from."""

from __future__ import annotations

from pathlib import Path

from tiers.errors import ModelError
from tiers.llm.cache import Backend, CachedLLM
from tiers.llm.protocol import LLM, Finish, Message, Request, Result, quoted

__all__ = ["LLM", "Finish", "Message", "Request", "Result", "open_llm", "quoted"]


def open_llm(name: str, models: Path, cache: Path | None = None, threads: int = 1, adapter: Path | None = None) -> LLM:
    """The language model `name`, behind the back end that its name picks.

    Args:
        name: `openai:MODEL@URL` for a server that speaks the OpenAI protocol (its key, if it wants one, stands in
            `$OPENAI_API_KEY`); otherwise a model that was pulled, or a folder in Hugging Face layout.
        models: The folder of model weights.
        cache: The folder of the request cache; `None` for no cache.
        threads: How many threads a model in this process may use.
        adapter: The folder of a LoRA adapter for a model in this process; a server has names of its own for them.

    Raises:
        ModelError: There is no such model, back end or adapter, or they don't go together.
    """
    from tiers.llm.openai_server import OpenAIServer
    from tiers.llm.transformers_llm import TransformersLLM

    backend: Backend
    if not name.startswith("openai:"):
        backend = TransformersLLM(name, models, threads, adapter)
    elif adapter is None:
        backend = OpenAIServer.named(name)
    else:
        raise ModelError("a server takes no adapter", got=name, hint="Name the server's model that has the adapter")
    return backend if cache is None else CachedLLM(backend, cache)
