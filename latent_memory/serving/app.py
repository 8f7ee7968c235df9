"""The routes: chat completions, models, health, metrics."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from latent_memory.answers import Answer, OnText
from latent_memory.memory import LatentMemory
from latent_memory.serving.batching import Asking, Batcher, BusyError
from latent_memory.serving.chat import MODEL, Chat, Options, Reply, UnknownModelError, error_body, event, parse_chat
from latent_memory.serving.metrics import CONTENT_TYPE, Metrics
from tiers.errors import EngineError, SchemaError, StageError

log = logging.getLogger(__name__)

CLIENT_GONE = 499
"""The status of a reply that nobody waits for any more; it is counted, not sent."""
RETRY_AFTER = 1
"""Seconds after which a client that was told 429 may try again: about a batch."""


@dataclass(frozen=True)
class Limits:
    """What a server takes on.

    Attributes:
        together: Most questions in a batch.
        waiting: Most questions that wait; beyond, a request is answered with 429.
        body_bytes: Largest body of a request.
        seconds: How long a client may take to send its request, and to take in each part of the reply.
    """

    together: int = 16
    waiting: int = 256
    body_bytes: int = 1 << 20
    seconds: float = 10.0


class TooLargeError(SchemaError):
    """A request's body is too large."""


class TooSlowError(SchemaError):
    """A request's body doesn't come in time."""


class MediaTypeError(SchemaError):
    """A request's body isn't JSON by its header."""


_STATUS: tuple[tuple[type[Exception], int, str, str | None], ...] = (
    (UnknownModelError, 404, "invalid_request_error", "model_not_found"),
    (TooLargeError, 413, "invalid_request_error", None),
    (TooSlowError, 408, "invalid_request_error", None),
    (MediaTypeError, 415, "invalid_request_error", None),
    (SchemaError, 400, "invalid_request_error", None),
    (StageError, 400, "invalid_request_error", None),
    (BusyError, 429, "rate_limit_error", "rate_limit_exceeded"),
    (EngineError, 503, "server_error", None),
)


Heard = str | Answer | Exception
_MODEL = {"id": MODEL, "object": "model", "created": 0, "owned_by": "tierline"}


class Server:
    """A memory, the queue in front of it, and what was counted.

    Args:
        memory: Whose models are loaded already.
        limits: What it takes on.
    """

    def __init__(self, memory: LatentMemory, limits: Limits) -> None:
        self.memory, self.limits, self.metrics = memory, limits, Metrics()
        self.batcher: Batcher[Options] = Batcher(self._answer, limits.together, limits.waiting, self._on_batch)

    def _answer(self, questions: Sequence[str], options: Options, on_text: OnText) -> list[Answer]:
        return self.memory.ask_all(questions, **asdict(options), on_text=on_text)

    def _on_batch(self, size: int, seconds: float) -> None:
        self.metrics.batch_size.add(size)
        self.metrics.batch_seconds.add(seconds)

    async def chat(self, request: Request) -> Response:
        """`POST /v1/chat/completions`."""
        try:
            response = await self._chat(request)
        except ClientDisconnect:
            response = Response(status_code=CLIENT_GONE)
        except Exception as error:
            response = _failed(error)
        self.metrics.replies.add(value=str(response.status_code))
        return response

    async def _chat(self, request: Request) -> Response:
        chat, started = parse_chat(await self._body(request)), time.monotonic()
        heard: asyncio.Queue[Heard] = asyncio.Queue()
        asking = Asking(chat.question, chat.options, _to_loop(heard))
        self.batcher.submit(asking)
        first = await self._unless_gone(request, asking, heard.get() if chat.stream else _end_of(heard))
        if first is None:
            return Response(status_code=CLIENT_GONE)
        if isinstance(first, Exception):
            raise first
        if chat.stream:
            events = self._events(chat, asking, first, heard, started)
            return StreamingResponse(events, headers={"content-type": "text/event-stream", "cache-control": "no-store"})
        assert isinstance(first, Answer)
        self._account(first, started)
        return JSONResponse(Reply().whole(first))

    async def _unless_gone(
        self, request: Request, asking: Asking[Options], wanted: Coroutine[Any, Any, Heard]
    ) -> Heard | None:
        """What is wanted; or None when the client went before, and then its question isn't asked any more."""
        coming, gone = asyncio.create_task(wanted), asyncio.create_task(_disconnected(request))
        try:
            await asyncio.wait({coming, gone}, return_when=asyncio.FIRST_COMPLETED)
            return coming.result() if coming.done() else None
        finally:
            if not coming.done():
                self._abandon(asking)
            coming.cancel()
            gone.cancel()

    def _abandon(self, asking: Asking[Options]) -> None:
        self.batcher.drop(asking)
        self.metrics.abandoned.add()

    async def _events(
        self, chat: Chat, asking: Asking[Options], first: Heard, heard: asyncio.Queue[Heard], started: float
    ) -> AsyncIterator[bytes]:
        """The server-sent events of an answer while it is being said."""
        reply, latest = Reply(chat.include_usage), first
        try:
            yield reply.first()
            while isinstance(latest, str):
                yield reply.piece(latest)
                latest = await heard.get()
        except asyncio.CancelledError:
            self._abandon(asking)
            raise
        if isinstance(latest, Exception):
            yield event(_told(latest)[1])
        else:
            self._account(latest, started)
            yield reply.last(latest)

    def _account(self, answer: Answer, started: float) -> None:
        self.metrics.seconds.add(time.monotonic() - started)
        self.metrics.abstained.add(answer.abstained)
        self.metrics.fell_back.add(answer.fell_back)
        self.metrics.tokens.add(answer.prompt_tokens, "prompt")
        self.metrics.tokens.add(answer.context_tokens, "context")
        self.metrics.tokens.add(answer.generated_tokens, "completion")

    async def _body(self, request: Request) -> bytes:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":  # a browser asks before it sends JSON elsewhere, and is told no
            raise MediaTypeError("wrong media type", where="content-type", got=kind, expected="application/json")
        body = bytearray()
        try:
            async with asyncio.timeout(self.limits.seconds):
                async for part in request.stream():
                    body += part
                    if len(body) > self.limits.body_bytes:
                        raise TooLargeError("the body is too large", where="body", expected=self.limits.body_bytes)
        except TimeoutError:
            raise TooSlowError("the body didn't come in time", where="body", expected=self.limits.seconds) from None
        return bytes(body)

    def models(self, request: Request) -> Response:
        """`GET /v1/models`."""
        return JSONResponse({"object": "list", "data": [_MODEL]})

    def model(self, request: Request) -> Response:
        """`GET /v1/models/{model}`."""
        if request.path_params["model"] != MODEL:
            return _failed(UnknownModelError("the model doesn't exist", where="model", expected=MODEL))
        return JSONResponse(_MODEL)

    def health(self, request: Request) -> Response:
        """`GET /health`."""
        alive = self.batcher.alive
        state = {"status": "ok" if alive else "closing", "waiting": len(self.batcher), "evidence": len(self.memory)}
        return JSONResponse(state, 200 if alive else 503)

    def measures(self, request: Request) -> Response:
        """`GET /metrics`."""
        text = self.metrics.text(len(self.batcher), len(self.memory))
        return PlainTextResponse(text, media_type=CONTENT_TYPE)


