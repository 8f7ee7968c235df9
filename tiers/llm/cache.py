"""The request cache, and the groups that make it exact.

A model's arithmetic depends, in its last bits, on what is computed together. So a back end first parts its requests
into groups, by the requests alone; a group is computed as one unit and cached as one unit. What a call returns then
depends neither on what was cached, nor on how many workers there were, nor on when one of them was killed.

An answer is paid for once. A group is asked when a slot is free and is on disk before the next one takes its slot, so
that a kill loses what is under way at that moment and nothing else: one group of a model in this process, at most
`CONCURRENCY` requests of a server. Two processes that meet the same request at the same moment both ask it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Protocol

from tiers.errors import BudgetError
from tiers.llm.folder import Folder
from tiers.llm.prices import Price, find_price, is_remote, without_address
from tiers.llm.protocol import LLM, Finish, Request, Result
from tiers.llm.spending import Account, Budget


class Backend(LLM, Protocol):
    """An `LLM` that tells how it groups requests, and answers group by group."""

    def groups(self, requests: Sequence[Request]) -> list[list[int]]:
        """Parts `requests` (by their positions) into groups; parting one group again gives that group."""
        ...

    def answers(self, groups: Iterable[Sequence[Request]]) -> Iterator[tuple[int, list[Result]]]:
        """Answers each group, as (number of the group, results in its order), in whatever order they end.

        A group is taken from `groups` no sooner than it can be sent, and what was given is dealt with by then.
        """
        ...


@dataclass(frozen=True)
class RequestCache:
    """Where a run keeps answers, and on what terms it asks for new ones.

    Attributes:
        folder: Of the answers, shared by all workers: a folder or an fsspec URL.
        spending: Of the accounts, likewise.
        prices: The recipe's own, by models' names.
        budget: What the run may spend.
        stage: On whose account it is.
    """

    folder: str
    spending: str
    prices: Mapping[str, Price] = field(default_factory=dict)
    budget: Budget = field(default_factory=Budget)
    stage: str = ""

    def open(self, llm: str, backend: Backend) -> CachedLLM:
        """The model called `llm` behind this cache."""
        price = find_price(llm, self.prices)
        known = without_address(llm) if is_remote(llm) else f"{Path(llm).name} ({backend.name})"
        account = Account(Folder(self.spending), self.stage, known, price, self.budget)
        return CachedLLM(backend, self.folder, account)


def complete_in_groups(backend: Backend, requests: Sequence[Request]) -> list[Result]:
    """Answers every request, in order, without a cache."""
    groups = backend.groups(requests)
    results: dict[int, Result] = {}
    for number, answers in backend.answers([requests[i] for i in group] for group in groups):
        results.update(zip(groups[number], answers, strict=True))
    return [results[i] for i in range(len(requests))]


class CachedLLM:
    """A back end behind a folder of answers that all workers share.

    One file a group, written whole before its results are returned. A file that can't be read back is a miss. Groups in
    which a request failed for once aren't kept, so that they are asked again.

    Args:
        backend: Who answers what isn't there yet.
        folder: Of the cache; made when it is first written to.
        account: Where new answers are charged; `None` to keep no account.
    """

    def __init__(self, backend: Backend, folder: str | Path, account: Account | None = None) -> None:
        self._backend = backend
        self._folder = Folder(folder)
        self._account = account

    @property
    def name(self) -> str:
        """The name of the model behind the cache: the cache changes no result."""
        return self._backend.name

    def complete(self, requests: Sequence[Request]) -> list[Result]:
        """Answers every request, in order; those from the cache, and those asked twice at once, say so.

        Raises:
            BudgetError: The run may spend no more; what was under way is kept.
        """
        groups = self._backend.groups(requests)
        asked = [[requests[i] for i in group] for group in groups]
        names = [self._file(group) for group in asked]
        found = {name: self._read(name, len(group)) for name, group in zip(names, asked, strict=True)}
        missing = {name: group for name, group in zip(names, asked, strict=True) if found[name] is None}
        answered = self._ask(list(missing.items())) if missing else {}
        results: dict[int, Result] = {}
        for name, group in zip(names, groups, strict=True):
            given = answered.pop(name, None)  # whoever comes second finds it as if cached
            if given is not None:
                found[name] = [replace(result, cached=True) for result in given]
            results.update(zip(group, given or found[name] or (), strict=True))
        return [results[i] for i in range(len(requests))]

    def _ask(self, wanted: Sequence[tuple[str, Sequence[Request]]]) -> dict[str, list[Result]]:
        spent: list[BudgetError] = []

        def affordable() -> Iterator[Sequence[Request]]:
            for _, group in wanted:
                if self._account and (error := self._account.exhausted()):
                    spent.append(error)
                    return
                yield group

        answered: dict[str, list[Result]] = {}
        for number, results in self._backend.answers(affordable()):
            name = wanted[number][0]
            # Paid for first, kept second: a kill between the two is paid for again, and counted again.
            answered[name] = self._account.charge(results) if self._account else results
            if all(result.finish is not Finish.ERROR or result.final for result in results):
                self._write(name, answered[name])
        if spent:
            raise spent[0]
        return answered

    def _file(self, group: Sequence[Request]) -> str:
        payload = {"model": self.name, "requests": [asdict(request) for request in group]}
        canonical = json.dumps(payload, sort_keys=True, separators=(",", ":"))
        key = hashlib.sha256(canonical.encode()).hexdigest()
        return f"{key[:2]}/{key}.json"

    def _write(self, name: str, results: Sequence[Result]) -> None:
        """Writes the digest of the results and the results, one line each."""
        payload = json.dumps([asdict(result) for result in results]).encode()
        self._folder.write(name, hashlib.sha256(payload).hexdigest().encode() + b"\n" + payload)

    def _read(self, name: str, count: int) -> list[Result] | None:
        """The results in a file, or `None` where there are none that can be trusted."""
        digest, _, payload = (self._folder.read(name) or b"").partition(b"\n")
        if digest.decode("ascii", "replace") != hashlib.sha256(payload).hexdigest():
            return None
        rows = json.loads(payload)
        if len(rows) != count:
            return None
        return [
            Result(**{**row, "finish": Finish(row["finish"]), "logprobs": tuple(row["logprobs"]), "cached": True})
            for row in rows
        ]
