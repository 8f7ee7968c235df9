from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from tiers.llm.cache import CachedLLM, complete_in_groups
from tiers.llm.protocol import Finish, Message, Request, Result


class Counter:
    """A back end whose answers show with whom a request was grouped; like a real one, it may break half-way."""

    def __init__(self, name: str = "counter", breaks_at: int | None = None) -> None:
        self.name = name
        self.calls = 0
        self.breaks_at = breaks_at

    def complete(self, requests: Sequence[Request]) -> list[Result]:
        return complete_in_groups(self, requests)

    def groups(self, requests: Sequence[Request]) -> list[list[int]]:
        order = sorted(range(len(requests)), key=lambda i: (len(requests[i].messages[0].content), i))
        return [order[at : at + 2] for at in range(0, len(order), 2)]

    def answers(self, groups: Iterable[Sequence[Request]]) -> Iterator[tuple[int, list[Result]]]:
        for number, group in reversed(list(enumerate(groups))):  # in another order than asked
            if self.calls == self.breaks_at:
                raise KeyboardInterrupt
            self.calls += 1
            company = "+".join(request.messages[0].content for request in group)
            yield number, [self._answer(request, company) for request in group]

    def _answer(self, request: Request, company: str) -> Result:
        if request.messages[0].content == "bad":
            return Result("", Finish.ERROR, error="refused")
        return Result(f"{request.messages[0].content} of {company}", Finish.STOP, (-0.1, -2.5), 3, 4)


def ask(*contents: str) -> list[Request]:
    return [Request((Message("user", content),)) for content in contents]


FIVE = ask("ccc", "a", "bb", "eeeee", "dddd")
TEXTS = ["ccc of ccc+dddd", "a of a+bb", "bb of a+bb", "eeeee of eeeee", "dddd of ccc+dddd"]


def test_answers_come_back_in_the_order_of_the_requests(tmp_path: Path) -> None:
    assert [result.text for result in Counter().complete(FIVE)] == TEXTS
    assert [result.text for result in CachedLLM(Counter(), tmp_path).complete(FIVE)] == TEXTS


def test_the_second_time_nothing_is_computed(tmp_path: Path) -> None:
    first = CachedLLM(Counter(), tmp_path).complete(FIVE)
    again = Counter()
    second = CachedLLM(again, tmp_path).complete(FIVE)
    assert again.calls == 0
    assert all(result.cached for result in second)
    assert not any(result.cached for result in first)
    assert [(r.text, r.logprobs, r.prompt_tokens) for r in first] == [
        (r.text, r.logprobs, r.prompt_tokens) for r in second
    ]


def test_a_killed_call_keeps_what_it_had_and_ends_with_the_same_answers(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        CachedLLM(Counter(breaks_at=1), tmp_path).complete(FIVE)
    assert len(list(tmp_path.rglob("*.json"))) == 1
    resumed = Counter()
    results = CachedLLM(resumed, tmp_path).complete(FIVE)
    assert resumed.calls == 2
    assert [result.text for result in results] == TEXTS
    assert not list(tmp_path.rglob(".tmp-*"))


def test_a_group_is_one_unit_so_other_company_is_another_answer(tmp_path: Path) -> None:
    CachedLLM(Counter(), tmp_path).complete(ask("a", "bb"))
    other = Counter()
    (result,) = CachedLLM(other, tmp_path).complete(ask("a"))
    assert other.calls == 1
    assert result.text == "a of a"


@pytest.mark.parametrize("damage", [b"", b"{", b"0000\n[]", bytes(range(256))])
def test_a_damaged_entry_is_a_miss(tmp_path: Path, damage: bytes) -> None:
    CachedLLM(Counter(), tmp_path).complete(ask("a"))
    (entry,) = tmp_path.rglob("*.json")
    whole = entry.read_bytes()
    entry.write_bytes(damage)
    again = Counter()
    assert CachedLLM(again, tmp_path).complete(ask("a"))[0].text == "a of a"
    assert again.calls == 1
    assert entry.read_bytes() == whole


def test_a_truncated_entry_is_a_miss(tmp_path: Path) -> None:
    CachedLLM(Counter(), tmp_path).complete(ask("a"))
    (entry,) = tmp_path.rglob("*.json")
    entry.write_bytes(entry.read_bytes()[:-5])
    again = Counter()
    CachedLLM(again, tmp_path).complete(ask("a"))
    assert again.calls == 1


def test_failures_are_not_kept(tmp_path: Path) -> None:
    results = CachedLLM(Counter(), tmp_path).complete(ask("bad"))
    assert results[0].finish is Finish.ERROR
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize(
    "other",
    [
        Request((Message("system", "a"),)),
        Request((Message("user", "a"),), max_tokens=9),
        Request((Message("user", "a"),), choices=("1", "2")),
        Request((Message("user", "a"),), prefill="So"),
        Request((Message("user", "a"),), schema={"type": "object"}),
    ],
)
def test_every_field_of_a_request_is_part_of_its_key(tmp_path: Path, other: Request) -> None:
    CachedLLM(Counter(), tmp_path).complete(ask("a"))
    backend = Counter()
    CachedLLM(backend, tmp_path).complete([other])
    assert backend.calls == 1


def test_another_model_has_other_answers(tmp_path: Path) -> None:
    CachedLLM(Counter(), tmp_path).complete(ask("a"))
    other = Counter(name="other")
    CachedLLM(other, tmp_path).complete(ask("a"))
    assert other.calls == 1
