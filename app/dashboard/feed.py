"""The live feed: one thread asks the database what is new, while somebody listens, and tells all who do.

A listener has a queue that holds a while's events; one who reads more slowly than that is let go, comes back by itself
and says what it has seen last. No listener holds a thread.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Event as Flag
from threading import Lock, Thread
from typing import Final

import structlog

from app.dashboard import newcomers, sightings
from app.dashboard.newcomers import Newcomers
from app.dashboard.sightings import OddsBook, Sighting
from app.db.engine import Database
from app.db.types import utc_now
from app.errors import RETRY_AFTER_S, ProblemError
from app.logs import log_failure

MOST_LISTENERS: Final = 200
_EVERY_S: Final = 0.5
_QUEUED: Final = 300
# More than this at once is not for people to follow: their page loads the list anew.
MOST_AT_ONCE: Final = 200

# The first look takes milliseconds; longer than this the database is away, and that is told elsewhere.
_BEGIN_S: Final = 5.0

START: Final = "start"
SEEN: Final = "seen"
CHANGED: Final = "changed"
RELOAD: Final = "reload"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Told:
    """One message: what happened, to which event, and what it looks like now."""

    kind: str
    sighting: Sighting | None = None


@dataclass(eq=False, slots=True)
class Listener:
    """Somebody who follows; `None` in the queue ends it."""

    loop: asyncio.AbstractEventLoop
    queue: "asyncio.Queue[Told | None]" = field(default_factory=lambda: asyncio.Queue(_QUEUED))

    def tell(self, told: Sequence[Told]) -> None:
        """From any thread."""
        self._call(self._put, told)

    def end(self) -> None:
        """From any thread."""
        self._call(self._end)

    def _call(self, work: Callable[..., None], *args: object) -> None:
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(work, *args)

    def _put(self, told: Sequence[Told]) -> None:
        try:
            for each in told:
                self.queue.put_nowait(each)
        except asyncio.QueueFull:
            self._end()

    def _end(self) -> None:
        while not self.queue.empty():
            self.queue.get_nowait()
        self.queue.put_nowait(None)


class LiveFeed:
    """Everybody who follows in this process."""

    def __init__(self, database: Database, most: int = MOST_LISTENERS) -> None:
        self._database = database
        self._most = most
        self._listeners: set[Listener] = set()
        self._lock = Lock()
        self._closing = Flag()
        self._has_begun = Flag()
        self._thread: Thread | None = None
        self._is_ending: Callable[[], bool] = lambda: False

    @property
    def n_listeners(self) -> int:
        return len(self._listeners)

    @property
    def is_running(self) -> bool:
        """Whether somebody is asking the database."""
        thread = self._thread
        return thread is not None and thread.is_alive()

    def end_when(self, is_ending: Callable[[], bool]) -> None:
        """A server that is told to end waits for its answers, and these would never end by themselves."""
        self._is_ending = is_ending

    def check_room(self) -> None:
        """429 where too many follow."""
        if self._closing.is_set() or len(self._listeners) >= self._most:
            detail = "Too many pages follow the events live. Close some, or reload this one now and then."
            raise ProblemError(429, "overloaded", detail, headers={"Retry-After": str(RETRY_AFTER_S)})

    def join(self, listener: Listener) -> None:
        """Tell them from now on, until they leave."""
        with self._lock:
            self._listeners.add(listener)
            if self._thread is None:
                self._has_begun.clear()
                self._thread = Thread(target=self._follow, name="live-feed", daemon=True)
                self._thread.start()

    def leave(self, listener: Listener) -> None:
        with self._lock:
            self._listeners.discard(listener)

    def missed(self, event_id: str) -> list[Told]:
        """What came after this event, and a little before it, for somebody who was away; `START`: lately; slow.

        Asked for after joining: between this answer and what the listener is told nothing is left out. Only what came
        after it can ask for a reload: the page that is loaded anew is further on, and would not be told so again.
        """
        self._has_begun.wait(_BEGIN_S)
        with self._database.read() as session:
            at = utc_now() if event_id == START else newcomers.came_at(session, event_id)
            if at is None or newcomers.is_more_than(session, MOST_AT_ONCE, at, event_id):
                return [Told(RELOAD)]
            ids = newcomers.newest_since(session, at - newcomers.SOON, MOST_AT_ONCE)
            found = sightings.of_events(session, ids, OddsBook())
        return [Told(SEEN, each) for each in found]

    def close(self) -> None:
        """End all of them."""
        self._closing.set()
        thread = self._thread
        if thread is not None and thread.is_alive():
            thread.join()

    def _follow(self) -> None:
        newcomers_, book = Newcomers(), OddsBook()
        while not self._is_over():
            try:
                self._tell(self._news(newcomers_, book))
                self._has_begun.set()
            except Exception as error:  # a thread that died would go unnoticed
                log_failure(log, "feed.failed", error)
            self._closing.wait(_EVERY_S)
            if self._is_ending():
                self._closing.set()

    def _is_over(self) -> bool:
        """Whether nobody listens, or nobody may any more; those who still do are let go."""
        with self._lock:
            if self._listeners and not self._closing.is_set():
                return False
            for listener in self._listeners:
                listener.end()
            self._listeners.clear()
            self._thread = None
        return True

    def _news(self, newcomers_: Newcomers, book: OddsBook) -> list[Told]:
        with self._database.read() as session:
            new, changed = newcomers_.look(session)
            if len(new) + len(changed) > MOST_AT_ONCE:
                return [Told(RELOAD)]
            kinds = dict.fromkeys(new, SEEN) | dict.fromkeys(changed, CHANGED)
            return [Told(kinds[each.id], each) for each in sightings.of_events(session, kinds.keys(), book)]

    def _tell(self, told: Sequence[Told]) -> None:
        if not told:
            return
        with self._lock:
            for listener in self._listeners:
                listener.tell(told)
