"""`/live`: events as they come, as server-sent events, for pages that are looked at."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from time import monotonic
from typing import Annotated, Final

from fastapi import APIRouter, Header, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from app.dashboard.feed import CHANGED, SEEN, START, Listener, LiveFeed, Told
from app.dashboard.frame.visitor import VisitorDep
from app.db.engine import Database
from app.db.types import utc_now
from app.http.dependencies import DatabaseDep, SettingsDep
from app.users import queries as users
from app.users.sessions import SessionLimits

router = APIRouter(include_in_schema=False)

# Proxies cut off who says nothing for a minute.
_HEARTBEAT_S: Final = 15.0
_CHECK_SESSION_S: Final = 60.0
_RETRY_MS: Final = 2000
_HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


@dataclass(frozen=True, slots=True)
class Watch:
    """Who may follow, and how often that is looked up."""

    database: Database
    token_sha256: str
    limits: SessionLimits
    every_s: float = _CHECK_SESSION_S

    def is_over(self) -> bool:
        """Whether they signed out, were disabled, or have not clicked for long: following is no click."""
        now = utc_now()
        with self.database.read() as session:
            found = users.session_and_user(session, self.token_sha256)
        if found is None:
            return True
        kept, user = found
        return kept.expires_at <= now or kept.seen_at + self.limits.idle <= now or user.disabled_at is not None


@router.get("/live")
async def live(
    request: Request,
    visitor: VisitorDep,
    database: DatabaseDep,
    settings: SettingsDep,
    after: Annotated[str, Query(max_length=100)] = START,
    last_event_id: Annotated[str | None, Header(max_length=100)] = None,
) -> StreamingResponse:
    """From the event `after` on, the newest that the page shows; a browser that comes back says itself what it saw."""
    feed: LiveFeed = request.app.state.live_feed
    feed.check_room()
    watch = Watch(database, visitor.signed_in.token_sha256, SessionLimits.of(settings))
    lines = stream(feed, watch, last_event_id or after)
    return StreamingResponse(lines, media_type="text/event-stream", headers=_HEADERS)


async def stream(
    feed: LiveFeed, watch: Watch, last_event_id: str, heartbeat_s: float = _HEARTBEAT_S
) -> AsyncGenerator[str, None]:
    """Messages as they are sent, until the feed, or the session, ends."""
    listener = Listener(asyncio.get_running_loop())
    try:
        feed.join(listener)
        yield f"retry: {_RETRY_MS}\n\n"
        missed = await run_in_threadpool(feed.missed, last_event_id)
        for told in missed:
            yield as_text(told)
        known = {told.sighting.id for told in missed if told.sighting is not None}
        checked_s = monotonic()
        while True:
            try:
                told_now = await asyncio.wait_for(listener.queue.get(), min(heartbeat_s, watch.every_s))
                if told_now is None:
                    return
                if told_now.kind != SEEN or told_now.sighting is None or told_now.sighting.id not in known:
                    yield as_text(told_now)
            except TimeoutError:
                yield ":\n\n"
            if monotonic() - checked_s >= watch.every_s:
                if await run_in_threadpool(watch.is_over):
                    return
                checked_s = monotonic()
    finally:
        feed.leave(listener)


def as_text(told: Told) -> str:
    """One message on the wire. A correction has no id: what comes after it is not what comes after its event."""
    if told.sighting is None:
        return f"event: {told.kind}\ndata: {{}}\n\n"
    number = "" if told.kind == CHANGED else f"id: {told.sighting.id}\n"
    return f"event: {told.kind}\n{number}data: {told.sighting.model_dump_json()}\n\n"
