"""All SQL about kept unknown faces and their clusters. How often decisions were wrong is counted in `labels`."""

import zlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeVar, TypeVarTuple

from sqlalchemy import ColumnElement, Select, delete, func, select, tuple_, update
from sqlalchemy.orm import Session

from app.db.tables import (
    AuditEntry,
    Camera,
    DecisionCandidate,
    DecisionRow,
    Event,
    Person,
    Site,
    Template,
    UnknownCluster,
    UnknownFace,
)
from app.identification.schemas import Candidate, PersonRef

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_LOCK: Final = zlib.crc32(b"rollcall unknown faces")
# Ids in one IN (...): below every database's limit on bound values.
_IDS_AT_ONCE: Final = 500
_LIKENESSES: Final = 3


@dataclass(frozen=True, slots=True)
class PendingFace:
    """A kept face that was not put to a cluster yet."""

    event_id: str
    capture_id: str | None
    model: str
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class MemberFace:
    """One of the best faces of a cluster that others are compared with."""

    event_id: str
    capture_id: str | None
    cluster_id: str


@dataclass(frozen=True, slots=True)
class Visit:
    """One event of a cluster."""

    cluster_id: str
    event_id: str
    occurred_at: datetime
    repeat_window_s: int
    duplicate_of: str | None


@dataclass(frozen=True, slots=True)
class ShownFace:
    """A kept face as it is listed, without its crop."""

    cluster_id: str
    event_id: str
    quality: float
    seen_at: datetime
    camera_id: str | None


def lock_clusters(session: Session) -> None:
    """Wait for whoever else puts faces to clusters or decides about one, until commit. SQLite has one writer anyway."""
    if session.get_bind().dialect.name != "sqlite":
        session.execute(select(func.pg_advisory_xact_lock(_LOCK)))


def has_pending(session: Session, now: datetime) -> bool:
    return session.scalars(_kept(select(UnknownFace.event_id), now).where(_IS_PENDING).limit(1)).first() is not None


def pending(session: Session, now: datetime, limit: int) -> list[PendingFace]:
    """The oldest first; of one picture they come together."""
    of = _kept(select(UnknownFace.event_id, Event.capture_id, UnknownFace.model, UnknownFace.seen_at), now)
    order = UnknownFace.seen_at, Event.capture_id, UnknownFace.event_id
    return [PendingFace(*row) for row in session.execute(of.where(_IS_PENDING).order_by(*order).limit(limit))]


def best_members(session: Session, model: str, now: datetime, *, of_each: int, limit: int) -> list[MemberFace]:
    """The best faces of each cluster that may get more, the latest seen first where there are too many."""
    rank = func.row_number().over(partition_by=UnknownFace.cluster_id, order_by=_BEST)
    columns = UnknownFace.event_id, Event.capture_id, UnknownFace.cluster_id, UnknownFace.seen_at
    of = _kept(select(*columns, rank.label("rank")), now).join(
        UnknownCluster, UnknownCluster.id == UnknownFace.cluster_id
    )
    found = of.where(UnknownFace.model == model, UnknownCluster.status.in_(("open", "dismissed"))).subquery()
    best = select(found.c.event_id, found.c.capture_id, found.c.cluster_id).where(found.c.rank <= of_each)
    rows = session.execute(best.order_by(found.c.seen_at.desc(), found.c.event_id).limit(limit))
    return [MemberFace(*row) for row in rows]


