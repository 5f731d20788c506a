"""The networks of this machine for others: one process for each GPU, shared by everybody who asks.

    POST /v1/analyze    a batch in, its faces out (`app.inference.wire`)
    GET  /v1/engine     which networks these are, and how large a batch may be (`app.inference.facts`)
    GET  /health/live, /health/ready, /metrics

The first two need `Authorization: Bearer <ROLLCALL_INFERENCE_TOKEN>` wherever there is a token.
"""

import hmac
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from ipaddress import ip_address
from typing import Annotated, Final

from fastapi import APIRouter, Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.registry import Collector
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from app import __version__
from app.auth.dependencies import presented_secret
from app.errors import SOON_S, ProblemError, problem_for, problem_response
from app.health.routes import Live
from app.http.body_limit import BodyLimitMiddleware, BodyLimits
from app.http.content_type import media_type
from app.http.leaving import unless_gone
from app.http.request_context import RequestContextMiddleware
from app.inference import wire
from app.inference.batched import BatchedInference
from app.inference.facts import EngineFacts
from app.inference.port import Analysis, Ask, BatchRunner, Inference, Lane
from app.inference.wire import Answer, Batch, WireError
from app.metrics.requests import RequestMetrics
from app.metrics.routes import router as metrics_router
from app.settings import Settings

# Far more than any runner likes at once: it only bounds what a head may claim.
MAX_IMAGES: Final = 256
# A batch of what cameras send fits whatever ROLLCALL_MAX_IMAGE_PIXELS is.
LEAST_MAX_BYTES: Final = 64_000_000
# Bodies that are held at once, each counted as long as it says it is: memory has an end, and callers can wait.
LARGEST_BODIES_AT_ONCE: Final = 3
# Batches of jobs that wait for room in their lane, a thread each.
MOST_BULK: Final = 16


def largest_body(settings: Settings) -> int:
    """Bytes of the longest batch that is taken."""
    return max(wire.largest_image_bytes(settings.max_image_pixels), LEAST_MAX_BYTES)


def create_inference_app(settings: Settings, runner: BatchRunner) -> FastAPI:
    """The server around one runner, which it closes when it ends."""
    metrics = CollectorRegistry()
    app = FastAPI(
        title="Rollcall inference",
        version=__version__,
        docs_url=None,  # it speaks to machines alone
        redoc_url=None,
        openapi_url=None,
        lifespan=_lifespan,
        middleware=[
            Middleware(RequestContextMiddleware, observe=RequestMetrics(metrics).observe),
            Middleware(
                BodyLimitMiddleware,
                limits=BodyLimits(default_bytes=largest_body(settings), timeout_s=settings.body_timeout_s),
            ),
        ],
        exception_handlers={HTTPException: _refuse, RequestValidationError: _refuse},
    )
    inference = BatchedInference(runner)
    app.state.token = settings.inference_token
    app.state.inference = inference
    app.state.facts = EngineFacts.of(runner, settings, max_images=MAX_IMAGES, max_bytes=largest_body(settings))
    app.state.room = Room(LARGEST_BODIES_AT_ONCE * largest_body(settings))
    app.state.bulk_room = Room(MOST_BULK)
    app.state.metrics = metrics
    metrics.register(_InferenceCollector(inference))
    ProcessCollector(registry=metrics)
    app.include_router(router)
    app.include_router(metrics_router)
    return app


def require_token_or_loopback(host: str, settings: Settings) -> None:
    """Refuse to be open to a whole network: whoever reaches the port could learn whose face is whose.

    Raises:
        ValueError: `host` can be reached from other machines, and there is no token.
    """
    if settings.inference_token is None and not _is_loopback(host):
        raise ValueError(
            f"others can reach {host}: set ROLLCALL_INFERENCE_TOKEN to the same long secret here and where "
            "`rollcall serve` and `rollcall worker` run (`openssl rand -hex 32` makes one), or listen on 127.0.0.1"
        )


class Room:
    """A number that several requests together may not exceed; used by one event loop, so it needs no lock."""

    def __init__(self, most: int) -> None:
        self._left = most

    @contextmanager
    def take(self, n: int) -> Iterator[None]:
        """Hold `n` for as long as the block runs.

        Raises:
            ProblemError: 429, there is not so much left.
        """
        if n > self._left:
            raise ProblemError(
                429, "overloaded", "Too many batches are here already; try again.", headers={"Retry-After": str(SOON_S)}
            )
        self._left -= n
        try:
            yield
        finally:
            self._left += n


