"""Somebody who is signed in, without the form. Every argument is a keyword."""

import secrets

from starlette.testclient import TestClient

from app.auth.scopes import Scope
from app.db.engine import Database
from app.settings import Settings
from app.users import service, sessions
from app.users.sessions import SessionLimits

# No password has this hash.
_NO_PASSWORD = "-"


def sign_in(
    *, client: TestClient, database: Database, role: str = "admin", name: str = "Anna", language: str = "en"
) -> dict[str, str]:
    """Gives the client a new user's cookie; returns the headers that its changes need."""
    limits = SessionLimits.of(Settings())
    username = f"{name.lower()}-{secrets.token_hex(4)}"
    with database.write() as session:
        user = service.create_user(session, username, name, Scope(role), _NO_PASSWORD, actor="test")
        token = sessions.begin(session, user, limits)
    client.cookies.set(sessions.COOKIE, token)
    client.cookies.set("rollcall_language", language)
    signed_in = sessions.find(database, token, limits)
    assert signed_in is not None
    return {sessions.CSRF_HEADER: signed_in.csrf_token}
