"""What routes about users ask for by type."""

from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from app.auth.dependencies import OperatorDep
from app.auth.scopes import Principal
from app.errors import ProblemError
from app.http.dependencies import DatabaseDep, PasswordHasherDep, SealerDep, SettingsDep
from app.users.gate import Gate
from app.users.sessions import COOKIE, SessionLimits
from app.users.tries import Tries


async def _tries(database: DatabaseDep, sealer: SealerDep) -> Tries:
    return Tries(database, sealer)


TriesDep = Annotated[Tries, Depends(_tries)]


async def _gate(database: DatabaseDep, hasher: PasswordHasherDep, tries: TriesDep, settings: SettingsDep) -> Gate:
    return Gate(database, hasher, tries, SessionLimits.of(settings))


async def _user(caller: OperatorDep) -> Principal:
    if caller.kind != "user":
        detail = "A key has no password and no sessions. Sign in, and do this on the page Account."
        raise ProblemError(403, "session_needed", detail)
    return caller


async def _cookie(request: Request, _caller: Annotated[Principal, Depends(_user)]) -> str:
    return request.cookies[COOKIE]  # what made the caller a user


GateDep = Annotated[Gate, Depends(_gate)]
UserDep = Annotated[Principal, Depends(_user)]
"""Somebody who is signed in: keys are refused, whatever their scope."""
CookieDep = Annotated[str, Depends(_cookie)]
"""Their session's cookie."""