def _to_loop(heard: asyncio.Queue[Heard]) -> Callable[[Heard], None]:
    """Carries what the model's thread says over to this loop."""
    loop = asyncio.get_running_loop()

    def hear(what: Heard) -> None:
        with suppress(RuntimeError):  # the loop is closed, and nobody listens any more
            loop.call_soon_threadsafe(heard.put_nowait, what)

    return hear


async def _end_of(heard: asyncio.Queue[Heard]) -> Heard:
    while isinstance(what := await heard.get(), str):
        pass
    return what


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _told(error: Exception) -> tuple[int, dict[str, Any]]:
    """The status and the body that tell of an error; what wasn't foreseen is logged with its reason."""
    for kind, status, name, code in _STATUS:
        if isinstance(error, kind):
            return status, error_body(name, code, error)
    log.error("a request failed: %r", error, exc_info=error)
    return 500, error_body("server_error", None, RuntimeError("the question could not be answered; the log says why"))


def _failed(error: Exception) -> JSONResponse:
    status, body = _told(error)
    return JSONResponse(body, status, {"retry-after": str(RETRY_AFTER)} if status == 429 else None)


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    told = SchemaError(error.detail.lower(), where=f"{request.method} {request.url.path}")
    return JSONResponse(error_body("invalid_request_error", None, told), error.status_code, error.headers)


class _SentInTime:
    """Gives up on a client that doesn't take in its reply."""

    def __init__(self, app: ASGIApp, seconds: float) -> None:
        self.app, self.seconds = app, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(self.seconds):
                await send(message)

        await self.app(scope, receive, send_in_time)


def make_app(memory: LatentMemory, limits: Limits | None = None) -> Starlette:
    """The application. Its thread answers from the start; it ends with the application's lifespan.

    Args:
        memory: Is asked by one thread.
        limits: What the server takes on.
    """
    server = Server(memory, limits or Limits())

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(server.batcher.close)

    routes = [
        Route("/v1/chat/completions", server.chat, methods=["POST"]),
        Route("/v1/models", server.models),
        Route("/v1/models/{model}", server.model),
        Route("/health", server.health),
        Route("/metrics", server.measures),
    ]
    middleware = [Middleware(_SentInTime, seconds=server.limits.seconds)]
    return Starlette(
        routes=routes, lifespan=lifespan, middleware=middleware, exception_handlers={HTTPException: _no_route}
    )
