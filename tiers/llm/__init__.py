"""Language models behind one protocol: back ends, request cache, and where their weights come from."""

from __future__ import annotations

from pathlib import Path

from tiers.errors import ModelError
from tiers.llm.cache import Backend, CachedLLM, RequestCache
from tiers.llm.models import LLAMACPP
from tiers.llm.prices import is_remote
from tiers.llm.protocol import LLM, Finish, Message, Request, Result, quoted
from tiers.llm.rehearsal import Rehearsal

__all__ = ["LLM", "Finish", "Message", "Request", "RequestCache", "Result", "is_transformers", "open_llm", "quoted"]


def open_llm(
    name: str,
    models: Path,
    cache: RequestCache | Path | None = None,
    threads: int = 1,
    adapter: Path | None = None,
) -> LLM:
    """The language model `name`, behind the back end that its name picks.

    Args:
        name: `openai:MODEL@URL` for a server that speaks the OpenAI protocol (its key, if it wants one, stands in
            `$OPENAI_API_KEY`); `llamacpp:NAME` for llama.cpp in this process, with a model that was pulled by this name
            or the path of a GGUF file; otherwise a model that was pulled, or a folder in Hugging Face layout.
        models: The folder of model weights.
        cache: The request cache, with prices and budget; a folder for one without them; `None` for no cache.
        threads: How many threads a model in this process may use.
        adapter: The folder of a LoRA adapter for a model in this process; a server has names of its own for them.

    Raises:
        ModelError: There is no such model, back end or adapter, or they don't go together.
    """
    if isinstance(cache, Rehearsal):
        return cache.rehearse(name, models)
    backend = _backend(name, models, threads, adapter)
    if cache is None:
        return backend
    return cache.open(name, backend) if isinstance(cache, RequestCache) else CachedLLM(backend, cache)


def is_transformers(name: str) -> bool:
    """Whether transformers runs the model `name` in this process; no other back end weighs a given reply."""
    return not is_remote(name) and not name.startswith(LLAMACPP)


def _backend(name: str, models: Path, threads: int, adapter: Path | None) -> Backend:
    if adapter is not None and not is_transformers(name):
        raise ModelError("this back end takes no adapter", got=name, hint="Name a model that has the adapter in it")
    if is_remote(name):
        from tiers.llm.openai_server import OpenAIServer

        return OpenAIServer.named(name)
    if name.startswith(LLAMACPP):
        from tiers.llm.llamacpp import LlamaCpp

        return LlamaCpp(name.removeprefix(LLAMACPP), models, threads)
    from tiers.llm.transformers_llm import TransformersLLM

    return TransformersLLM(name, models, threads, adapter)
