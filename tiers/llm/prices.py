"""What language models cost: a table that comes with Tierline, and what a recipe says.

A model in this process costs nothing but time. A model behind a server costs what the recipe's `prices` say, else what
the table knows of its host; where neither knows it, its tokens are counted and its price is unknown.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field

from tiers.llm.protocol import Result

REMOTE = "openai:"
"""How the name of a model behind a server begins."""

BASE_URL = "OPENAI_BASE_URL"
"""The variable of the environment that says where servers are, for names that don't."""

_PER = 1_000_000


class Price(BaseModel):
    """What a million tokens cost.

    Attributes:
        prompt: Tokens that are read.
        completion: Tokens that are generated.
        cached: Tokens that are read from the server's own cache of prompts; by default as much as others.
        currency: ISO 4217 code.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: float = Field(ge=0)
    completion: float = Field(ge=0)
    cached: float | None = Field(default=None, ge=0)
    currency: str = Field(default="USD", pattern=r"^[A-Z]{3}$")

    def of(self, prompt_tokens: float, completion_tokens: float, cached_prompt_tokens: float = 0) -> float:
        """What so many tokens cost; the prompt's include the cached ones."""
        cached = self.prompt if self.cached is None else self.cached
        fresh = (prompt_tokens - cached_prompt_tokens) * self.prompt
        return (fresh + cached_prompt_tokens * cached + completion_tokens * self.completion) / _PER

    def of_result(self, result: Result) -> float:
        """What an answer cost when it was asked for."""
        return self.of(result.prompt_tokens, result.completion_tokens, result.cached_prompt_tokens)


FREE = Price(prompt=0, completion=0)


def is_remote(llm: str) -> bool:
    """Whether a model's name says that it runs behind a server."""
    return llm.startswith(REMOTE)


def without_address(llm: str) -> str:
    """A model's name without the server's address, which is no part of what it is."""
    return llm.rpartition("@")[0] or llm if is_remote(llm) else llm


def find_price(llm: str, prices: Mapping[str, Price]) -> Price | None:
    """What a model costs; `None` where nobody knows.

    Args:
        llm: Its name, as recipes spell it.
        prices: The recipe's own, by names with or without an address.
    """
    for name in (llm, without_address(llm)):
        if name in prices:
            return prices[name]
    if not is_remote(llm):
        return FREE
    plain = without_address(llm)
    address = llm[len(plain) + 1 :] or os.environ.get(BASE_URL, "")
    return known_prices().get(urlsplit(address).hostname or "", {}).get(plain.removeprefix(REMOTE))


def currency_of(llms: Iterable[str], prices: Mapping[str, Price]) -> str | None:
    """The currency that models are paid in; `None` where no price is known.

    Raises:
        ValueError: There are several.
    """
    found = {price.currency for llm in llms if (price := find_price(llm, prices)) not in (None, FREE) and price}
    if len(found) > 1:
        raise ValueError(f"prices are in several currencies: {', '.join(sorted(found))}")
    return next(iter(found), None)


@lru_cache(maxsize=1)
def known_prices() -> dict[str, dict[str, Price]]:
    """The table that comes with Tierline, by host and by model."""
    table = yaml.safe_load((Path(__file__).parent / "prices.yaml").read_text(encoding="utf-8"))
    return {
        host: {model: Price.model_validate(price) for model, price in models.items()} for host, models in table.items()
    }
