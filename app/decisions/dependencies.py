"""How a route gets the decision log."""

from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from app.decisions.log import DecisionLog


async def _log(request: Request) -> DecisionLog:
    log: DecisionLog = request.app.state.decision_log
    return log


DecisionLogDep = Annotated[DecisionLog, Depends(_log)]
