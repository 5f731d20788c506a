"""`Idempotency-Key`: a POST that is sent again answers as it did the first time, and does nothing twice.

The answer is stored in the transaction of the work it reports, so either both exist or neither:
- the process dies before the commit: no row, the retry does the work;
- it dies after: the retry is given the stored answer, even if the first one never reached the caller.
Only good answers are stored. A refusal changed nothing, so the retry is judged afresh.

Two requests at once: in one process the second is told 409 `idempotency_in_progress`. In two processes both work, the
primary key lets one commit, and the other rolls back and gives the winner's answer. Nothing is locked meanwhile and no
lease has to expire after a crash, which is why there is no "in progress" row.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from threading import Lock
from typing import Annotated, TypeVar

from fastapi import Depends, Header
from pydantic import BaseModel
from sqlalchemy import ColumnElement, delete, update
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from app.auth.dependencies import PrincipalDep
from app.db.engine import Database
from app.db.tables import IdempotencyKey
from app.db.types import utc_now
from app.errors import RETRY_AFTER_S, ProblemError
from app.http.fingerprint import fingerprint
from app.sealing import Sealer

T = TypeVar("T")

KEY_PATTERN = re.compile(r"[\x21-\x7e]{1,255}")
PURGE_EVERY = timedelta(minutes=10)
# Status of an answer whose content was erased with the person it named.
ERASED_STATUS, ERASED_CODE = 410, "idempotency_erased"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a route answers, in a form that can be stored and given again."""

    status: int
    content: BaseModel
    headers: dict[str, str] = field(default_factory=dict)

    def response(self) -> Response:
        return _response(self.status, self.content.model_dump_json(), self.headers)


Store = Callable[[Session, Answer], Answer]


@dataclass(frozen=True, slots=True)
class Ticket:
    """One caller's key for one endpoint, and what was sent with it."""

    owner: str
    endpoint: str
    key: str
    body_sha256: str

    @property
    def place(self) -> tuple[str, str, str]:
        return self.owner, self.endpoint, self.key


class InFlight:
    """The keys that this process is working on, and when it last threw old answers away."""

    def __init__(self, ttl: timedelta) -> None:
        self.ttl = ttl
        self._lock = Lock()
        self._places: set[tuple[str, str, str]] = set()
        self._purged_at: datetime | None = None

    @contextmanager
    def hold(self, ticket: Ticket) -> Iterator[None]:
        with self._lock:
            if ticket.place in self._places:
                headers = {"Retry-After": str(RETRY_AFTER_S)}
                detail = "The first request with this Idempotency-Key is still being worked on."
                raise ProblemError(409, "idempotency_in_progress", detail, headers=headers)
            self._places.add(ticket.place)
        try:
            yield
        finally:
            with self._lock:
                self._places.discard(ticket.place)

    def is_purge_due(self, now: datetime) -> bool:
        with self._lock:
            due = self._purged_at is None or now - self._purged_at >= PURGE_EVERY
            if due:
                self._purged_at = now
            return due


