"""What a route writes to say who may call it: `principal: OperatorDep`."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Security
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request

from app.auth.scopes import Principal, Scope
from app.auth.service import authenticate
from app.errors import ProblemError

# Only describe the two ways in OpenAPI: the secret is read by `presented_secret`.
API_KEY = APIKeyHeader(name="X-API-Key", scheme_name="ApiKey", auto_error=False)
BEARER = HTTPBearer(scheme_name="Bearer", auto_error=False)


def presented_secret(headers: Headers) -> str | None:
    """The secret in `X-API-Key` or `Authorization: Bearer`."""
    if key := headers.get("x-api-key"):
        return key.strip()
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


async def current_principal(
    request: Request, _key: Annotated[object, Security(API_KEY)], _bearer: Annotated[object, Security(BEARER)]
) -> Principal:
    """Who is calling; under /v1 `AuthenticationMiddleware` has already found out."""
    known: Principal | None = getattr(request.state, "principal", None)
    if known is None:
        known = await run_in_threadpool(authenticate, request.app.state.database, presented_secret(request.headers))
    return known


PrincipalDep = Annotated[Principal, Depends(current_principal)]


def require_scope(needed: Scope | str) -> Callable[[Principal], Awaitable[Principal]]:
    """For `Depends`: refuses with 403 a key whose scope does not include `needed`."""
    scope = Scope(needed)

    async def check(principal: PrincipalDep) -> Principal:
        if not principal.scope.includes(scope):
            detail = f"This needs a key of scope {scope.value}; yours has {principal.scope.value}."
            raise ProblemError(403, "scope_insufficient", detail)
        return principal

    return check


# In a route's `dependencies`, for whoever must be refused before anything else is looked at.
CAMERA = Depends(require_scope(Scope.CAMERA))
OPERATOR = Depends(require_scope(Scope.OPERATOR))

CameraDep = Annotated[Principal, CAMERA]
OperatorDep = Annotated[Principal, OPERATOR]
AdminDep = Annotated[Principal, Depends(require_scope(Scope.ADMIN))]
