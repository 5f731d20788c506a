"""Makes webhooks and messages. Every argument is a keyword."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from app.db.engine import Database
from app.db.tables import Webhook, WebhookDelivery
from app.sealing import Sealer
from app.webhooks.schemas import TOPICS, Topic, WebhookCreate
from app.webhooks.service import announce, create
from tests.app.factories import make_principal


def make_webhook(
    *, database: Database, sealer: Sealer, url: str, topics: Sequence[Topic] = TOPICS
) -> tuple[Webhook, str]:
    """A webhook and its secret."""
    new = WebhookCreate(url=url, topics=list(topics))
    with database.write() as session:
        return create(session, new, make_principal(scope="admin"), sealer)


def make_message(
    *, database: Database, person_id: str | None = "per_1", topic: Topic = "event.created", **payload: Any
) -> None:
    with database.write() as session:
        announce(session, topic, person_id, payload)


def deliveries(*, database: Database) -> list[WebhookDelivery]:
    with database.read() as session:
        return list(session.scalars(select(WebhookDelivery).order_by(WebhookDelivery.id)))


def statuses(*, database: Database) -> list[str]:
    return [delivery.status for delivery in deliveries(database=database)]
