"""`/health/live` and `/health/ready`; open to everybody, so they say nothing that is private."""

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.requests import Request

from app.health.service import failing_checks, ready_checks

router = APIRouter(prefix="/health", tags=["Operations"])


class Live(BaseModel):
    status: Literal["live"] = "live"


class Ready(BaseModel):
    status: Literal["ready"] = "ready"
    checks: dict[str, Literal["ok"]]


@router.get("/live")
async def live() -> Live:
    """The process answers. Restart it when this fails."""
    return Live()


@router.get("/ready")
def ready(request: Request) -> Ready:
    """Everything a request needs is there; 503 `not_ready` says what is missing. Send no traffic until then."""
    checks = ready_checks(request.app.state)
    if missing := failing_checks(checks):
        raise missing
    return Ready(checks=dict.fromkeys(checks, "ok"))
