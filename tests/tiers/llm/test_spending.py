from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from tiers.errors import BudgetError, LLMError
from tiers.llm import Finish, Message, Request, RequestCache, Result
from tiers.llm.cache import CachedLLM, complete_in_groups
from tiers.llm.folder import Folder
from tiers.llm.prices import FREE, Price, currency_of, find_price, known_prices
from tiers.llm.spending import LOOK_EVERY, Budget, spent_by_stage, total

PRICE = Price(prompt=2, cached=1, completion=8, currency="EUR")


class Paid:
    """A back end of groups of two; each answer reads 10 tokens, 4 of them from its own cache, and writes 5."""

    name = "paid"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def complete(self, requests: Sequence[Request]) -> list[Result]:
        return complete_in_groups(self, requests)

    def groups(self, requests: Sequence[Request]) -> list[list[int]]:
        return [list(range(len(requests))[at : at + 2]) for at in range(0, len(requests), 2)]

    def answers(self, groups: Iterable[Sequence[Request]]) -> Iterator[tuple[int, list[Result]]]:
        for number, group in enumerate(groups):
            texts = [request.messages[0].content for request in group]
            self.asked += texts
            finish = [Finish.ERROR if text == "bad" else Finish.STOP for text in texts]
            yield number, [Result(t, f, (), 10, 5, cached_prompt_tokens=4) for t, f in zip(texts, finish, strict=True)]


def ask(*contents: str) -> list[Request]:
    return [Request((Message("user", content),)) for content in contents]


def opened(folder: Path, backend: Paid, stage: str = "s", **budget: float) -> CachedLLM:
    prices = {"openai:paid": PRICE}
    limits = Budget.model_validate(budget)
    cache = RequestCache(str(folder / "requests"), str(folder / "spending"), prices, limits, stage)
    return cache.open("openai:paid@http://somewhere/v1", backend)


def spent(folder: Path) -> dict[str, tuple[int, float | None]]:
    return {each.stage: (each.requests, each.cost) for each in spent_by_stage(Folder(folder / "spending"))}


EACH = (6 * 2 + 4 * 1 + 5 * 8) / 1e6


def test_a_price_is_for_a_million_tokens() -> None:
    assert PRICE.of(1_000_000, 0) == 2
    assert PRICE.of(1_000_000, 500_000, cached_prompt_tokens=250_000) == pytest.approx(1.5 + 0.25 + 4)
    assert Price(prompt=2, completion=8).of(1_000_000, 0, cached_prompt_tokens=1_000_000) == 2


def test_whose_price_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    own = {"openai:m": PRICE, "openai:m@http://b/v1": FREE, "local": PRICE}
    assert find_price("openai:m@http://a/v1", own) == PRICE
    assert find_price("openai:m@http://b/v1", own) == FREE
    assert find_price("openai:other@http://a/v1", own) is None
    assert find_price("smollm2-135m", own) == FREE
    assert find_price("local", own) == PRICE
    hosted = known_prices()["api.openai.com"]["gpt-4.1-mini"]
    assert find_price("openai:gpt-4.1-mini@https://api.openai.com/v1", {}) == hosted
    assert find_price("openai:gpt-4.1-mini@http://elsewhere/v1", {}) is None
    assert find_price("openai:gpt-4.1-mini", {}) is None
    monkeypatch.setenv("OPENAI_BASE_URL", "https://api.openai.com/v1")
    assert find_price("openai:gpt-4.1-mini", {}) == hosted
    assert hosted.cached is not None
    assert hosted.cached < hosted.prompt < hosted.completion


def test_one_run_pays_in_one_currency() -> None:
    dollars = {"openai:m": PRICE, "openai:n": Price(prompt=1, completion=1)}
    assert currency_of(["openai:m", "smollm2-135m"], dollars) == "EUR"
    assert currency_of(["smollm2-135m"], {}) is None
    with pytest.raises(ValueError, match="EUR, USD"):
        currency_of(["openai:m", "openai:n"], dollars)


