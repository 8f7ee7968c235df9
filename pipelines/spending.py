"""Where a run keeps what it asked of language models, and what it spent on them: beside its tiers.

OUT/requests/ab/….json    one answer, or a group that was computed together
OUT/spending/….json       the account of one process for one model and stage
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.artifact import Store
from pipelines.terms import money
from tiers.llm import RequestCache
from tiers.llm.folder import Folder
from tiers.llm.prices import Price
from tiers.llm.spending import Budget, Spent, spent_by_stage, total

SPENDING_HEADS = ("stage", "model", "requests", "tokens in", "of them cached", "tokens out", "cost")


def request_cache(output: str, prices: Mapping[str, Price], budget: Budget) -> RequestCache:
    """The request cache of the run at `output`, on the terms of its recipe."""
    store = Store(output)
    return RequestCache(_url(store, "requests"), _url(store, "spending"), prices, budget)


def run_spending(store: Store) -> list[Spent]:
    """What the run has spent, by stages (as STEP/STAGE) and models, on work that was lost too."""
    return spent_by_stage(Folder(_url(store, "spending")))


def _url(store: Store, name: str) -> str:
    return str(store.fs.unstrip_protocol(store.path(name)))


def spending_row(spent: Spent) -> tuple[str, ...]:
    """One account as the cells of a table under `SPENDING_HEADS`."""
    counts = (spent.requests, spent.prompt_tokens, spent.cached_prompt_tokens, spent.completion_tokens)
    return (spent.stage, spent.model, *(f"{number:,}" for number in counts), money(spent.cost, spent.currency))


def budget_line(accounts: Sequence[Spent], budget: Mapping[str, Any]) -> str:
    """How much of the budget is spent; nothing where there is none."""
    spent, parts = total(accounts), []
    if "max_cost" in budget:
        parts.append(f"{money(spent.cost or 0.0, spent.currency)} of {money(budget['max_cost'], spent.currency)}")
    if "max_tokens" in budget:
        parts.append(f"{spent.tokens:,} of {budget['max_tokens']:,} tokens")
    return f"budget: {', '.join(parts)}" if parts else ""
