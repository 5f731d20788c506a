"""What came to the ledger since it was looked at last, from whichever replica, whatever order it was committed in."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from time import monotonic
from typing import Final

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from app.db.tables import Event, EventCorrection
from app.db.types import utc_now

# An event is dated by when its request came and is there when that is committed: within seconds as a rule. The lines of
# a batch are dated by when the batch came, and are recorded for minutes.
SOON: Final = timedelta(seconds=45)
_LATE: Final = timedelta(minutes=15)
_LOOK_FOR_LATE_S: Final = 5.0
# Numbers are given before commits, so that a higher one may be there first.
_CORRECTIONS: Final = 200


@dataclass(slots=True)
class Newcomers:
    """Remembers what it has told of: a few minutes' ids."""

    seen: dict[str, datetime] = field(default_factory=dict)
    corrections: set[int] = field(default_factory=set)
    has_begun: bool = False
    late_looked_s: float = 0.0

    def look(self, session: Session) -> tuple[list[str], set[str]]:
        """Ids of new events, in the order they came, and of those that were corrected; nothing at the first look."""
        is_late_due = monotonic() - self.late_looked_s >= _LOOK_FOR_LATE_S
        rows = events_since(session, utc_now() - (_LATE if is_late_due else SOON))
        corrected = self._corrected(session)
        new = [id_ for id_, _ in rows if id_ not in self.seen] if self.has_begun else []
        self.seen.update(rows)
        if is_late_due:
            self.late_looked_s = monotonic()
            self.seen = dict(rows)
        changed = corrected - set(new) if self.has_begun else set()
        self.has_begun = True
        return new, changed

    def _corrected(self, session: Session) -> set[str]:
        newest = select(EventCorrection.id, EventCorrection.event_id).order_by(EventCorrection.id.desc())
        rows = session.execute(newest.limit(_CORRECTIONS)).all()
        found = {event_id for id_, event_id in rows if id_ not in self.corrections}
        self.corrections = {id_ for id_, _ in rows}
        return found


def events_since(session: Session, at: datetime) -> list[tuple[str, datetime]]:
    """Ids, and when they came, the earliest first."""
    of = select(Event.id, Event.received_at).where(Event.received_at >= at).order_by(Event.received_at, Event.id)
    return [(id_, received_at) for id_, received_at in session.execute(of)]


def newest_since(session: Session, at: datetime, n: int) -> list[str]:
    """Ids of the last `n`, the earliest first."""
    of = select(Event.id).where(Event.received_at >= at).order_by(Event.received_at.desc(), Event.id.desc()).limit(n)
    return list(session.scalars(of))[::-1]


def is_more_than(session: Session, n: int, at: datetime, event_id: str) -> bool:
    """Whether more than `n` came after this event, which came at `at`: in the order of the page's newest one."""
    is_after = or_(Event.received_at > at, and_(Event.received_at == at, Event.id > event_id))
    of = select(Event.id).where(Event.received_at >= at, is_after).order_by(Event.received_at, Event.id)
    return session.scalars(of.offset(n).limit(1)).first() is not None


def came_at(session: Session, event_id: str) -> datetime | None:
    """When an event came; None where there is none."""
    return session.scalars(select(Event.received_at).where(Event.id == event_id)).one_or_none()
