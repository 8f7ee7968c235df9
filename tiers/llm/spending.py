"""What a run has spent on language models, and its budget.

Every model that a process opens for a stage has an account: one small file, replaced after each answer that was paid
for and before that answer is cached. The sum over all accounts is what the run has spent: in all processes, those that
were killed and those of earlier runs included. An answer from the request cache costs nothing and isn't in it.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace

from pydantic import BaseModel, ConfigDict, Field

from tiers.errors import BudgetError, LLMError
from tiers.llm.folder import Folder
from tiers.llm.prices import FREE, Price
from tiers.llm.protocol import Result

LOOK_EVERY, LOOK_AFTER = 8, 1.0
"""Groups of requests that a process sends, and seconds, until it looks again at what the others have spent."""


class Budget(BaseModel):
    """What a run may spend on language models.

    Attributes:
        max_cost: In the currency of the prices.
        max_tokens: Prompt and completion tokens that were paid for, of all models together.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_cost: float | None = Field(default=None, ge=0)
    max_tokens: int | None = Field(default=None, ge=0)


@dataclass(frozen=True)
class Spent:
    """What was paid for.

    Attributes:
        stage: On whose account.
        model: Who was asked, as recipes say it, but where it is; of one in this process `LLM.name` stands behind it.
        requests: Answers.
        prompt_tokens: Tokens read, those from the server's own cache included.
        cached_prompt_tokens: Those alone.
        completion_tokens: Tokens generated.
        cost: In `currency`; `None` where no price is known.
        currency: ISO 4217 code.
    """

    stage: str
    model: str
    requests: int = 0
    prompt_tokens: int = 0
    cached_prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None
    currency: str | None = None

    @property
    def tokens(self) -> int:
        """Tokens read and generated."""
        return self.prompt_tokens + self.completion_tokens

    def plus(self, other: Spent) -> Spent:
        """Both together, under this one's names."""
        counts = ("requests", "prompt_tokens", "cached_prompt_tokens", "completion_tokens")
        costs = [cost for cost in (self.cost, other.cost) if cost is not None]
        return replace(
            self,
            **{name: getattr(self, name) + getattr(other, name) for name in counts},
            cost=sum(costs) if costs else None,
            currency=self.currency or other.currency,
        )


class Account:
    """What one process spends on one model for one stage.

    Args:
        folder: Of all the run's accounts.
        stage: On whose account.
        model: Who is asked.
        price: What it takes; `None` where nobody knows.
        budget: Of the whole run.
    """

    def __init__(self, folder: Folder, stage: str, model: str, price: Price | None, budget: Budget) -> None:
        self._folder = folder
        self._name = f"{uuid.uuid4().hex}.json"
        self._price = price
        self._budget = budget
        currency = price.currency if price and price != FREE else None
        self._mine = Spent(stage, model, cost=None if price is None else 0.0, currency=currency)
        self._others = Spent("", "")
        self._sent, self._looked = 0, 0.0

    def charge(self, results: Iterable[Result]) -> list[Result]:
        """Writes down what new answers cost, failed ones with what their server counted; gives them with their cost."""
        charged = []
        for result in results:
            cost = self._price.of_result(result) if self._price else None
            charged.append(replace(result, cost=cost or 0.0))
            paid = Spent("", "", 1, result.prompt_tokens, result.cached_prompt_tokens, result.completion_tokens, cost)
            self._mine = self._mine.plus(paid)
        self._folder.write(self._name, json.dumps(asdict(self._mine)).encode())
        return charged

    def exhausted(self) -> BudgetError | None:
        """The error to end with, where the budget allows no further request; to be asked before each is sent."""
        if self._budget == Budget():
            return None
        now = time.monotonic()
        if self._sent % LOOK_EVERY == 0 or now - self._looked > LOOK_AFTER:
            self._looked = now
            self._others = total(_accounts(self._folder, but=self._name))
        self._sent += 1
        return over(self._others.plus(self._mine), self._budget)


def over(spent: Spent, budget: Budget) -> BudgetError | None:
    """The error that says that `budget` is used up, where it is."""
    cost = spent.cost or 0.0
    if budget.max_cost is not None and cost >= budget.max_cost:
        name, told = "max_cost", f"{cost:.6g} of {budget.max_cost:.6g} {spent.currency or ''}".rstrip()
    elif budget.max_tokens is not None and spent.tokens >= budget.max_tokens:
        name, told = "max_tokens", f"{spent.tokens:,} of {budget.max_tokens:,} tokens"
    else:
        return None
    return BudgetError(
        f"the budget for language models is spent: {told}",
        hint=f"All that was paid for is kept: raise {name} in the recipe's budget and run again to go on",
    )


def total(accounts: Iterable[Spent]) -> Spent:
    """The sum of accounts."""
    spent = Spent("", "")
    for account in accounts:
        spent = spent.plus(account)
    return spent


def spent_by_stage(folder: Folder) -> list[Spent]:
    """What each stage has spent on each model, by their names."""
    found: dict[tuple[str, str], Spent] = {}
    for account in _accounts(folder):
        key = (account.stage, account.model)
        found[key] = found[key].plus(account) if key in found else account
    return [found[key] for key in sorted(found)]


def _accounts(folder: Folder, but: str = "") -> Iterable[Spent]:
    for name in folder.names():
        content = folder.read(name) if name != but else None
        if not content:
            continue
        try:
            yield Spent(**json.loads(content))
        except (ValueError, TypeError) as error:
            hint = "Delete the file to go on; what it counted is then forgotten"
            raise LLMError("an account can't be read", where=name, got=str(error), hint=hint) from None
