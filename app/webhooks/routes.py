"""`/v1/webhooks`."""

import asyncio
from datetime import datetime
from time import perf_counter
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import Field
from starlette.responses import Response

from app.auth.dependencies import AdminDep
from app.db.tables import Webhook
from app.db.types import new_id, utc_now
from app.errors import ProblemError
from app.http.dependencies import DatabaseDep, SealerDep
from app.http.fields import Moment
from app.http.idempotency import Answer, IdempotencyDep, Store
from app.http.pagination import MAX_ID, CursorCodec, Page, PageDep, cut_page
from app.sealing import SealBrokenError, Sealer
from app.webhooks import queries, schemas, service
from app.webhooks.delivery import Message, Outcome, Target, new_client, send
from app.webhooks.pace import Pace

router = APIRouter(prefix="/v1/webhooks", tags=["Webhooks"])

CURSOR: CursorCodec[tuple[datetime, str]] = CursorCodec(tuple[Moment, str])
DELIVERY_CURSOR: CursorCodec[int] = CursorCodec(Annotated[int, Field(ge=0, le=MAX_ID)])

DeliveryId = Annotated[int, Path(ge=1, le=MAX_ID)]


@router.post("", status_code=201, response_model=schemas.WebhookWithSecret)
def create_webhook(
    new: schemas.WebhookCreate, database: DatabaseDep, sealer: SealerDep, caller: AdminDep, idempotency: IdempotencyDep
) -> Response:
    """Adds an address that is told about events and days from now on.

    Messages are signed as standardwebhooks.com says, with the `secret` of this answer, which is shown this once.
    Each is `{"type": topic, "timestamp": …, "data": {…}}`; it comes at least once, and those about one person in
    order. Any 2xx within ten seconds is a yes; 410 switches the address off; everything else is tried again.

    What is told about one event may come out of order when it passes from one person to another, or is nobody's: keep,
    for each `event_id`, what has the highest `version`, and of two that are equal the one with the later `timestamp`.
    Whoever an event is taken from is told so by an `event.changed` without a person. Days have a `version`, too.
    """

    def attempt(store: Store) -> Answer:
        with database.write() as session:
            webhook, secret = service.create(session, new, caller, sealer)
            # A stored answer lies in the database as it is: the secret must not.
            store(session, _created(webhook, None))
        return _created(webhook, secret)

    return idempotency.run(attempt)


@router.get("")
def list_webhooks(database: DatabaseDep, page: PageDep, _caller: AdminDep) -> Page[schemas.Webhook]:
    """Addresses that are told about events and days, oldest first."""
    with database.read() as session:
        rows = queries.list_webhooks(session, after=CURSOR.decode(page.cursor), limit=page.limit + 1)
    shown, next_cursor = cut_page(rows, page.limit, lambda row: CURSOR.encode((row.created_at, row.id)))
    return Page(items=[service.view(webhook) for webhook in shown], next_cursor=next_cursor)


@router.get("/{webhook_id}")
def get_webhook(webhook_id: str, database: DatabaseDep, _caller: AdminDep) -> schemas.Webhook:
    """One address."""
    with database.read() as session:
        return service.view(service.get(session, webhook_id))


@router.patch("/{webhook_id}")
def update_webhook(
    webhook_id: str, update: schemas.WebhookUpdate, database: DatabaseDep, caller: AdminDep
) -> schemas.Webhook:
    """Changes the fields that are sent, from the next message on. What waits for an address follows a new `url`."""
    with database.write() as session:
        return service.view(service.update(session, webhook_id, update, caller))


@router.delete("/{webhook_id}", status_code=204)
def delete_webhook(webhook_id: str, database: DatabaseDep, caller: AdminDep) -> None:
    """Deletes an address with everything that it was or would be told."""
    service.delete(database, webhook_id, caller)


@router.post("/{webhook_id}/rotate-secret")
def rotate_secret(
    webhook_id: str, database: DatabaseDep, sealer: SealerDep, caller: AdminDep
) -> schemas.WebhookWithSecret:
    """Makes a new signing secret, shown this once; from now on nothing is signed with the old one."""
    with database.write() as session:
        webhook, secret = service.rotate_secret(session, webhook_id, caller, sealer)
    return service.view_with_secret(webhook, secret)


@router.post("/{webhook_id}/test")
def test_webhook(webhook_id: str, database: DatabaseDep, sealer: SealerDep, _caller: AdminDep) -> schemas.TestResult:
    """Sends a signed message with the topic `ping` now, once, and says what came back; nothing of its body."""
    with database.read() as session:
        target = _target(service.get(session, webhook_id), sealer)
    message = Message(new_id("msg"), "ping", utc_now(), {"webhook_id": webhook_id})
    began_s = perf_counter()
    outcome = asyncio.run(_send_once(target, message))
    took_ms = round(1000 * (perf_counter() - began_s), 1)
    return schemas.TestResult(
        is_delivered=outcome.is_delivered, status=outcome.status, error=outcome.error, took_ms=took_ms
    )


@router.get("/{webhook_id}/deliveries")
def list_deliveries(
    webhook_id: str,
    database: DatabaseDep,
    page: PageDep,
    _caller: AdminDep,
    status: schemas.Status | None = None,
) -> Page[schemas.Delivery]:
    """Messages to one address, newest first."""
    before_id = DELIVERY_CURSOR.decode(page.cursor)
    with database.read() as session:
        service.get(session, webhook_id)
        rows = queries.list_deliveries(session, webhook_id, status=status, before_id=before_id, limit=page.limit + 1)
    shown, next_cursor = cut_page(rows, page.limit, lambda row: DELIVERY_CURSOR.encode(row.id))
    return Page(items=[service.delivery_view(row) for row in shown], next_cursor=next_cursor)


@router.post("/{webhook_id}/deliveries/{delivery_id}/replay")
def replay_delivery(
    webhook_id: str, delivery_id: DeliveryId, database: DatabaseDep, caller: AdminDep
) -> schemas.Delivery:
    """Sends a message once more that was delivered or given up, under the same `message_id`."""
    with database.write() as session:
        return service.delivery_view(service.replay_one(session, webhook_id, delivery_id, caller))


@router.post("/{webhook_id}/replay")
def replay_deliveries(
    webhook_id: str, wanted: schemas.ReplayRequest, database: DatabaseDep, caller: AdminDep
) -> schemas.ReplayResult:
    """Sends many messages once more, those about one person in their order: the dead ones, or all since some time."""
    return schemas.ReplayResult(n_replayed=service.replay_many(database, webhook_id, wanted, caller))


def _target(webhook: Webhook, sealer: Sealer) -> Target:
    try:
        return service.target_of(webhook, sealer)
    except SealBrokenError:
        detail = "Its secret was sealed with another ROLLCALL_SECRET_KEY: give that back, or rotate the secret."
        raise ProblemError(409, "secret_unreadable", detail) from None


async def _send_once(target: Target, message: Message) -> Outcome:
    async with new_client(1) as client:
        return await send(client, target, message, Pace().timeout_s)


def _created(webhook: Webhook, secret: str | None) -> Answer:
    return Answer(201, service.view_with_secret(webhook, secret), {"Location": f"/v1/webhooks/{webhook.id}"})