class Idempotency:
    """What a route does its work through; without a key in the request it only runs the work."""

    def __init__(self, database: Database, in_flight: InFlight, ticket: Ticket | None) -> None:
        self._database = database
        self._in_flight = in_flight
        self._ticket = ticket

    @property
    def key(self) -> str | None:
        """The Idempotency-Key that was sent."""
        return self._ticket.key if self._ticket else None

    def sealed(self, sealer: Sealer) -> "Idempotency":
        """For a body that holds a PIN: without the deployment's secret, nobody finds out which one from its hash."""
        if self._ticket is None:
            return self
        sealed = replace(self._ticket, body_sha256=sealer.fingerprint(self._ticket.body_sha256))
        return Idempotency(self._database, self._in_flight, sealed)

    def write(self, work: Callable[[Session], Answer], *, in_turn: bool = False) -> Response:
        """Runs `work` in one write transaction that also stores its answer; `in_turn`: it locks the gallery."""
        begin = self._database.write_in_turn if in_turn else self._database.write

        def attempt(store: Store) -> Answer:
            with begin() as session:
                return store(session, work(session))

        return self.run(attempt)

    def run(self, attempt: Callable[[Store], Answer]) -> Response:
        """For slow work: `attempt` opens its own transaction when it is ready to write, and calls `store` in it."""
        ticket = self._ticket
        if ticket is None:
            return attempt(_keep_nothing).response()
        with self._in_flight.hold(ticket):
            return self._first_answer(ticket) or self._answer(ticket, attempt)

    async def run_after(self, prepare: Callable[[], Awaitable[T]], attempt: Callable[[Store, T], Answer]) -> Response:
        """As `run`, for work that first waits for something, such as the networks, and holds no thread meanwhile."""
        ticket = self._ticket
        if ticket is None:
            return (await run_in_threadpool(attempt, _keep_nothing, await prepare())).response()
        with self._in_flight.hold(ticket):
            if (first := await run_in_threadpool(self._first_answer, ticket)) is not None:
                return first
            prepared = await prepare()
            return await run_in_threadpool(self._answer, ticket, lambda store: attempt(store, prepared))

    def _answer(self, ticket: Ticket, attempt: Callable[[Store], Answer]) -> Response:
        self._purge()
        try:
            return attempt(lambda session, answer: self._insert(session, ticket, answer)).response()
        except Exception:
            # Another process may have committed the same work meanwhile; then its answer is ours.
            if (first := self._first_answer(ticket)) is None:
                raise
            return first

    def _first_answer(self, ticket: Ticket) -> Response | None:
        with self._database.read() as session:
            row = session.get(IdempotencyKey, ticket.place)
        if row is None or row.created_at < utc_now() - self._in_flight.ttl:
            return None
        if row.body is None:
            detail = "The first answer was erased together with the person it named."
            raise ProblemError(ERASED_STATUS, ERASED_CODE, detail)
        if row.body_sha256 != ticket.body_sha256:
            detail = "This Idempotency-Key was used before with another request. Make a new key per request."
            raise ProblemError(422, "idempotency_mismatch", detail)
        return _response(row.status, row.body, {**row.headers, "Idempotent-Replayed": "true"})

    def _insert(self, session: Session, ticket: Ticket, answer: Answer) -> Answer:
        now = utc_now()
        same_place = IdempotencyKey.owner == ticket.owner, IdempotencyKey.endpoint == ticket.endpoint
        expired = IdempotencyKey.idempotency_key == ticket.key, _expired(now, self._in_flight.ttl)
        session.execute(delete(IdempotencyKey).where(*same_place, *expired))
        session.add(_row(ticket, answer, now))
        session.flush()
        return answer

    def _purge(self) -> None:
        now = utc_now()
        if self._in_flight.is_purge_due(now):
            with self._database.write() as session:
                session.execute(delete(IdempotencyKey).where(_expired(now, self._in_flight.ttl)))


async def idempotency(
    request: Request,
    principal: PrincipalDep,
    idempotency_key: Annotated[
        str | None,
        Header(alias="Idempotency-Key", description="A new random value per request makes it safe to retry."),
    ] = None,
) -> AsyncIterator[Idempotency]:
    """For `Depends`."""
    state = request.app.state
    ticket = None if idempotency_key is None else await _ticket(request, principal.id, idempotency_key)
    try:
        yield Idempotency(state.database, state.in_flight, ticket)
    finally:
        await request.close()  # a form that only the fingerprint has read is nobody else's to close


IdempotencyDep = Annotated[Idempotency, Depends(idempotency)]


def forget_answers_about(session: Session, person_id: str) -> None:
    """Empties every stored answer that names a person; the mark it leaves keeps a late retry from redoing it."""
    mentions = IdempotencyKey.body.contains(person_id, autoescape=True)
    blank = update(IdempotencyKey).values(body=None, body_sha256="", status=ERASED_STATUS, headers={})
    session.execute(blank.where(mentions))


async def _ticket(request: Request, owner: str, key: str) -> Ticket:
    if not KEY_PATTERN.fullmatch(key):
        raise ProblemError(422, "idempotency_key_invalid", "Idempotency-Key: 1 to 255 visible ASCII characters.")
    return Ticket(owner, f"{request.method} {request.url.path}", key, await fingerprint(request))


def _keep_nothing(_session: Session, answer: Answer) -> Answer:
    return answer


def _row(ticket: Ticket, answer: Answer, now: datetime) -> IdempotencyKey:
    return IdempotencyKey(
        owner=ticket.owner,
        endpoint=ticket.endpoint,
        idempotency_key=ticket.key,
        body_sha256=ticket.body_sha256,
        status=answer.status,
        body=answer.content.model_dump_json(),
        headers=answer.headers,
        created_at=now,
    )


def _expired(now: datetime, ttl: timedelta) -> ColumnElement[bool]:
    return IdempotencyKey.created_at < now - ttl


def _response(status: int, body: str, headers: dict[str, str]) -> Response:
    return Response(body, status, headers=headers, media_type="application/json")