def sealed_embeddings(session: Session, event_ids: Collection[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for some in _portions(event_ids):
        rows = session.execute(
            select(UnknownFace.event_id, UnknownFace.sealed_embedding).where(UnknownFace.event_id.in_(some))
        )
        found.update((event_id, sealed) for event_id, sealed in rows)
    return found


def put(session: Session, cluster_of: dict[str, str]) -> None:
    """Write down which cluster each of these events' faces is in."""
    by_cluster: dict[str, list[str]] = {}
    for event_id, cluster_id in cluster_of.items():
        by_cluster.setdefault(cluster_id, []).append(event_id)
    for cluster_id, event_ids in by_cluster.items():
        is_one = UnknownFace.event_id.in_(event_ids)
        session.execute(update(UnknownFace).where(is_one).values(cluster_id=cluster_id))


def clusters(session: Session, cluster_ids: Collection[str]) -> list[UnknownCluster]:
    """As the database has them now."""
    found: list[UnknownCluster] = []
    for some in _portions(cluster_ids):
        of = select(UnknownCluster).where(UnknownCluster.id.in_(some))
        found += session.scalars(of.execution_options(populate_existing=True))
    return found


def cluster(session: Session, cluster_id: str) -> UnknownCluster | None:
    return next(iter(clusters(session, [cluster_id])), None)


def visits(session: Session, cluster_ids: Collection[str], now: datetime) -> list[Visit]:
    """The events of these clusters' faces, in order of time."""
    columns = UnknownFace.cluster_id, Event.id, Event.occurred_at, Event.repeat_window_s, Event.duplicate_of
    found: list[Visit] = []
    for some in _portions(cluster_ids):
        rows = session.execute(_kept(select(*columns), now).where(UnknownFace.cluster_id.in_(some)))
        found += [Visit(cluster_id or "", id_, at, window_s, first) for cluster_id, id_, at, window_s, first in rows]
    return sorted(found, key=lambda visit: (visit.cluster_id, visit.occurred_at, visit.event_id))


def lock_unnamed(session: Session, event_ids: Collection[str]) -> list[Event]:
    """Those of these events that still count and name nobody: until commit nobody else changes them."""
    found: list[Event] = []
    for some in _portions(sorted(event_ids)):
        of = select(Event).where(Event.id.in_(some), *_IS_UNNAMED)
        locked = of.order_by(Event.id).with_for_update(key_share=True)
        found += session.scalars(locked.execution_options(populate_existing=True))
    return found


def list_clusters(
    session: Session, *, status: str, before: tuple[datetime, str] | None, limit: int
) -> list[UnknownCluster]:
    """Last seen first."""
    order = UnknownCluster.last_seen_at.desc(), UnknownCluster.id.desc()
    of = select(UnknownCluster).where(UnknownCluster.status == status).order_by(*order).limit(limit)
    if before is not None:
        of = of.where(tuple_(UnknownCluster.last_seen_at, UnknownCluster.id) < before)
    return list(session.scalars(of))


def best_faces(
    session: Session, cluster_ids: Collection[str], now: datetime, of_each: int
) -> dict[str, list[ShownFace]]:
    """By cluster those of its faces that are still kept, the best first."""
    rank = func.row_number().over(partition_by=UnknownFace.cluster_id, order_by=_BEST).label("rank")
    columns = UnknownFace.cluster_id, UnknownFace.event_id, UnknownFace.quality, UnknownFace.seen_at, Event.camera_id
    found: dict[str, list[ShownFace]] = {}
    for some in _portions(cluster_ids):
        of = _kept(select(*columns, rank), now).where(UnknownFace.cluster_id.in_(some)).subquery()
        rows = session.execute(select(of).where(of.c.rank <= of_each).order_by(of.c.cluster_id, of.c.rank))
        for *face, _rank in rows:
            shown = ShownFace(*face)
            found.setdefault(shown.cluster_id, []).append(shown)
    return found


def cameras_of(session: Session, cluster_ids: Collection[str], now: datetime) -> dict[str, list[tuple[str, str]]]:
    """By cluster id and name of the cameras that saw the faces still kept."""
    found: dict[str, list[tuple[str, str]]] = {}
    for some in _portions(cluster_ids):
        of = _kept(select(UnknownFace.cluster_id, Camera.id, Camera.name).distinct(), now)
        rows = session.execute(
            of.join(Camera, Camera.id == Event.camera_id)
            .where(UnknownFace.cluster_id.in_(some))
            .order_by(Camera.name, Camera.id)
        )
        for cluster_id, camera_id, name in rows:
            found.setdefault(cluster_id or "", []).append((camera_id, name))
    return found


def likenesses(session: Session, event_ids: Collection[str]) -> dict[str, list[Candidate]]:
    """By event the people its face was nearest to, best first, without those who were erased."""
    columns = DecisionCandidate.decision_id, DecisionCandidate.score, Person.id, Person.employee_code, Person.name
    found: dict[str, list[Candidate]] = {}
    for some in _portions(event_ids):
        of = select(*columns).join(Person, Person.id == DecisionCandidate.person_id)
        among = of.where(DecisionCandidate.decision_id.in_(some), DecisionCandidate.rank <= _LIKENESSES)
        for event_id, score, person_id, code, name in session.execute(among.order_by(DecisionCandidate.rank)):
            person = PersonRef(id=person_id, employee_code=code, name=name)
            found.setdefault(event_id, []).append(Candidate(person=person, score=round(score, 6)))
    return found


def sealed_crop(session: Session, cluster_id: str, event_id: str, now: datetime) -> bytes | None:
    of = _kept(select(UnknownFace.sealed_crop), now)
    return session.scalars(of.where(UnknownFace.cluster_id == cluster_id, UnknownFace.event_id == event_id)).first()


def sealed_crops(session: Session, cluster_id: str, now: datetime, limit: int) -> list[tuple[str, bytes]]:
    """Event id and crop of a cluster's best faces."""
    of = _kept(select(UnknownFace.event_id, UnknownFace.sealed_crop), now).where(UnknownFace.cluster_id == cluster_id)
    return [(event_id, crop) for event_id, crop in session.execute(of.order_by(*_BEST).limit(limit))]


def event_ids_of(session: Session, cluster_id: str) -> list[str]:
    """Events of all the cluster's kept faces, whatever was said of them since."""
    of = select(UnknownFace.event_id).where(UnknownFace.cluster_id == cluster_id)
    return list(session.scalars(of.order_by(UnknownFace.event_id)))


def unnamed_events(session: Session, event_ids: Collection[str]) -> list[Event]:
    """Those of these events that count and still name nobody, in order of time."""
    found: list[Event] = []
    for some in _portions(event_ids):
        of = select(Event).where(Event.id.in_(some), *_IS_UNNAMED)
        found += session.scalars(of.execution_options(populate_existing=True))
    return sorted(found, key=lambda event: (event.occurred_at, event.id))


def decisions(session: Session, event_ids: Collection[str]) -> list[DecisionRow]:
    """The decisions behind those of these events that count and still name nobody."""
    unnamed = select(DecisionRow).join(Event, Event.id == DecisionRow.id).where(*_IS_UNNAMED)
    found: list[DecisionRow] = []
    for some in _portions(event_ids):
        found += session.scalars(unnamed.where(DecisionRow.id.in_(some)))
    return found


def unjudge(session: Session, cluster: UnknownCluster) -> None:
    """Take back what followed from a decided cluster for decisions, also for those whose faces have expired since."""
    follows = DecisionRow.judged_at == cluster.resolved_at, DecisionRow.judged_by == cluster.resolved_by
    session.execute(
        update(DecisionRow).where(*follows).values(is_correct=None, true_person_id=None, judged_at=None, judged_by=None)
    )


def enrolled_since(session: Session, person_ids: Collection[str]) -> dict[str, datetime]:
    """By person with templates when the oldest of them was made."""
    found: dict[str, datetime] = {}
    for some in _portions(person_ids):
        of = select(Template.person_id, func.min(Template.created_at)).where(Template.person_id.in_(some))
        found.update((person_id, since) for person_id, since in session.execute(of.group_by(Template.person_id)))
    return found


def delete_faces(session: Session, event_ids: Collection[str]) -> int:
    """Deletes crops and embeddings; returns how many there were."""
    n_deleted = 0
    for some in _portions(event_ids):
        gone = delete(UnknownFace).where(UnknownFace.event_id.in_(some)).returning(UnknownFace.event_id)
        n_deleted += len(session.scalars(gone).all())
    return n_deleted


def faces_of_person(session: Session, person_id: str) -> list[str]:
    """Kept faces whose event somebody has said to be this person's, or that were likest to them among everybody."""
    of = select(UnknownFace.event_id).join(Event, Event.id == UnknownFace.event_id)
    is_likest = (DecisionCandidate.person_id == person_id) & (DecisionCandidate.rank == 1)
    likest = select(DecisionCandidate.decision_id).where(is_likest)
    return list(session.scalars(of.where((Event.person_id == person_id) | Event.id.in_(likest))))


def retention_days(session: Session) -> dict[str, int]:
    """By site how long it keeps unknown faces."""
    return {site_id: days for site_id, days in session.execute(select(Site.id, Site.unknown_days))}


def overdue_faces(session: Session, now: datetime, days_of: dict[str, int], limit: int) -> list[str]:
    """Faces that are to be kept no longer: expired, by their site's rule of today, or not unknown any more."""
    joined = select(UnknownFace.event_id).join(Event, Event.id == UnknownFace.event_id)
    conditions: list[ColumnElement[bool]] = [
        UnknownFace.expires_at <= now,
        Event.person_id.is_not(None),
        Event.is_deleted.is_(True),
    ]
    for site_id, days in days_of.items():
        is_too_old = UnknownFace.seen_at <= now - timedelta(days=days)
        conditions.append((Event.site_id == site_id) & is_too_old if days else Event.site_id == site_id)
    found: list[str] = []
    for condition in conditions:
        found += session.scalars(joined.where(condition).limit(limit - len(found)))
    return list(dict.fromkeys(found))


def delete_empty_clusters(session: Session) -> int:
    """Deletes the open clusters of which no face is kept any more."""
    kept = select(UnknownFace.event_id).where(UnknownFace.cluster_id == UnknownCluster.id).exists()
    empty = delete(UnknownCluster).where(UnknownCluster.status == "open", ~kept)
    return len(session.scalars(empty.returning(UnknownCluster.id).execution_options(synchronize_session=False)).all())


def was_viewed(session: Session, cluster_id: str, actor: str, action: str, since: datetime) -> bool:
    """Whether the audit log has it that this actor looked at the cluster lately."""
    newest = select(func.max(AuditEntry.id)).scalar_subquery()
    recent = AuditEntry.id > newest - 10_000  # by the primary key: the log has no index on what was done
    of = select(AuditEntry.id).where(recent, AuditEntry.at >= since, AuditEntry.action == action)
    return session.scalars(of.where(AuditEntry.target == cluster_id, AuditEntry.actor == actor)).first() is not None


_IS_UNNAMED: Final = (Event.person_id.is_(None), Event.is_deleted.is_(False))
_IS_PENDING: Final = UnknownFace.cluster_id.is_(None)
_BEST: Final = (UnknownFace.quality.desc(), UnknownFace.seen_at, UnknownFace.event_id)


def _kept(statement: Select[*Ts], now: datetime) -> Select[*Ts]:
    """Faces that have not expired, of events that still are nobody's."""
    joined = statement.select_from(UnknownFace).join(Event, Event.id == UnknownFace.event_id)
    return joined.where(UnknownFace.expires_at > now, *_IS_UNNAMED)


def _portions(ids: Collection[T]) -> Iterator[Sequence[T]]:
    all_ids = list(ids)
    for start in range(0, len(all_ids), _IDS_AT_ONCE):
        yield all_ids[start : start + _IDS_AT_ONCE]
