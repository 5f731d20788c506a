"""What must be true before the service takes traffic."""

from collections.abc import Callable, Mapping

import structlog
from starlette.datastructures import State

from app.db.engine import Database
from app.db.migrate import current_revision, head_revision
from app.errors import RETRY_AFTER_S, FieldError, ProblemError
from app.logs import safe_traceback

Check = Callable[[], str | None]
"""None when all is well, else what is missing, in words that anybody may read."""

log = structlog.get_logger(__name__)


def ready_checks(state: State) -> dict[str, Check]:
    """The database's own checks, and whatever the application put into `app.state.readiness`."""
    database: Database = state.database
    readiness: dict[str, Check] = state.readiness
    return {"database": lambda: _database(database), "migrations": lambda: _migrations(database), **readiness}


def failing_checks(checks: Mapping[str, Check]) -> ProblemError | None:
    """The refusal that lists every check that fails; None when none does."""
    failures = {name: failure for name, check in checks.items() if (failure := _run(name, check)) is not None}
    if not failures:
        return None
    errors = [FieldError(loc=[name], msg=failure) for name, failure in failures.items()]
    detail = f"Not ready: {', '.join(failures)}."
    return ProblemError(503, "not_ready", detail, headers={"Retry-After": str(RETRY_AFTER_S)}, errors=errors)


def _run(name: str, check: Check) -> str | None:
    try:
        return check()
    except Exception as exc:  # whatever it is, the service is not ready and should say which part
        log.warning("health.check_failed", check=name, exception=safe_traceback(exc))
        return "The check itself failed; the log has the reason."


def _database(database: Database) -> str | None:
    with database.engine.connect() as connection:
        connection.exec_driver_sql("SELECT 1")
    return None


def _migrations(database: Database) -> str | None:
    with database.engine.connect() as connection:
        found = current_revision(connection)
    expected = head_revision()
    return None if found == expected else f"The database is at {found}, this release needs {expected}."