def test_an_answer_is_charged_once_whoever_needs_it(tmp_path: Path) -> None:
    first = opened(tmp_path, Paid(), "one").complete(ask("a", "b"))
    again = opened(tmp_path, Paid(), "two").complete(ask("a", "b", "c", "d"))
    assert [result.cost for result in first] == pytest.approx([EACH, EACH])
    assert [result.cached for result in again] == [True, True, False, False]
    assert spent(tmp_path) == {"one": (2, pytest.approx(2 * EACH)), "two": (2, pytest.approx(2 * EACH))}


def test_equal_groups_of_one_call_are_asked_once(tmp_path: Path) -> None:
    backend = Paid()
    results = opened(tmp_path, backend).complete(ask("a", "b", "a", "b"))
    assert backend.asked == ["a", "b"]
    assert [(result.text, result.cached) for result in results] == [
        ("a", False),
        ("b", False),
        ("a", True),
        ("b", True),
    ]


def test_a_failed_answer_is_charged_as_its_server_counted_it(tmp_path: Path) -> None:
    opened(tmp_path, Paid()).complete(ask("bad", "b"))
    opened(tmp_path, Paid()).complete(ask("bad", "b"))
    assert spent(tmp_path) == {"s": (4, pytest.approx(4 * EACH))}


@pytest.mark.parametrize("budget", [{"max_cost": 5 * EACH}, {"max_tokens": 5 * 15}])
def test_a_budget_stops_within_one_group_and_a_higher_one_goes_on(tmp_path: Path, budget: dict[str, float]) -> None:
    backend = Paid()
    requests = ask(*"abcdefghij")
    with pytest.raises(BudgetError, match=f"raise {next(iter(budget))} in the recipe's budget and run again"):
        opened(tmp_path, backend, **budget).complete(requests)
    assert backend.asked == list("abcdef")  # five are allowed, groups are of two
    with pytest.raises(BudgetError):
        opened(tmp_path, backend, **budget).complete(requests)
    assert backend.asked == list("abcdef")
    opened(tmp_path, backend).complete(requests)
    assert backend.asked == list("abcdefghij")
    assert spent(tmp_path) == {"s": (10, pytest.approx(10 * EACH))}


def test_what_is_cached_needs_no_budget(tmp_path: Path) -> None:
    opened(tmp_path, Paid()).complete(ask("a", "b"))
    assert all(result.cached for result in opened(tmp_path, Paid(), max_cost=0).complete(ask("a", "b")))


def test_a_budget_is_of_all_processes_together(tmp_path: Path) -> None:
    mine, other = Paid(), Paid()
    me = opened(tmp_path, mine, max_tokens=15 * 20)
    me.complete(ask("a", "b"))
    opened(tmp_path, other).complete(ask(*(str(number) for number in range(20))))
    with pytest.raises(BudgetError):
        me.complete(ask(*(chr(code) for code in range(ord("c"), ord("c") + 4 * LOOK_EVERY))))
    assert len(mine.asked) <= 2 * LOOK_EVERY


def test_a_run_without_a_price_counts_tokens(tmp_path: Path) -> None:
    cache = RequestCache(str(tmp_path / "requests"), str(tmp_path / "spending"))
    cache.open("openai:unknown@http://a/v1", Paid()).complete(ask("a"))
    cache.open("local", Paid()).complete(ask("b"))
    costs = {each.model: each.cost for each in spent_by_stage(Folder(tmp_path / "spending"))}
    assert costs == {"local (paid)": 0.0, "openai:unknown": None}  # what has a price and what has none
    assert total(spent_by_stage(Folder(tmp_path / "spending"))).tokens == 30


def test_accounts_lie_under_any_url() -> None:
    folder = Folder("memory://accounts-of-a-test")
    assert (folder.names(), folder.read("a.json")) == ([], None)
    folder.write("a.json", json.dumps([1]).encode())
    assert (folder.names(), folder.read("a.json")) == (["a.json"], b"[1]")


def test_a_broken_account_is_named(tmp_path: Path) -> None:
    opened(tmp_path, Paid()).complete(ask("a"))
    (tmp_path / "spending" / "torn.json").write_bytes(b'{"stage":')
    with pytest.raises(LLMError, match=r"torn\.json"):
        spent(tmp_path)
