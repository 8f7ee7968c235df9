import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipelines.engine import LocalEngine, RayEngine, open_engine
from tiers.errors import EngineError, SourceError


@pytest.fixture(scope="module")
def ray_engine() -> Iterator[RayEngine]:
    with RayEngine(workers=2) as engine:
        yield engine


def halve(number: int) -> int:
    if number == 13:
        raise SourceError("unlucky", where="row 13", got=number)
    if number == 99:
        os._exit(1)
    return number // 2


def test_a_cluster_that_is_not_there_is_not_waited_for() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}"):
        with pytest.raises(EngineError, match="no Ray cluster answers"):
            open_engine("ray", address)


@pytest.mark.parametrize("uses_model", [False, True])
def test_ray_gives_every_task_its_result_or_its_error(ray_engine: RayEngine, uses_model: bool) -> None:
    done = {task: (result, error) for task, result, error in ray_engine.run(halve, [10, 13, 20, 30], uses_model)}
    assert {task: result for task, (result, _) in done.items() if task != 13} == {10: 5, 20: 10, 30: 15}
    assert isinstance(done[13][1], SourceError)
    assert "row 13: unlucky; got 13" in str(done[13][1])


@pytest.mark.parametrize("uses_model", [False, True])
def test_a_task_that_kills_its_worker_is_given_up_and_the_others_go_on(ray_engine: RayEngine, uses_model: bool) -> None:
    done = {task: (result, error) for task, result, error in ray_engine.run(halve, [99, 2, 4, 6], uses_model)}
    assert isinstance(done.pop(99)[1], EngineError)
    assert {task: result for task, (result, _) in done.items()} == {2: 1, 4: 2, 6: 3}


def test_the_local_engine_does_the_same() -> None:
    done = {task: (result, error) for task, result, error in LocalEngine().run(halve, [10, 13], False)}
    assert done[10] == (5, None)
    assert isinstance(done[13][1], SourceError)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_bytes_are_the_same_on_any_engine_and_number_of_workers(
    workers: int,
    ray_engine: RayEngine,
    finished: Path,
    write_recipe: Callable[..., Path],
    run: Callable,
    bytes_of: Callable,
    tmp_path: Path,
) -> None:
    engine = RayEngine(workers=workers)
    run(write_recipe(), tmp_path, engine)
    assert bytes_of(tmp_path) == bytes_of(finished)


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(EngineError, match=r"got 'spark'; expected \['ray', 'local'\]"):
        open_engine("spark")
