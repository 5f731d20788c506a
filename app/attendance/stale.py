"""Works out anew the days that a changed holiday, roster or person may have changed."""

from collections.abc import Collection
from datetime import UTC, datetime, time
from typing import Final

import structlog

from app.attendance import queries
from app.attendance.ledger import Bookkeeper
from app.db.engine import Database
from app.logs import log_failure
from app.periodic import Periodic

_EVERY_S: Final = 2.0
_PEOPLE_AT_ONCE: Final = 500
# One person's in one transaction: a second, so that their captures wait no longer.
_DATES_AT_ONCE: Final = 60

log = structlog.get_logger(__name__)


class StaleDays:
    """Does so in one replica at a time, person by person, as long as there are any."""

    def __init__(self, database: Database, bookkeeper: Bookkeeper) -> None:
        self._database = database
        self._bookkeeper = bookkeeper
        self._periodic = Periodic("stale-days", self.work, _EVERY_S)

    def start(self) -> None:
        self._periodic.start()

    def stop(self) -> None:
        self._periodic.stop()

    def work(self) -> int:
        """Work out what is marked, or as much of it as there is time for before a stop; returns how many days."""
        if not self._people():
            return 0
        n_days = 0
        failed: set[str] = set()
        with self._database.alone("stale-days") as is_ours:
            while is_ours and not self._periodic.is_stopping and (people := self._people(failed)):
                n_days += sum(self._try(person_id, failed) for person_id in people if not self._periodic.is_stopping)
                log.info("days.recomputed", n_people=len(people), n_days=n_days)
        return n_days

    def _people(self, failed: Collection[str] = ()) -> list[str]:
        with self._database.read() as session:
            return queries.stale_people(session, _PEOPLE_AT_ONCE, failed)

    def _try(self, person_id: str, failed: set[str]) -> int:
        """Whoever cannot be worked out stops nobody else, and is tried again the next time."""
        try:
            return self._work_out(person_id)
        except Exception as error:
            log_failure(log, "days.not_recomputed", error, person_id=person_id)
            failed.add(person_id)
            return 0

    def _work_out(self, person_id: str) -> int:
        # The person is locked before the marks are taken: whoever marks holds that lock until the commit.
        with self._database.write() as session:
            queries.lock_people(session, {person_id})
            dates = queries.take_stale_dates(session, person_id, _DATES_AT_ONCE)
            self._bookkeeper.recompute(session, person_id, [datetime.combine(day, time(12), UTC) for day in dates])
        return len(dates)
