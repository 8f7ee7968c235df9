"""Where a run keeps what it asked of language models, and what it spent on them: beside its tiers.

OUT/requests/ab/….json    one answer, or a group that was computed together
OUT/spending/….json       the account of one process for one model and stage
"""

from __future__ import annotations

from pipelines.artifact import Store
from pipelines.plan import Plan
from tiers.llm import RequestCache
from tiers.llm.folder import Folder
from tiers.llm.spending import Spent, spent_by_stage


def request_cache(output: str, plan: Plan) -> RequestCache:
    """The request cache of a run, on the terms of its recipe."""
    store = Store(output)
    requests, spending = (store.fs.unstrip_protocol(store.path(name)) for name in ("requests", "spending"))
    return RequestCache(requests, spending, plan.prices, plan.budget)


def run_spending(store: Store) -> list[Spent]:
    """What the run has spent, by stages (as STEP/STAGE) and models, on work that was lost too."""
    return spent_by_stage(Folder(store.fs.unstrip_protocol(store.path("spending"))))
