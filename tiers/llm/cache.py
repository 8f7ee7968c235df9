"""The request cache, and the groups that make it exact.

A model's arithmetic depends, in its last bits, on what is computed together. So a back end first parts its requests
into groups, by the requests alone; a group is computed as one unit and cached as one unit. What a call returns then
depends neither on what was cached, nor on how many workers there were, nor on when one of them was killed.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Protocol

from tiers.llm.protocol import LLM, Finish, Request, Result


class Backend(LLM, Protocol):
    """An `LLM` that tells how it groups requests, and answers group by group."""

    def groups(self, requests: Sequence[Request]) -> list[list[int]]:
        """Parts `requests` (by their positions) into groups; parting one group again gives that group."""
        ...

    def answers(self, groups: Sequence[Sequence[Request]]) -> Iterator[tuple[int, list[Result]]]:
        """Answers each group, as (number of the group, results in its order), in whatever order they end."""
        ...


def complete_in_groups(backend: Backend, requests: Sequence[Request]) -> list[Result]:
    """Answers every request, in order, without a cache."""
    groups = backend.groups(requests)
    results: dict[int, Result] = {}
    for number, answers in backend.answers([[requests[i] for i in group] for group in groups]):
        results.update(zip(groups[number], answers, strict=True))
    return [results[i] for i in range(len(requests))]


class CachedLLM:
    """A back end behind a folder of answers that all workers share.

    One file a group, written whole and renamed into place before its results are returned. A file that can't be
    read back is a miss. Groups in which a request failed aren't kept, so that they are asked again.

    Args:
        backend: Who answers what isn't there yet.
        folder: Of the cache; made when it is first written to.
    """

    def __init__(self, backend: Backend, folder: Path) -> None:
        self._backend = backend
        self._folder = folder

    @property
    def name(self) -> str:
        """The name of the model behind the cache: the cache changes no result."""
        return self._backend.name

    def complete(self, requests: Sequence[Request]) -> list[Result]:
        """Answers every request, in order; those from the cache say so."""
        groups = self._backend.groups(requests)
        asked = [[requests[i] for i in group] for group in groups]
        paths = [self._path(group) for group in asked]
        results: dict[int, Result] = {}
        missing = []
        for number, path in enumerate(paths):
            found = _read(path, len(groups[number]))
            if found is None:
                missing.append(number)
            else:
                results.update(zip(groups[number], found, strict=True))
        for at, answers in self._backend.answers([asked[number] for number in missing]):
            if all(answer.finish is not Finish.ERROR for answer in answers):
                _write(paths[missing[at]], answers)
            results.update(zip(groups[missing[at]], answers, strict=True))
        return [results[i] for i in range(len(requests))]

    def _path(self, group: Sequence[Request]) -> Path:
        payload = {"model": self.name, "requests": [asdict(request) for request in group]}
        canonical = json.dumps(payload, sort_keys=True, separators=(",", ":"))
        key = hashlib.sha256(canonical.encode()).hexdigest()
        return self._folder / key[:2] / f"{key}.json"


def _write(path: Path, results: Sequence[Result]) -> None:
    """Writes the digest of the results and the results, one line each."""
    payload = json.dumps([asdict(result) for result in results]).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=".tmp-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(payload).hexdigest().encode() + b"\n" + payload)
        Path(scratch).replace(path)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise


def _read(path: Path, count: int) -> list[Result] | None:
    """The results in `path`, or `None` where there are none that can be trusted."""
    try:
        digest, _, payload = path.read_bytes().partition(b"\n")
    except OSError:
        return None
    if digest.decode("ascii", "replace") != hashlib.sha256(payload).hexdigest():
        return None
    rows = json.loads(payload)
    if len(rows) != count:
        return None
    results = [Result(**{**row, "finish": Finish(row["finish"]), "logprobs": tuple(row["logprobs"])}) for row in rows]
    return [replace(result, cached=True) for result in results]
