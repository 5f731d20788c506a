"""How long every page takes the server, with ten thousand people and a million events.

    python -m benchmarks.dashboard [--people 10000] [--events 1000000] [--database-url postgresql://…] [--json FILE]

Fills a new SQLite file, and the PostgreSQL database of the URL, which must be empty and is left filled; then asks every
page 20 times through the whole application, and counts its SQL statements. No networks are loaded but those that the
start needs. Pages over 200 ms at the 95th percentile are marked.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Final

import numpy as np
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table
from sqlalchemy import event, text
from starlette.testclient import TestClient

from app.auth.scopes import Scope
from app.db.engine import Database, open_database
from app.db.migrate import upgrade
from app.logs import configure_logging
from app.main import create_app
from app.settings import Settings
from app.users import service, sessions
from app.users.sessions import SessionLimits
from benchmarks.company import Company, fill

N_ASKED: Final = 20
SLOW_MS: Final = 200.0


@dataclass(frozen=True, slots=True)
class Measured:
    """One page. `status` is 200 unless something is wrong with it."""

    path: str
    status: int
    p50_ms: float
    p95_ms: float
    n_bytes: int
    n_statements: int


class Statements:
    """Counts what is sent to a database."""

    def __init__(self, database: Database) -> None:
        self.n = 0
        event.listen(database.engine, "before_cursor_execute", self._count)

    def _count(self, *_: object) -> None:
        self.n += 1


def main() -> None:
    options = _options()
    configure_logging(Settings(log_level="error"))
    urls = [None, *([options.database_url] if options.database_url else [])]
    report = {}
    for url in urls:
        with _filled(url, options.people, options.events) as (settings, company):
            name = "SQLite" if url is None else "PostgreSQL"
            report[name] = measure(settings, company)
            _show(name, report[name])
    if options.json:
        rows = {name: [asdict(each) for each in measured] for name, measured in report.items()}
        options.json.write_text(json.dumps({"options": vars(options) | {"json": str(options.json)}, **rows}, indent=1))
    sys.exit(1 if any(each.status != 200 for measured in report.values() for each in measured) else 0)


def measure(settings: Settings, company: Company) -> list[Measured]:
    """Every page, as an administrator sees it."""
    app = create_app(settings)
    with TestClient(app) as client:
        database: Database = app.state.database
        client.cookies.set(sessions.COOKIE, _signed_in(database, settings))
        statements = Statements(database)
        return [_asked(client, statements, path) for path in pages_of(company)]


def pages_of(company: Company) -> Iterator[str]:
    """The paths; lists also as they are after a search and far into the past."""
    person, day, last_month = company.person_id, company.last_day, company.last_day.replace(day=1)
    yield from ("/", "/attendance", f"/attendance?from={last_month}&to={day}", f"/attendance/{person}/{day}")
    yield from (f"/events/{company.event_id}", "/unknown", f"/unknown/{company.cluster_id}")
    yield from ("/people", "/people?query=person+77", "/people?query=nobody+at+all", f"/people/{person}")
    yield from ("/threshold", "/cameras", f"/cameras/{company.camera_id}", "/kiosk", "/models", "/jobs")
    yield from ("/settings", "/settings/sites", "/settings/shifts", f"/settings/shifts/{company.shift_id}")
    yield from ("/settings/webhooks", f"/settings/webhooks/{company.webhook_id}")
    yield from ("/users", "/keys", "/account", "/audit", "/audit?action=event.corrected")


def _asked(client: TestClient, statements: Statements, path: str) -> Measured:
    took_ms, answer, before = [], client.get(path), statements.n
    for _ in range(N_ASKED):
        started_s = perf_counter()
        answer = client.get(path)
        took_ms.append(1000 * (perf_counter() - started_s))
    n_statements = round((statements.n - before) / N_ASKED)
    p50_ms, p95_ms = np.percentile(took_ms, [50, 95])
    return Measured(path, answer.status_code, round(p50_ms, 1), round(p95_ms, 1), len(answer.content), n_statements)


def _signed_in(database: Database, settings: Settings) -> str:
    with database.write() as session:
        user = service.create_user(session, "benchmark", "Benchmark", Scope.ADMIN, "-", actor="benchmark")
        return sessions.begin(session, user, SessionLimits.of(settings))


@contextmanager
def _filled(url: str | None, n_people: int, n_events: int) -> Iterator[tuple[Settings, Company]]:
    with TemporaryDirectory() as folder:
        os.environ.setdefault("ROLLCALL_ENGINE", "torch/float32/1")
        secret = None if url is None else SecretStr(url)
        # A month old at most is kept; what is made here must not be cleared away while it is measured.
        settings = Settings(data_dir=Path(folder), database_url=secret, decision_retention_days=3650, workers=0)
        database = open_database(settings)
        upgrade(database.engine)
        company = fill(database, n_people=n_people, n_events=n_events, last_day=date.today())
        with database.engine.begin() as connection:
            connection.execute(text("ANALYZE"))
        database.dispose()
        yield settings, company


def _show(name: str, measured: Sequence[Measured]) -> None:
    table = Table("page", "status", "p50 ms", "p95 ms", "kB", "statements", "", title=name)
    for each in measured:
        mark = "SLOW" if each.p95_ms > SLOW_MS else "" if each.status == 200 else "FAILED"
        kilobytes, n = f"{each.n_bytes / 1000:.0f}", str(each.n_statements)
        table.add_row(each.path, str(each.status), f"{each.p50_ms:.0f}", f"{each.p95_ms:.0f}", kilobytes, n, mark)
    Console(width=140).print(table)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=10_000)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--database-url")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
