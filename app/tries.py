"""How often something secret may be wrong, PINs, badges and passwords alike: the rule, and the rows it is kept in.

A lock is twice as long as the one before it, until a day has passed. What is counted is named by a fingerprint, see
`Sealer.fingerprint`: the rows do not say who is there.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeVar

from sqlalchemy import delete, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from app.db.tables import LoginTries, PunchTries

Row = TypeVar("Row", PunchTries, LoginTries)

LOCKED_FOR: Final = timedelta(minutes=5)
LONGEST_LOCK: Final = timedelta(hours=1)
FORGOTTEN_AFTER: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Limit:
    """How many failures in which time lock."""

    most: int
    within: timedelta


def count(tries: PunchTries | LoginTries, limit: Limit, now: datetime) -> bool:
    """One more failure; whether it locks."""
    if locked_s(tries, now):
        return False
    if now - tries.since >= limit.within:
        tries.n_failures, tries.since = 0, now
    tries.n_failures += 1
    if tries.n_failures < limit.most:
        return False
    is_forgotten = tries.locked_until is None or now - tries.locked_until >= FORGOTTEN_AFTER
    tries.n_locks = 1 if is_forgotten else tries.n_locks + 1
    tries.locked_until = now + min(LONGEST_LOCK, LOCKED_FOR * 2 ** min(tries.n_locks - 1, 10))
    tries.n_failures = 0
    return True


def locked_s(tries: PunchTries | LoginTries | None, now: datetime) -> int:
    """Seconds until more can be tried, at least one; 0 where nothing is locked."""
    if tries is None or tries.locked_until is None or tries.locked_until <= now:
        return 0
    return max(1, round((tries.locked_until - now).total_seconds()))


def lock_row(session: Session, table: type[Row], subject: str, now: datetime) -> Row:
    """As they are now, to ourselves until the transaction ends; made where there were none."""
    insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    session.execute(
        insert(table)
        .values(subject=subject, n_failures=0, since=now, n_locks=0)
        .on_conflict_do_update(
            # Changes nothing, but holds the row: nobody can delete it before it is read.
            index_elements=["subject"],
            set_={"subject": subject},
        )
    )
    of = select(table).where(table.subject == subject)
    return session.scalars(of.with_for_update().execution_options(populate_existing=True)).one()


def delete_row(session: Session, table: type[Row], subject: str) -> None:
    """Whoever was right starts anew."""
    session.execute(delete(table).where(table.subject == subject))


def delete_old_rows(session: Session, table: type[Row], now: datetime) -> None:
    """Those that nothing has come to for so long that they count for nothing."""
    before = now - 2 * FORGOTTEN_AFTER
    is_over = or_(table.locked_until.is_(None), table.locked_until < before)
    session.execute(delete(table).where(table.since < before, is_over))
