"""What can be done to webhooks and their messages, inside a session that the caller commits."""

import base64
import secrets
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy.orm import Session

from app.audit.service import record
from app.auth.scopes import Principal
from app.db.engine import Database
from app.db.tables import Webhook, WebhookDelivery
from app.db.types import new_id, utc_now
from app.errors import ProblemError
from app.sealing import Sealer
from app.webhooks import queries, schemas
from app.webhooks.delivery import Target, message_id

# What `announce` leaves in its session for whoever is told of commits.
ANNOUNCED: Final = "webhooks_announced"
# As Standard Webhooks recommends: 24 to 64 random bytes.
_SECRET_BYTES: Final = 32
# Changed in one transaction: milliseconds, so that no capture waits for it.
_AT_ONCE: Final = 500


def announce(session: Session, topic: schemas.Topic, person_id: str | None, payload: dict[str, Any]) -> None:
    """Tell every webhook that wants to know, once this transaction has been committed; only writes rows.

    What is told about one person arrives in the order of these calls as long as the caller holds the lock of that
    person's row, because then a later call cannot be committed before an earlier one. What is told about nobody has
    no order: one message that is refused keeps no other waiting.
    """
    announce_all(session, topic, [(person_id, payload)])


def announce_all(session: Session, topic: schemas.Topic, messages: Sequence[tuple[str | None, dict[str, Any]]]) -> None:
    """`announce` for each of these, of whom they tell and what."""
    webhook_ids = queries.listeners(session, topic) if messages else []
    if not webhook_ids:
        return
    now = utc_now()
    row = {"topic": topic, "status": "pending", "n_attempts": 0, "due_at": now, "created_at": now}
    rows = [
        {**row, "person_id": person_id, "payload": payload, "webhook_id": webhook_id}
        for person_id, payload in messages
        for webhook_id in webhook_ids
    ]
    queries.insert_deliveries(session, rows)
    session.info[ANNOUNCED] = True


def forget_person(session: Session, person_id: str) -> None:
    """For an erasure: what was told about the person is emptied, and what was still to be told is not sent."""
    queries.forget_person(session, person_id)


def get(session: Session, webhook_id: str) -> Webhook:
    """The webhook, or 404."""
    webhook = queries.webhook_by_id(session, webhook_id)
    if webhook is None:
        raise ProblemError(404, "webhook_not_found", "There is no webhook with this id; GET /v1/webhooks lists them.")
    return webhook


def create(session: Session, new: schemas.WebhookCreate, caller: Principal, sealer: Sealer) -> tuple[Webhook, str]:
    """The new webhook and its secret, which is shown now and never again."""
    secret = _new_secret()
    webhook = Webhook(
        id=new_id("whk"),
        url=new.url,
        topics=list(new.topics),
        sealed_secret=sealer.seal(secret.encode()),
        active=True,
        created_at=utc_now(),
        created_by=caller.actor,
    )
    session.add(webhook)
    record(session, caller.actor, "webhook.created", webhook.id, {"topics": webhook.topics})
    return webhook, secret


def update(session: Session, webhook_id: str, update: schemas.WebhookUpdate, caller: Principal) -> Webhook:
    webhook = get(session, webhook_id)
    for name, value in update.changes.items():
        setattr(webhook, name, value)
    session.info[ANNOUNCED] = True  # what has waited for an address to become active is sent at once
    record(session, caller.actor, "webhook.updated", webhook_id, {"fields": sorted(update.changes)})
    return webhook


def rotate_secret(session: Session, webhook_id: str, caller: Principal, sealer: Sealer) -> tuple[Webhook, str]:
    """The webhook and its new secret; the old one signs nothing any more."""
    webhook, secret = get(session, webhook_id), _new_secret()
    webhook.sealed_secret = sealer.seal(secret.encode())
    record(session, caller.actor, "webhook.secret_rotated", webhook_id)
    return webhook, secret


def delete(database: Database, webhook_id: str, caller: Principal) -> None:
    """First nothing more is written for it, then its messages go bit by bit: captures wait for none of that."""
    with database.write() as session:
        get(session, webhook_id).active = False
    while True:
        with database.write() as session:
            if not queries.delete_of(session, webhook_id, _AT_ONCE):
                break
    with database.write() as session:
        session.delete(get(session, webhook_id))
        record(session, caller.actor, "webhook.deleted", webhook_id)


def replay_one(session: Session, webhook_id: str, delivery_id: int, caller: Principal) -> WebhookDelivery:
    """Make a message pending again; one that is pending anyway is sent at once, unless others go first."""
    delivery = queries.delivery(session, webhook_id, delivery_id)
    if delivery is None:
        raise ProblemError(404, "delivery_not_found", "This webhook has no delivery with this id.")
    if delivery.payload is None:
        raise ProblemError(409, "delivery_erased", "The person it told about was erased, and what it said with them.")
    if delivery.status == "pending":
        raise ProblemError(409, "delivery_pending", "It is still being tried; it is sent again by itself at due_at.")
    queries.make_pending(session, [delivery_id], utc_now())
    session.refresh(delivery)
    session.info[ANNOUNCED] = True
    record(session, caller.actor, "webhook.replayed", webhook_id, {"n_replayed": 1, "delivery_id": delivery_id})
    return delivery


def replay_many(database: Database, webhook_id: str, wanted: schemas.ReplayRequest, caller: Principal) -> int:
    """Make many messages pending again, bit by bit; returns how many."""
    statuses: Collection[schemas.Status] = ["dead"] if wanted.status else ["dead", "delivered"]
    with database.read() as session:
        get(session, webhook_id)
    n_replayed = after_id = 0
    while True:
        with database.write() as session:
            ids = _replay_some(session, webhook_id, statuses, wanted.since, after_id)
        if not ids:
            break
        n_replayed, after_id = n_replayed + len(ids), ids[-1]
    with database.write() as session:
        record(session, caller.actor, "webhook.replayed", webhook_id, {"n_replayed": n_replayed})
    return n_replayed


def target_of(webhook: Webhook, sealer: Sealer) -> Target:
    """Raises SealBrokenError where the deployment's secret is another one now."""
    return Target(webhook.id, webhook.url, sealer.open(webhook.sealed_secret).decode())


def view(webhook: Webhook) -> schemas.Webhook:
    return schemas.Webhook.model_validate(webhook)


def view_with_secret(webhook: Webhook, secret: str | None) -> schemas.WebhookWithSecret:
    return schemas.WebhookWithSecret(**view(webhook).model_dump(), secret=secret)


def delivery_view(delivery: WebhookDelivery) -> schemas.Delivery:
    names = schemas.Delivery.model_fields.keys() - {"message_id"}
    shown = {name: getattr(delivery, name) for name in names}
    return schemas.Delivery(**shown, message_id=message_id(delivery.webhook_id, delivery.id))


def _replay_some(
    session: Session, webhook_id: str, statuses: Collection[schemas.Status], since: datetime | None, after_id: int
) -> list[int]:
    ids = queries.replayable(session, webhook_id, statuses=statuses, since=since, after_id=after_id, n=_AT_ONCE)
    queries.make_pending(session, ids, utc_now())
    session.info[ANNOUNCED] = True
    return ids


def _new_secret() -> str:
    return f"whsec_{base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()}"
