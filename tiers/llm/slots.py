"""Answers requests one by one in a bounded number of threads, for back ends that batch on their own side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from tiers.llm.protocol import Request, Result


def answer_in_slots(
    answer: Callable[[Request], Result], groups: Iterable[Sequence[Request]], slots: int
) -> Iterator[tuple[int, list[Result]]]:
    """Answers groups of one request each, `slots` at a time, in the order in which they end.

    The next one is taken when a slot is free and whoever asked has dealt with the answer that freed it. Where an answer
    raises, those under way still end and are given first; then it is raised.
    """
    numbered = enumerate(groups)
    failure: BaseException | None = None
    with ThreadPoolExecutor(slots, thread_name_prefix="llm") as pool:
        under_way: dict[Future[Result], int] = {}
        while True:
            while failure is None and len(under_way) < slots and (following := next(numbered, None)) is not None:
                number, (request,) = following
                under_way[pool.submit(answer, request)] = number
            if not under_way:
                break
            for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                number = under_way.pop(future)
                failure = failure or future.exception()
                if future.exception() is None:
                    yield number, [future.result()]
    if failure is not None:
        raise failure
