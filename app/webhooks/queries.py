"""All SQL about webhooks and what they are sent."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, String, delete, exists, func, insert, literal, or_, select, true, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.orm import Session, aliased

from app.db.clock import shared_now
from app.db.tables import EventCorrection, Webhook, WebhookDelivery
from app.webhooks.schemas import Status


def _written_out(status: Status) -> ColumnElement[str]:
    """Part of the statement: with a parameter neither database sees that the index of such messages will do."""
    return literal(status, String, literal_execute=True)


IS_PENDING: Final = WebhookDelivery.status == _written_out("pending")


@dataclass(frozen=True, slots=True)
class Head:
    """A message that may be sent now, as far as was seen."""

    delivery_id: int
    webhook_id: str
    person_id: str | None


@dataclass(frozen=True, slots=True)
class Claim:
    """A message that is ours to send: nobody else does until its lease ends. `n_attempts` counts this one.

    `webhook` is as it is now: what changed its address, or its secret, counts from the next message on.
    """

    delivery_id: int
    webhook: Webhook
    topic: str
    payload: dict[str, Any] | None
    created_at: datetime
    n_attempts: int


def webhook_by_id(session: Session, webhook_id: str) -> Webhook | None:
    return session.get(Webhook, webhook_id)


def list_webhooks(session: Session, *, after: tuple[datetime, str] | None, limit: int) -> list[Webhook]:
    """Oldest first, after the one with this `(created_at, id)`."""
    query = select(Webhook).order_by(Webhook.created_at, Webhook.id).limit(limit)
    if after is not None:
        at, webhook_id = after
        query = query.where((Webhook.created_at > at) | ((Webhook.created_at == at) & (Webhook.id > webhook_id)))
    return list(session.scalars(query))


def active_webhooks(session: Session) -> list[Webhook]:
    return list(session.scalars(select(Webhook).where(Webhook.active)))


def listeners(session: Session, topic: str) -> list[str]:
    """Ids of the active webhooks that are told about a topic; none of them is deleted before the session ends."""
    query = select(Webhook.id, Webhook.topics).where(Webhook.active).order_by(Webhook.id)
    rows = session.execute(query.with_for_update(read=True, key_share=True))
    return [webhook_id for webhook_id, topics in rows if topic in topics]


def insert_deliveries(session: Session, rows: Sequence[dict[str, Any]]) -> None:
    session.execute(insert(WebhookDelivery), rows)


def in_trouble(session: Session, webhook_ids: Collection[str]) -> tuple[set[str], set[str]]:
    """Those for which messages wait, and those for which some were given up."""
    waiting, dead = (
        set(session.scalars(select(Webhook.id).where(Webhook.id.in_(webhook_ids), exists().where(*_one_with(status)))))
        for status in (_written_out("pending"), _written_out("dead"))
    )
    return waiting, dead


def n_with_status(session: Session, webhook_id: str, status: Status, at_most: int) -> int:
    """How many messages of one address have this status, counted no further than `at_most`."""
    found = select(WebhookDelivery.id).where(
        WebhookDelivery.webhook_id == webhook_id, WebhookDelivery.status == _written_out(status)
    )
    return session.scalars(select(func.count()).select_from(found.limit(at_most).subquery())).one()


def list_deliveries(
    session: Session, webhook_id: str, *, status: Status | None, before_id: int | None, limit: int
) -> list[WebhookDelivery]:
    """Newest first, older than `before_id`."""
    query = select(WebhookDelivery).where(WebhookDelivery.webhook_id == webhook_id)
    query = query.order_by(WebhookDelivery.id.desc()).limit(limit)
    if status is not None:
        query = query.where(WebhookDelivery.status == _written_out(status))
    if before_id is not None:
        query = query.where(WebhookDelivery.id < before_id)
    return list(session.scalars(query))


def delivery(session: Session, webhook_id: str, delivery_id: int) -> WebhookDelivery | None:
    found = session.get(WebhookDelivery, delivery_id, with_for_update=True)
    return found if found is not None and found.webhook_id == webhook_id else None


def due_heads(session: Session, webhook_id: str, limit: int) -> list[Head]:
    """Of each person the oldest pending message, and all about nobody, where due; none while the address is off."""
    pending = WebhookDelivery.webhook_id == webhook_id, IS_PENDING
    heads = select(func.min(WebhookDelivery.id)).where(*pending).group_by(WebhookDelivery.person_id)
    query = select(WebhookDelivery.id, WebhookDelivery.webhook_id, WebhookDelivery.person_id).where(
        *pending,
        or_(WebhookDelivery.person_id.is_(None), WebhookDelivery.id.in_(heads)),
        WebhookDelivery.due_at <= shared_now(session),
        _is_active(webhook_id),
    )
    return [Head(*row) for row in session.execute(query.order_by(WebhookDelivery.id).limit(limit))]


def claim(session: Session, head: Head, lease: timedelta) -> Claim | None:
    """Take a message to send it, unless it is not due any more, its address is off, or another one goes first.

    A sender that dies leaves a claim, which ends with its lease. It has counted as an attempt then, so that a message
    which kills its sender is given up in the end.
    """
    now = shared_now(session)
    changed: CursorResult[Any] = session.execute(  # type: ignore[assignment]
        update(WebhookDelivery)
        .where(WebhookDelivery.id == head.delivery_id, _goes_first(head), _is_active(head.webhook_id))
        .where(IS_PENDING, WebhookDelivery.due_at <= now)
        .values(due_at=now + lease, n_attempts=WebhookDelivery.n_attempts + 1)
        .execution_options(synchronize_session=False)
    )
    if not changed.rowcount:
        return None
    row = session.scalars(select(WebhookDelivery).where(WebhookDelivery.id == head.delivery_id)).one()
    webhook = session.get_one(Webhook, row.webhook_id)
    return Claim(row.id, webhook, row.topic, row.payload, row.created_at, row.n_attempts)


def finish(session: Session, claimed: Claim, columns: dict[str, Any]) -> None:
    """Write down how it went, unless the claim is no longer ours, because it took longer than its lease."""
    session.execute(
        update(WebhookDelivery)
        .where(
            WebhookDelivery.id == claimed.delivery_id,
            WebhookDelivery.status == "pending",
            WebhookDelivery.n_attempts == claimed.n_attempts,
        )
        .values(**columns)
        .execution_options(synchronize_session=False)
    )


def deactivate(session: Session, webhook_id: str, url: str) -> bool:
    """Whether it was active, and still has this address."""
    told = update(Webhook).where(Webhook.id == webhook_id, Webhook.url == url, Webhook.active).values(active=False)
    changed: CursorResult[Any] = session.execute(told)  # type: ignore[assignment]
    return bool(changed.rowcount)


def event_versions(session: Session, event_ids: Collection[str]) -> dict[str, int]:
    """They grow by two with every correction of the event, whose row the caller has locked."""
    of = select(EventCorrection.event_id, func.count()).where(EventCorrection.event_id.in_(event_ids))
    n_corrections = {event_id: n for event_id, n in session.execute(of.group_by(EventCorrection.event_id))}
    return {event_id: 1 + 2 * n_corrections.get(event_id, 0) for event_id in event_ids}


def replayable(
    session: Session, webhook_id: str, *, statuses: Collection[Status], since: datetime | None, after_id: int, n: int
) -> list[int]:
    """Ids of the next messages, oldest first, that can be sent once more; not those of people who were erased."""
    query = select(WebhookDelivery.id).where(
        WebhookDelivery.webhook_id == webhook_id,
        WebhookDelivery.id > after_id,
        or_(*(WebhookDelivery.status == _written_out(status) for status in statuses)),
        WebhookDelivery.payload.is_not(None),
    )
    if since is not None:
        query = query.where(WebhookDelivery.created_at >= since)
    return list(session.scalars(query.order_by(WebhookDelivery.id).limit(n)))


def make_pending(session: Session, ids: Collection[int], now: datetime) -> None:
    """As if they had never been sent."""
    columns = {"status": "pending", "n_attempts": 0, "due_at": now, "delivered_at": None}
    finished = WebhookDelivery.id.in_(ids), WebhookDelivery.status != "pending"
    session.execute(update(WebhookDelivery).where(*finished).values(**columns))


def forget_person(session: Session, person_id: str) -> None:
    """Empties what was or would be told about a person."""
    about = WebhookDelivery.person_id == person_id
    unsent = update(WebhookDelivery).where(about, WebhookDelivery.status == "pending")
    session.execute(unsent.values(status="dead", last_error="the person was erased"))
    session.execute(update(WebhookDelivery).where(about).values(payload=None))


def delete_finished(session: Session, before: datetime, at_most: int) -> int:
    """Delete some of what was delivered, or given up, and is older; returns how many."""
    return _delete_some(session, at_most, WebhookDelivery.status != "pending", WebhookDelivery.created_at < before)


def delete_of(session: Session, webhook_id: str, at_most: int) -> int:
    """Delete some of a webhook's messages; returns how many."""
    return _delete_some(session, at_most, WebhookDelivery.webhook_id == webhook_id)


def _delete_some(session: Session, at_most: int, *conditions: ColumnElement[bool]) -> int:
    ids = list(session.scalars(select(WebhookDelivery.id).where(*conditions).limit(at_most)))
    session.execute(delete(WebhookDelivery).where(WebhookDelivery.id.in_(ids)))
    return len(ids)


def _one_with(status: ColumnElement[str]) -> tuple[ColumnElement[bool], ...]:
    return WebhookDelivery.webhook_id == Webhook.id, WebhookDelivery.status == status


def _is_active(webhook_id: str) -> ColumnElement[bool]:
    return exists().where(Webhook.id == webhook_id, Webhook.active)


def _goes_first(head: Head) -> ColumnElement[bool]:
    """Whether no older message about the same person waits for the same address; those about nobody have no order."""
    if head.person_id is None:
        return true()
    other = aliased(WebhookDelivery)
    same = other.webhook_id == head.webhook_id, other.person_id == head.person_id
    oldest = select(func.min(other.id)).where(*same, other.status == _written_out("pending"))
    return WebhookDelivery.id == oldest.scalar_subquery()
