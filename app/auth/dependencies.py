"""What a route writes to say who may call it: `principal: OperatorDep`."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Security
from fastapi.security import APIKeyCookie, APIKeyHeader, HTTPBearer
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request

from app.auth.scopes import Principal, Scope
from app.auth.service import authenticate
from app.errors import ProblemError
from app.users.sessions import COOKIE, CSRF_HEADER

# Only describe the ways in OpenAPI: the secret is read by `presented_secret`, the cookie by `AuthenticationMiddleware`.
API_KEY = APIKeyHeader(name="X-API-Key", scheme_name="ApiKey", auto_error=False)
BEARER = HTTPBearer(scheme_name="Bearer", auto_error=False)
SESSION = APIKeyCookie(
    name=COOKIE,
    scheme_name="Session",
    description=f"Whoever has signed in to the dashboard. All but GET need the page's token in `{CSRF_HEADER}`, too.",
    auto_error=False,
)


def presented_secret(headers: Headers) -> str | None:
    """The secret in `X-API-Key` or `Authorization: Bearer`."""
    if key := headers.get("x-api-key"):
        return key.strip()
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


async def current_principal(
    request: Request,
    _key: Annotated[object, Security(API_KEY)],
    _bearer: Annotated[object, Security(BEARER)],
    _session: Annotated[object, Security(SESSION)],
) -> Principal:
    """Who is calling; under /v1 `AuthenticationMiddleware` has already found out."""
    known: Principal | None = getattr(request.state, "principal", None)
    if known is None:
        known = await run_in_threadpool(authenticate, request.app.state.database, presented_secret(request.headers))
    return known


PrincipalDep = Annotated[Principal, Depends(current_principal)]


@dataclass(frozen=True, slots=True)
class ScopeNeeded:
    """For `Depends`: refuses with 403 a caller whose scope does not include `scope`."""

    scope: Scope

    async def __call__(self, principal: PrincipalDep) -> Principal:
        if not principal.scope.includes(self.scope):
            detail = f"This needs a key of scope {self.scope.value}; yours has {principal.scope.value}."
            if principal.kind == "user":
                detail = "Only administrators may do this."
            raise ProblemError(403, "scope_insufficient", detail)
        return principal


def require_scope(needed: Scope | str) -> ScopeNeeded:
    """For `Depends`; an operation's scope can be read from its dependencies."""
    return ScopeNeeded(Scope(needed))


# In a route's `dependencies`, for whoever must be refused before anything else is looked at.
CAMERA = Depends(require_scope(Scope.CAMERA))
OPERATOR = Depends(require_scope(Scope.OPERATOR))

CameraDep = Annotated[Principal, CAMERA]
OperatorDep = Annotated[Principal, OPERATOR]
AdminDep = Annotated[Principal, Depends(require_scope(Scope.ADMIN))]
