"""Webhooks: who is told about events and days, and how that went."""

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import HTMLResponse

from app.dashboard.frame.pages import render
from app.dashboard.frame.visitor import AdminVisitorDep
from app.db.types import utc_now
from app.http.dependencies import DatabaseDep, SettingsDep
from app.http.pagination import PageRequest
from app.webhooks import queries, service
from app.webhooks.routes import list_deliveries, list_webhooks
from app.webhooks.schemas import TOPICS, Status

router = APIRouter(include_in_schema=False)

_AT_ONCE: Final = 50
# Counted no further: a thousand that were given up say as much as a million.
_COUNTED: Final = 1000


@router.get("/settings/webhooks")
def webhooks_page(
    request: Request,
    visitor: AdminVisitorDep,
    database: DatabaseDep,
    cursor: Annotated[str | None, Query(max_length=500)] = None,
) -> HTMLResponse:
    page = list_webhooks(database, PageRequest(_AT_ONCE, cursor), visitor.principal)
    with database.read() as session:
        waiting, dead = queries.in_trouble(session, [webhook.id for webhook in page.items])
    return render(request, visitor, "settings_webhooks.html", page=page, waiting=waiting, dead=dead, topics=TOPICS)


@router.get("/settings/webhooks/{webhook_id}")
def webhook_page(
    request: Request,
    visitor: AdminVisitorDep,
    database: DatabaseDep,
    settings: SettingsDep,
    webhook_id: str,
    status: Status | None = None,
    cursor: Annotated[str | None, Query(max_length=500)] = None,
) -> HTMLResponse:
    page = list_deliveries(webhook_id, database, PageRequest(_AT_ONCE, cursor), visitor.principal, status)
    with database.read() as session:
        webhook = service.view(service.get(session, webhook_id))
        n_pending = queries.n_with_status(session, webhook_id, "pending", _COUNTED)
        n_dead = queries.n_with_status(session, webhook_id, "dead", _COUNTED)
    return render(
        request,
        visitor,
        "settings_webhook.html",
        webhook=webhook,
        page=page,
        shown=status,
        n_pending=n_pending,
        n_dead=n_dead,
        counted=_COUNTED,
        now=utc_now(),
        kept_days=settings.webhook_retention_days,
        topics=TOPICS,
    )
