"""Structured logs: dotted events with fields, for our own lines and for those of uvicorn and every library.

Never an image, embedding, name or token. Two things could leak one: a query string (so uvicorn's access log is replaced
by `http.request`) and the text of an exception that quotes its input (so `safe_traceback` leaves that text out).
"""

import logging
import sys
import traceback
from typing import Any

import structlog
from fastapi.exceptions import ValidationException
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError
from structlog.types import EventDict, Processor

from app.errors import DATABASE_AWAY
from app.settings import Settings


def configure_logging(settings: Settings) -> None:
    """Sets up the process's logging; called once by the commands, after settings are known."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        render_exception,
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    _route_stdlib(settings, shared)


def _route_stdlib(settings: Settings, shared: list[Processor]) -> None:
    renderer: Processor = structlog.processors.JSONRenderer() if settings.log_json else _console()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.PositionalArgumentsFormatter(), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=settings.log_level.upper(), force=True)
    # What they say at the information level is about their own insides, or an address that may hold a token.
    for name in ("alembic", "faiss", "httpx"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = name != "uvicorn.access"


def _console() -> Processor:
    return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())


def log_failure(log: Any, event: str, error: Exception, **fields: Any) -> None:
    """Say what went wrong in the background: with its stack, unless the database is away, which everybody will say."""
    if isinstance(error, DATABASE_AWAY):
        log.warning(event, reason=safe_message(error), error=type(error).__name__, **fields)
    else:
        log.error(event, exc_info=error, **fields)


def render_exception(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Structlog processor: puts `safe_traceback` in place of the exception."""
    exc_info = event.pop("exc_info", None)
    if exc_info is True:
        exc_info = sys.exc_info()
    if isinstance(exc_info, tuple):
        exc_info = exc_info[1]
    if isinstance(exc_info, BaseException):
        event["exception"] = safe_traceback(exc_info)
    return event


def safe_traceback(exc: BaseException) -> str:
    """The stack of an exception and its causes, without the text of those that quote values."""
    cause = exc.__cause__ or (None if exc.__suppress_context__ else exc.__context__)
    above = safe_traceback(cause) + "\n" if cause is not None else ""
    frames = "".join(traceback.format_tb(exc.__traceback__))
    return f"{above}{frames}{type(exc).__name__}: {safe_message(exc)}"


def safe_message(exc: BaseException) -> str:
    if isinstance(exc, ValidationException | ValidationError):
        return "(values left out)"
    if isinstance(exc, DBAPIError):  # PostgreSQL quotes the offending row from the second line on
        return str(exc.orig).partition("\n")[0]
    return str(exc)
