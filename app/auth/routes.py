"""`/v1/keys`."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from app.audit.service import record
from app.auth import queries, schemas, service
from app.auth.dependencies import AdminDep
from app.auth.scopes import Scope
from app.db.tables import ApiKey
from app.db.types import utc_now
from app.errors import ProblemError
from app.http.dependencies import DatabaseDep
from app.http.fields import Moment
from app.http.idempotency import Answer, IdempotencyDep, Store
from app.http.pagination import CursorCodec, Page, PageDep, cut_page

router = APIRouter(prefix="/v1/keys", tags=["Access"])

CURSOR: CursorCodec[tuple[datetime, str]] = CursorCodec(tuple[Moment, str])


@router.get("")
def list_keys(
    database: DatabaseDep,
    page: PageDep,
    _caller: AdminDep,
    active: Annotated[bool, Query(description="Leave out those that are revoked or expired.")] = False,
) -> Page[schemas.Key]:
    """Every key there is or was, newest first: what it is for, what it may do, when it was used; never its secret."""
    before, now = CURSOR.decode(page.cursor), utc_now()
    with database.read() as session:
        rows = queries.list_keys(session, active_at=now if active else None, before=before, limit=page.limit + 1)
    shown, next_cursor = cut_page(rows, page.limit, _cursor_of)
    return Page(items=[_view(key, now) for key in shown], next_cursor=next_cursor)


@router.post("", status_code=201, response_model=schemas.KeyWithSecret)
def create_key(
    new: schemas.KeyCreate, database: DatabaseDep, caller: AdminDep, idempotency: IdempotencyDep
) -> Response:
    """Makes a key. `secret` is shown in this answer alone. A camera's own key is made with the camera."""
    if new.expires_at is not None and new.expires_at <= utc_now():
        raise ProblemError(422, "expiry_past", "This key would be expired at once. Choose a time in the future.")

    def attempt(store: Store) -> Answer:
        with database.write() as session:
            key, secret = service.create_key(session, new.name, new.scope, new.expires_at)
            record(session, caller.actor, "key.created", key.id, {"scope": key.scope})
            fields, headers = _view(key, utc_now()).model_dump(), {"Location": f"/v1/keys/{key.id}"}
            store(session, Answer(201, schemas.KeyWithSecret(**fields, secret=None), headers))  # never stored
        return Answer(201, schemas.KeyWithSecret(**fields, secret=secret), headers)

    return idempotency.run(attempt)


@router.get("/{key_id}")
def get_key(key_id: str, database: DatabaseDep, _caller: AdminDep) -> schemas.Key:
    """One key, also if it was revoked: the audit log names it."""
    with database.read() as session:
        return _view(service.find_key(session, key_id), utc_now())


@router.delete("/{key_id}", status_code=204)
def revoke_key(key_id: str, database: DatabaseDep, caller: AdminDep) -> None:
    """Revokes a key: it is refused from its next request on, for good. It stays in the list."""
    with database.write() as session:
        if service.revoke_key(session, key_id):
            record(session, caller.actor, "key.revoked", key_id)


def _view(key: ApiKey, now: datetime) -> schemas.Key:
    return schemas.Key(
        id=key.id,
        name=key.name,
        scope=Scope(key.scope),
        made_for=service.made_for(key),
        camera_id=key.camera_id,
        is_active=service.is_active(key, now),
        created_at=key.created_at,
        last_used_at=key.last_used_at,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
    )


def _cursor_of(key: ApiKey) -> str:
    return CURSOR.encode((key.created_at, key.id))
