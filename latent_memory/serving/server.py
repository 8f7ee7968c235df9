"""The server's process: its socket, its patience, its end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from latent_memory.memory import LatentMemory
from latent_memory.serving.app import Limits, make_app
from tiers.errors import EngineError

BACKLOG = 512
CONNECTIONS = 1000
"""Beyond, requests are answered with 503."""
GRACE = 60
"""Seconds that what is under way gets when the server is told to end."""


class _InTime(H11Protocol):
    """Hangs up where a request's head doesn't come in time; uvicorn itself would wait for ever."""

    seconds = Limits.seconds
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._late = self.loop.call_later(self.seconds, self._hang_up)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._forget()
        elif self._late is None:
            self._late = self.loop.call_later(self.seconds, self._hang_up)

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def _hang_up(self) -> None:
        self._late = None
        self.transport.abort()

    def _forget(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one.

    Raises:
        EngineError: when the address can't be had.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise EngineError("cannot listen", where=f"{host}:{port}", got=error.strerror or str(error)) from None


def make_server(memory: LatentMemory, limits: Limits | None = None) -> uvicorn.Server:
    """A server that isn't running yet: `run(sockets=[…])` runs it, `should_exit` ends it."""
    limits = limits or Limits()
    config = uvicorn.Config(
        make_app(memory, limits),
        http=type("_InTime", (_InTime,), {"seconds": limits.seconds}),
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=GRACE,
        limit_concurrency=CONNECTIONS,
        h11_max_incomplete_event_size=16 << 10,
    )
    return uvicorn.Server(config)


def serve(
    memory: LatentMemory,
    host: str = "127.0.0.1",
    port: int = 8000,
    limits: Limits | None = None,
    on_ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Answers requests until the process is told to end; what is under way then is finished first.

    Args:
        memory: What answers.
        host: Address to listen at.
        port: 0 takes a free one.
        limits: What the server takes on.
        on_ready: Hears the server's URL when it can be asked.

    Raises:
        EngineError: when the address can't be had.
        ModelError: when the memory's models can't.
    """
    with listen(host, port) as sock:
        memory.ask("Are the models there?")
        name, at = sock.getsockname()[:2]
        on_ready(f"http://[{name}]:{at}" if ":" in name else f"http://{name}:{at}")
        make_server(memory, limits).run(sockets=[sock])
