"""Where shard tasks run: on Ray, or in this process. The same function either way, and the same bytes.

Work is at-least-once: a task whose worker dies runs again, there or elsewhere. A task that keeps killing its worker is
given up, and the others go on.
"""

from __future__ import annotations

import os
import secrets
import socket
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from itertools import islice
from types import TracebackType
from typing import Any, Protocol, TypeVar

from tiers.errors import EngineError

Task = TypeVar("Task")
Done = tuple[Task, Any | None, BaseException | None]

RETRIES = 3

_PATIENCE = 10.0
"""Seconds until a cluster that doesn't answer isn't there."""


class Engine(Protocol):
    """Runs a function over tasks, and gives each with its result or its error as it ends."""

    @property
    def workers(self) -> int:
        """How many tasks run at once."""

    def run(self, function: Callable[[Task], Any], tasks: Iterable[Task], uses_model: bool) -> Iterator[Done[Task]]:
        """Runs the tasks and gives each as it ends; `uses_model` says that workers should outlive a task.

        A task is taken from `tasks` when it begins, so that whoever gives them can end the run between two.
        """


class LocalEngine(AbstractContextManager["LocalEngine"]):
    """Runs tasks one after the other in this process: for debugging, and where Ray is too much."""

    workers = 1

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None

    def run(self, function: Callable[[Task], Any], tasks: Iterable[Task], uses_model: bool) -> Iterator[Done[Task]]:
        """Runs every task in order."""
        for task in tasks:
            try:
                yield task, function(task), None
            except Exception as error:
                yield task, None, error


class RayEngine(AbstractContextManager["RayEngine"]):
    """Runs tasks on Ray: stateless ones as tasks, those that need a model in a fixed pool of actors.

    Args:
        address: The cluster to join, as Ray spells it; `None` starts Ray on this machine.
        workers: How many tasks run at once; `None` for as many as there are CPUs.

    Raises:
        EngineError: Ray is not installed, or the cluster cannot be reached.
    """

    def __init__(self, address: str | None = None, workers: int | None = None) -> None:
        _settle_environment(joins=address is not None)
        try:
            import ray
        except ImportError:
            raise EngineError("Ray is not installed", hint="pip install ray, or run with --engine local") from None
        self._ray = ray
        self._owned = not ray.is_initialized()
        if self._owned:
            _start(ray, address, workers)
        self.workers = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        self._pool: list[Any] = []

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._owned:
            self._ray.shutdown()

    def run(self, function: Callable[[Task], Any], tasks: Iterable[Task], uses_model: bool) -> Iterator[Done[Task]]:
        """Runs the tasks, a window of them at a time, and gives them in the order in which they end."""
        idle = deque(self._actors(function) if uses_model else [self._task(function)] * self.workers)
        running: dict[Any, tuple[Task, Callable[[Task], Any]]] = {}
        waiting = iter(tasks)
        while True:
            for task in islice(waiting, len(idle)):
                submit = idle.popleft()
                running[submit(task)] = (task, submit)
            if not running:
                return
            ready, _ = self._ray.wait(list(running), num_returns=1)
            for reference in ready:
                task, submit = running.pop(reference)
                idle.append(submit)
                yield self._collect(task, reference)

    def _task(self, function: Callable[[Task], Any]) -> Callable[[Task], Any]:
        remote = self._ray.remote(num_cpus=1, max_retries=RETRIES)(function)
        return lambda task: remote.remote(task)

    def _actors(self, function: Callable[[Task], Any]) -> list[Callable[[Task], Any]]:
        """The pool, made when it is first needed and kept, since every new process imports torch for seconds."""
        if not self._pool:
            # The pool takes no CPU of Ray's count, since its steps and those of plain tasks follow one another; so
            # Ray must be told to spread it over the nodes.
            options = {"num_cpus": 0, "scheduling_strategy": "SPREAD", "max_restarts": -1, "max_task_retries": RETRIES}
            self._pool = [self._ray.remote(**options)(_Worker).remote() for _ in range(self.workers)]
        return [lambda task, actor=actor: actor.call.remote(function, task) for actor in self._pool]  # type: ignore[misc]

    def _collect(self, task: Task, reference: Any) -> Done[Task]:
        errors = self._ray.exceptions
        try:
            return task, self._ray.get(reference), None
        except errors.RayTaskError as error:
            return task, None, error.cause if isinstance(error.cause, Exception) else error
        except (errors.WorkerCrashedError, errors.ActorDiedError, errors.ActorUnavailableError) as error:
            what = "the worker died every time it ran this task"
            return (
                task,
                None,
                EngineError(what, got=type(error).__name__, expected=f"an end within {RETRIES + 1} attempts"),
            )


class _Worker:
    """What an actor of the pool runs."""

    def call(self, function: Callable[[Any], Any], task: Any) -> Any:
        return function(task)


def _settle_environment(joins: bool) -> None:
    """What Ray reads when it is first imported; where it has been imported already, that import's settings stand.

    A cluster of this run's own is closed to other users of the machine by a token that lives in the environment
    alone: Ray would otherwise write one into the home folder.
    """
    if "ray" in sys.modules:
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if not joins and "RAY_AUTH_TOKEN_PATH" not in os.environ:
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


def _start(ray: Any, address: str | None, workers: int | None) -> None:
    """Joins a cluster, or starts Ray on this machine, quietly."""
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    if address:
        _check_answers(address)
        settings["address"] = address
    else:  # not a cluster that runs here by chance
        settings |= {"address": "local", "num_cpus": workers, "include_dashboard": False}
    try:
        ray.init(**settings)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise EngineError("Ray cannot be started or joined", where=address or "this machine", got=str(error)) from None


def _check_answers(address: str) -> None:
    """Ray itself goes on trying for minutes.

    Raises:
        EngineError: Nobody listens at an address of the form `host:port` or `ray://host:port`.
    """
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE).close()
    except OSError as error:
        raise EngineError("no Ray cluster answers", where=address, got=str(error)) from None


def open_engine(name: str, address: str | None = None, workers: int | None = None) -> LocalEngine | RayEngine:
    """The engine called `name`: `ray`, or `local`.

    Raises:
        EngineError: there is no engine of that name.
    """
    if name == "local":
        return LocalEngine()
    if name == "ray":
        return RayEngine(address, workers)
    raise EngineError("there is no such engine", got=name, expected=["ray", "local"])
