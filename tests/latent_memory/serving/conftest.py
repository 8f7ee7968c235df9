"""A memory behind a real socket, and one that can be made to wait."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest

from latent_memory.answers import Answer
from latent_memory.memory import LatentMemory
from latent_memory.serving.app import Limits
from latent_memory.serving.server import listen, make_server
from tiers.document import documents

TEXTS = (
    "The tower was built in 1889.",
    "It stands in Paris.",
    "Many people climb it each year.",
    "The river is 776 kilometres long.",
    "A bridge of stone crosses it.",
)
CHAT = "/v1/chat/completions"


class HeldMemory(LatentMemory):
    """Answers when it is let go; fails over poison."""

    def hold(self) -> None:
        self.asked, self.go = threading.Event(), threading.Event()

    def ask_all(self, questions: Sequence[str], *options: Any, **more: Any) -> list[Answer]:
        self.asked.set()
        self.go.wait()
        if any("poison" in question for question in questions):
            raise RuntimeError("the well is poisoned")
        return super().ask_all(questions, *options, **more)


@pytest.fixture(scope="session")
def memory_folder(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served") / "memory"
    rows = [
        {"text": text, "source": f"https://example.org/{n}", "claim.status": status}
        for n, (text, status) in enumerate(zip(TEXTS, ["verified", "unverified"] * 3, strict=False))
    ]
    table = documents(rows, [pa.field("claim.status", pa.string(), nullable=False)])
    LatentMemory.create(folder, trained).add(table)
    return folder


@pytest.fixture
def memory(memory_folder: Path, trained: Path) -> LatentMemory:
    """With its models loaded, since loading in one thread changes what another computes meanwhile."""
    memory = LatentMemory.open(memory_folder, trained)
    memory.ask("Who?")
    return memory


@pytest.fixture
def held(memory_folder: Path, trained: Path, memory: LatentMemory) -> Iterator[HeldMemory]:
    held = HeldMemory.open(memory_folder, trained)
    assert isinstance(held, HeldMemory)
    held.hold()
    yield held
    held.go.set()


@contextmanager
def served(memory: LatentMemory, limits: Limits | None = None) -> Iterator[httpx.Client]:
    """A client of a server that runs in a thread."""
    with listen("127.0.0.1", 0) as sock:
        server = make_server(memory, limits)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
        thread.start()
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{sock.getsockname()[1]}", timeout=None) as client:
                yield client
        finally:
            if isinstance(memory, HeldMemory):
                memory.go.set()
            server.should_exit = True
            thread.join()


def body(question: str, **options: Any) -> dict[str, Any]:
    return {"model": "tierline-memory", "messages": [{"role": "user", "content": question}], **options}


def until(client: httpx.Client, waiting: int) -> None:
    """Returns when that many questions wait."""
    while client.get("/health").json()["waiting"] != waiting:
        pass


@contextmanager
def at_once() -> Iterator[Callable[..., Any]]:
    """Starts calls in threads of their own; they have ended when the block has."""
    with ThreadPoolExecutor(32) as pool:
        yield pool.submit


def measure(client: httpx.Client, name: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return float(next(line.split(" ")[-1] for line in lines if line.startswith(f"{name} ")))
