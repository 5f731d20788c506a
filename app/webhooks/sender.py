"""Sends what `announce` has written: a thread beside the service, in every replica.

No replica leads. Before a message is sent it is claimed in the database, by one conditional statement: only one sender
gets it, only while its address is on and no older message about the same person is pending, and for the length of a
lease; the address and the secret are those of that moment. So several senders
share the work and keep the order, and one that dies, or is cut off from the database without noticing, stops nobody.
Each address is served by a task of its own, and waits for no other.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from threading import Thread
from typing import Final, TypeVar

import httpx
import structlog
from sqlalchemy.orm import Session

from app.db.engine import Database
from app.logs import log_failure
from app.sealing import Sealer
from app.webhooks.delivery import ERASED, Message, Outcome, Target, message_id, new_client, send
from app.webhooks.outbox import Outbox
from app.webhooks.pace import Address, Pace
from app.webhooks.queries import Claim, Head
from app.webhooks.service import ANNOUNCED

T = TypeVar("T")

# Each attempt takes two short transactions; more at once would only be in the way of captures.
_DATABASE_THREADS: Final = 2

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Line:
    """One address while it is being served."""

    client: httpx.AsyncClient
    webhook_id: str
    address: Address
    at_once: asyncio.Semaphore


class WebhookSender:
    """Delivers pending messages until it is stopped."""

    def __init__(self, database: Database, sealer: Sealer, pace: Pace | None = None) -> None:
        self._database = database
        self._pace = pace or Pace()
        self._outbox = Outbox(database, sealer, self._pace)
        self._addresses: dict[str, Address] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._sending: set[asyncio.Task[Outcome]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._bell = asyncio.Event()
        self._is_stopping = False
        self._threads = ThreadPoolExecutor(_DATABASE_THREADS, "webhooks-database")
        self._thread = Thread(target=lambda: asyncio.run(self._run()), name="webhooks", daemon=True)

    def start(self) -> None:
        self._database.tell_after_commit(self._committed)
        self._thread.start()

    def stop(self) -> None:
        """Ends attempts that are under way; they are made anew by whoever sends next."""
        self._is_stopping = True
        self.wake()
        if self._thread.is_alive():
            self._thread.join()
        self._threads.shutdown()

    def wake(self) -> None:
        """There may be something to send; without this it would be found a little later. From any thread."""
        loop = self._loop
        if loop is not None:
            with suppress(RuntimeError):  # the loop has just been closed
                loop.call_soon_threadsafe(self._bell.set)

    def _committed(self, session: Session) -> None:
        if ANNOUNCED in session.info:
            self.wake()

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        async with new_client(self._pace.n_at_once) as client:
            while not self._is_stopping:
                self._bell.clear()
                try:
                    await self._look(client)
                except Exception as error:  # a thread that died would go unnoticed
                    log_failure(log, "webhooks.look_failed", error)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._bell.wait(), self._pace.poll_s)
            for attempt in self._sending:
                attempt.cancel()
            await asyncio.gather(*self._tasks.values())
        self._loop = None

    async def _look(self, client: httpx.AsyncClient) -> None:
        """Give every address a task of its own, and tell those that have one that there may be more."""
        webhook_ids = await self._in_thread(self._outbox.webhook_ids)
        # Only now, with nothing to wait for until the end: a task that ended meanwhile has not seen the news.
        self._tasks = {webhook_id: task for webhook_id, task in self._tasks.items() if not task.done()}
        for webhook_id in webhook_ids:
            address = self._addresses.setdefault(webhook_id, Address(self._pace))
            address.has_news = True
            if webhook_id not in self._tasks:
                line = Line(client, webhook_id, address, asyncio.Semaphore(self._pace.n_at_once))
                self._tasks[webhook_id] = asyncio.create_task(self._serve(line))

    async def _serve(self, line: Line) -> None:
        """Send what is due, the next message of each person at a time, until there is nothing more."""
        webhook_id, address = line.webhook_id, line.address
        try:
            while (n_wanted := address.n_wanted) and not self._is_stopping:
                address.has_news = False
                heads = await self._in_thread(partial(self._outbox.due, webhook_id, n_wanted))
                if not heads and not address.has_news:
                    return
                await asyncio.gather(*(self._attempt(line, head) for head in heads))
        except Exception as error:
            log_failure(log, "webhooks.sending_failed", error, webhook_id=webhook_id)

    async def _attempt(self, line: Line, head: Head) -> None:
        async with line.at_once:
            if not line.address.n_wanted or self._is_stopping:  # it has got into trouble since this batch was read
                return
            found = await self._in_thread(partial(self._outbox.claim, head))
            if found is None:
                return
            claimed, target = found
            outcome = await self._outcome(line.client, target, claimed)
            if outcome is None:
                await self._in_thread(partial(self._outbox.give_back, claimed))
                return
            line.address.note(outcome)
            await self._in_thread(partial(self._outbox.finish, claimed, outcome))

    async def _outcome(self, client: httpx.AsyncClient, target: Target, claimed: Claim) -> Outcome | None:
        """How an attempt went; None where the end of the service cut it short."""
        if claimed.payload is None:
            return ERASED
        if self._is_stopping:
            return None
        sent_id = message_id(target.webhook_id, claimed.delivery_id)
        message = Message(sent_id, claimed.topic, claimed.created_at, claimed.payload)
        attempt = asyncio.create_task(send(client, target, message, self._pace.timeout_s))
        self._sending.add(attempt)
        attempt.add_done_callback(self._sending.discard)
        await asyncio.wait([attempt])
        return None if attempt.cancelled() else attempt.result()

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)
