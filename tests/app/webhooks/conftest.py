"""A database without the service around it, a receiver, and a sender that does not wait for hours."""

from collections.abc import Callable, Iterator
from typing import Protocol

import pytest
from sqlalchemy import URL

from app.db.engine import Database, make_engine
from app.sealing import Sealer
from app.webhooks.pace import Pace
from app.webhooks.sender import WebhookSender
from tests.app.webhooks.receiver import Receiver, running_receiver

# The waits are short; what would only run out on a busy machine is long.
QUICK = Pace(timeout_s=10.0, back_off_s=(0.05, 0.05, 0.05, 0.05), longest_rest_s=0.05, poll_s=0.1, lease_s=60.0)


class StartSender(Protocol):
    def __call__(self, pace: Pace = QUICK, database: Database | None = None) -> WebhookSender: ...


@pytest.fixture
def open_again(url: URL) -> Iterator[Callable[[], Database]]:
    """Opens the test's database once more, as another replica would."""
    opened: list[Database] = []

    def open_it() -> Database:
        opened.append(Database(make_engine(url)))
        return opened[-1]

    yield open_it
    for database in opened:
        database.dispose()


@pytest.fixture
def ledger(open_again: Callable[[], Database]) -> Database:
    """The database."""
    return open_again()


@pytest.fixture
def sealer() -> Sealer:
    return Sealer(["a key for tests only"])


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with running_receiver() as receiver:
        yield receiver


@pytest.fixture
def start_sender(ledger: Database, sealer: Sealer) -> Iterator[StartSender]:
    started: list[WebhookSender] = []

    def start(pace: Pace = QUICK, database: Database | None = None) -> WebhookSender:
        sender = WebhookSender(database or ledger, sealer, pace)
        sender.start()
        started.append(sender)
        return sender

    yield start
    for sender in started:
        sender.stop()