router = APIRouter()


async def _require_token(request: Request) -> None:
    token = request.app.state.token
    if token is None:
        return
    presented = presented_secret(request.headers) or ""
    if not hmac.compare_digest(presented.encode(), token.get_secret_value().encode()):
        detail = "Send the server's ROLLCALL_INFERENCE_TOKEN as `Authorization: Bearer ...`."
        raise ProblemError(401, "token_wrong", detail, headers={"WWW-Authenticate": "Bearer"})


Known = Depends(_require_token)


def _facts(request: Request) -> EngineFacts:
    facts: EngineFacts = request.app.state.facts
    return facts


@router.get("/health/live")
async def live() -> Live:
    """The process answers. Restart it when this fails."""
    return Live()


@router.get("/health/ready")
async def ready() -> dict[str, str]:
    """It is listened only once the networks are loaded and warm, and no longer once it is ending."""
    return {"status": "ready"}


@router.get("/v1/engine", dependencies=[Known])
async def engine(facts: Annotated[EngineFacts, Depends(_facts)]) -> EngineFacts:
    """Which networks these are."""
    return facts


@router.post("/v1/analyze", dependencies=[Known])
async def analyze(request: Request, facts: Annotated[EngineFacts, Depends(_facts)]) -> Response:
    """Find and embed the faces of a batch."""
    if media_type(request) != wire.ASK_TYPE:
        raise ProblemError(415, "type_unsupported", f"Send a batch as {wire.ASK_TYPE}; Content-Type must say so.")
    n_bytes = _declared_bytes(request)
    state = request.app.state
    with state.room.take(n_bytes):
        body = await _read(request, n_bytes)
        try:
            batch = wire.decode_ask(body, facts.max_images)
        except WireError as error:
            raise ProblemError(400, "batch_invalid", f"The batch cannot be read: {error}.") from error
        with state.bulk_room.take(batch.lane is Lane.BULK):
            answer = await _answer(request, state.inference, batch)
    content = wire.encode_answer(answer, state.inference.card.dim, facts.word)
    return Response(content, media_type=wire.ANSWER_TYPE)


def _declared_bytes(request: Request) -> int:
    declared = request.headers.get("content-length", "")
    if not declared.isdecimal():
        raise ProblemError(411, "length_required", "Say in Content-Length how long the batch is.")
    return int(declared)


async def _read(request: Request, n_bytes: int) -> bytearray:
    """The body in one piece of memory, which the images will be views of."""
    body, n_read = bytearray(n_bytes), 0
    async for piece in request.stream():
        body[n_read : n_read + len(piece)] = piece
        n_read += len(piece)
    return body


async def _answer(request: Request, inference: Inference, batch: Batch) -> Answer:
    """The answer; a caller that has gone away, perhaps to another worker, takes its batch out of the queue."""
    futures: list[Future[Analysis]] = []
    try:
        if batch.lane is Lane.BULK:  # waits for room
            await run_in_threadpool(_submit, inference, batch, futures)
        else:
            _submit(inference, batch, futures)
        analyses = [await unless_gone(request, future) for future in futures]
    finally:
        for future in futures:
            future.cancel()
    return _joined(batch, analyses)


def _submit(inference: Inference, batch: Batch, futures: list[Future[Analysis]]) -> None:
    """Queue a batch as few asks: one for the images of which equally many faces are wanted."""
    for max_faces in sorted(set(batch.max_faces)):
        images = [image for image, n in zip(batch.images, batch.max_faces, strict=True) if n == max_faces]
        futures.append(inference.submit(Ask(images, max_faces), batch.lane))


def _joined(batch: Batch, analyses: Sequence[Analysis]) -> Answer:
    """The analyses of `_submit`'s asks, image by image as they came."""
    samples = {
        max_faces: iter(analysis.samples)
        for max_faces, analysis in zip(sorted(set(batch.max_faces)), analyses, strict=True)
    }
    return Answer(
        [next(samples[max_faces]) for max_faces in batch.max_faces],
        max(analysis.queue_s for analysis in analyses),
        max(analysis.detect_s for analysis in analyses),
        max(analysis.embed_s for analysis in analyses),
    )


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await run_in_threadpool(app.state.inference.close)


async def _refuse(request: Request, exc: Exception) -> Response:
    return problem_response(problem_for(exc), request.state.request_id)


class _InferenceCollector(Collector):
    def __init__(self, inference: Inference) -> None:
        self._inference = inference

    def collect(self) -> Iterable[Metric]:
        return self._inference.collect()


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
