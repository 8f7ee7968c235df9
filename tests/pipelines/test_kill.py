"""A run may be killed at any moment: what it resumes to is the same bytes, and nothing finished is done again."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from pipelines.artifact import Store
from pipelines.verify import verify

KILLS = 10
WORKER_KILLS = 3


def command(recipe: Path, output: Path, *options: str) -> list[str]:
    program = "from pipelines.cli import app; app()"
    return [sys.executable, "-c", program, "run", str(recipe), "--out", str(output), "--quiet", *options]


def commits(output: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in output.glob("**/commits/*.json")}


@pytest.fixture(scope="module")
def seconds(write_recipe: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> float:
    """How long an uninterrupted run takes here and now."""
    started = time.perf_counter()
    subprocess.run(command(write_recipe(), tmp_path_factory.mktemp("timed"), "--engine", "local"), check=True)
    return time.perf_counter() - started


def kill_after(process: subprocess.Popen[bytes], delay: float) -> None:
    try:
        process.wait(timeout=delay)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()


@pytest.mark.parametrize("moment", range(KILLS))
def test_killed_at_a_random_moment(
    moment: int, seconds: float, finished: Path, write_recipe: Callable[..., Path], bytes_of: Callable, tmp_path: Path
) -> None:
    share = random.Random(moment).uniform(moment / KILLS, (moment + 1) / KILLS)
    run = command(write_recipe(), tmp_path, "--engine", "local")
    kill_after(subprocess.Popen(run), share * seconds)
    standing = commits(tmp_path)
    subprocess.run(run, check=True)
    assert bytes_of(tmp_path) == bytes_of(finished)
    assert {path: path.read_bytes() for path in standing} == standing
    assert verify(Store(str(tmp_path))) == []
    assert list(tmp_path.rglob("*.tmp")) == []


def shard_workers(parent: psutil.Process) -> Iterator[psutil.Process]:
    """The Ray workers of a run that are at work on a shard."""
    for child in parent.children(recursive=True):
        try:
            if "ray::run_shard" in " ".join(child.cmdline()):
                yield child
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue


def test_ray_workers_killed_at_work(
    finished: Path, write_recipe: Callable[..., Path], bytes_of: Callable, tmp_path: Path
) -> None:
    process = subprocess.Popen(command(write_recipe(), tmp_path, "--workers", "2"))
    parent, killed = psutil.Process(process.pid), set()
    while process.poll() is None and len(killed) < WORKER_KILLS:
        for worker in shard_workers(parent):
            if worker.pid not in killed:
                worker.kill()
                killed.add(worker.pid)
                break
    assert process.wait() == 0
    assert len(killed) == WORKER_KILLS
    assert bytes_of(tmp_path) == bytes_of(finished)
    assert verify(Store(str(tmp_path))) == []
