import threading
from datetime import timedelta

import pytest
from fastapi import Depends, FastAPI
from sqlalchemy import event, select, update
from starlette.testclient import TestClient

from app.auth.dependencies import require_scope
from app.auth.scopes import Scope
from app.auth.service import create_key, ensure_first_admin_key, revoke_key
from app.db.engine import Database
from app.db.tables import ApiKey
from app.db.types import utc_now
from app.errors import ProblemError
from tests.app.factories import make_headers

ALLOWED = {"camera": ["camera"], "operator": ["camera", "operator"], "admin": ["camera", "operator", "admin"]}


@pytest.mark.parametrize("needed", Scope)
@pytest.mark.parametrize("held", Scope)
def test_a_scope_includes_the_ones_below_it(
    app: FastAPI, client: TestClient, database: Database, held: str, needed: str
) -> None:
    app.add_api_route("/v1/needs", lambda: "ok", dependencies=[Depends(require_scope(needed))])
    response = client.get("/v1/needs", headers=make_headers(database=database, scope=held))
    if needed in ALLOWED[held]:
        assert response.json() == "ok"
    else:
        assert (response.status_code, response.json()["code"]) == (403, "scope_insufficient")


def test_a_key_may_also_come_as_a_bearer_token(client: TestClient, admin: dict[str, str]) -> None:
    secret = admin["X-API-Key"]
    assert client.get("/v1/people", headers={"Authorization": f"Bearer {secret}"}).status_code == 200
    assert client.get("/v1/people", headers={"Authorization": f"bearer {secret} "}).status_code == 200
    assert client.get("/v1/people", headers={"Authorization": f"Basic {secret}"}).status_code == 401


@pytest.mark.parametrize("headers", [{}, {"X-API-Key": ""}, {"Authorization": "Bearer"}])
def test_without_a_key_one_is_asked_for(client: TestClient, headers: dict[str, str]) -> None:
    response = client.get("/v1/people", headers=headers)
    assert (response.status_code, response.json()["code"]) == (401, "key_missing")
    assert "Bearer" in response.headers["www-authenticate"]


def test_a_wrong_key_is_refused(client: TestClient) -> None:
    for secret in ("rck_wrong", "ä", "' OR 1=1"):
        response = client.get("/v1/people", headers=[(b"X-API-Key", secret.encode())])
        assert (response.status_code, response.json()["code"]) == (401, "key_unknown")


def test_an_expired_key_is_refused(client: TestClient, database: Database) -> None:
    expired = make_headers(database=database, expires_at=utc_now() - timedelta(seconds=1))
    assert client.get("/v1/people", headers=expired).json()["code"] == "key_unknown"
    later = make_headers(database=database, expires_at=utc_now() + timedelta(hours=1))
    assert client.get("/v1/people", headers=later).status_code == 200


def test_a_revoked_key_is_refused_at_once(client: TestClient, database: Database) -> None:
    with database.write() as session:
        key, secret = create_key(session, "gate", Scope.ADMIN)
    assert client.get("/v1/people", headers={"X-API-Key": secret}).status_code == 200
    with database.write() as session:
        revoke_key(session, key.id)
    assert client.get("/v1/people", headers={"X-API-Key": secret}).json()["code"] == "key_unknown"
    with pytest.raises(ProblemError), database.write() as session:
        revoke_key(session, "key_none")


def test_only_the_hash_of_a_secret_is_stored(database: Database) -> None:
    with database.write() as session:
        _, secret = create_key(session, "gate", Scope.CAMERA)
    with database.read() as session:
        stored = [str(value) for row in session.execute(select(ApiKey.__table__)) for value in row]
    assert secret.startswith("rck_") and len(secret) == 47
    assert not any(secret in value or secret[4:] in value for value in stored)


def test_use_is_noted_at_most_once_a_minute(client: TestClient, database: Database, admin: dict[str, str]) -> None:
    updates: list[str] = []
    event.listen(
        database.engine,
        "before_cursor_execute",
        lambda _c, _cursor, statement, *_rest: updates.append(statement) if "UPDATE api_keys" in statement else None,
    )
    for _ in range(3):
        client.get("/v1/people", headers=admin)
    assert len(updates) == 1
    with database.write() as session:
        session.execute(update(ApiKey).values(last_used_at=utc_now() - timedelta(minutes=2)))
    updates.clear()
    client.get("/v1/people", headers=admin)
    with database.read() as session:
        (last_used_at,) = session.scalars(select(ApiKey.last_used_at))
    assert len(updates) == 1
    assert last_used_at is not None and utc_now() - last_used_at < timedelta(minutes=1)


def test_the_first_admin_key_is_made_once_even_by_replicas_that_start_together(database: Database) -> None:
    late: list[str | None] = []

    def start_late() -> None:
        with database.write() as session:
            secret = ensure_first_admin_key(session)
        late.append(secret)

    replica = threading.Thread(target=start_late)
    with database.write() as session:
        first = ensure_first_admin_key(session)
        replica.start()
        replica.join(0.3)  # it cannot go on before we commit
        assert replica.is_alive()
    replica.join()
    assert first is not None
    assert late == [None]
    with database.read() as session:
        assert session.scalars(select(ApiKey.scope)).all() == ["admin"]


def test_no_first_admin_key_is_made_where_a_key_exists(database: Database, camera: dict[str, str]) -> None:
    with database.write() as session:
        assert ensure_first_admin_key(session) is None
