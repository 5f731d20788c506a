"""Puts kept unknown faces to clusters, in the background and before they are listed.

Which faces belong together is worked out in the transaction that writes it down, under a lock that all replicas share:
two at once would make two clusters of one stranger. What takes time, opening the seals, is done before.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from threading import Lock
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from app.attendance.ledger import stand_alone
from app.db.engine import Database
from app.db.tables import UnknownCluster
from app.db.types import new_id, utc_now
from app.inference.port import Inference
from app.review import queries, service
from app.review.embeddings import OpenEmbeddings
from app.review.linkage import Faces, Members, first_of_presence, link
from app.review.queries import MemberFace, PendingFace, Visit
from app.sealing import Sealer
from app.webhooks.payloads import event_payload
from app.webhooks.queries import event_versions
from app.webhooks.service import announce_all
from ml.types import FloatArray

# Put to clusters in one transaction: some ten milliseconds, in which nobody else writes to SQLite.
_AT_ONCE: Final = 200
# Faces of a cluster that others are compared with; whoever comes every day is known by the best of them.
_OF_EACH: Final = 10
# Faces that others are compared with: 10 MB of 256 numbers each, opened in a second.
_MOST_COMPARED: Final = 10_000
_SAME_VISIT: Final = " The same visitor was seen shortly before."


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    """Faces to be put to clusters, and those to compare them with."""

    pending: Sequence[PendingFace]
    members: Sequence[MemberFace]

    @property
    def event_ids(self) -> list[str]:
        return [each.event_id for each in self.members] + [each.event_id for each in self.pending]


class Clusterer:
    """Puts to clusters whatever waits for it. One run at a time in this process; `lock_clusters` sees to the others."""

    def __init__(self, database: Database, sealer: Sealer, inference: Inference) -> None:
        self._database = database
        self._sealer = sealer
        self._inference = inference
        self._running = Lock()
        self._use_model()

    def run(self) -> int:
        """Returns how many faces were put to clusters."""
        n_put = 0
        with self._running:
            if self._inference.info.model != self._model:
                self._use_model()
            self._embeddings.forget_old()
            while self._is_needed():
                if self._embeddings.is_empty:
                    self._open_all()
                with self._database.write() as session:
                    n_put += self._put_some(session)
        return n_put

    def _use_model(self) -> None:
        """From now on compare what the model in force has embedded; what another one has is not compared with that."""
        self._model = self._inference.info.model
        self._card = self._inference.card_of(self._model)
        self._embeddings = OpenEmbeddings(self._sealer, self._card.dim)

    def _is_needed(self) -> bool:
        with self._database.read() as session:
            return queries.has_pending(session, utc_now())

    def _open_all(self) -> None:
        """What takes long is done while nobody has to wait for it."""
        with self._database.read() as session:
            self._embeddings.of(session, self._work(session, utc_now()).event_ids)

    def _put_some(self, session: Session) -> int:
        queries.lock_clusters(session)
        now = utc_now()
        work = self._work(session, now)
        cluster_of = self._cluster_of(work, self._embeddings.of(session, work.event_ids))
        _store(session, work.pending, cluster_of, now)
        return len(cluster_of)

    def _work(self, session: Session, now: datetime) -> _Work:
        pending = queries.pending(session, now, _AT_ONCE)
        members = queries.best_members(session, self._model, now, of_each=_OF_EACH, limit=_MOST_COMPARED)
        return _Work(pending, members)

    def _cluster_of(self, work: _Work, embeddings: dict[str, FloatArray]) -> dict[str, str]:
        """By event id of a pending face its cluster, maybe a new one's id.

        What cannot be compared, because its seal does not open or another backbone made it, is a cluster by itself.
        """
        comparable = [each for each in work.pending if each.event_id in embeddings and each.model == self._model]
        members = [each for each in work.members if each.event_id in embeddings]
        pictures = _numbers([_picture(each) for each in members] + [_picture(each) for each in comparable])
        known = Members(
            Faces(self._stack(members, embeddings), pictures[: len(members)]),
            _numbers([member.cluster_id for member in members]),
        )
        new = Faces(self._stack(comparable, embeddings), pictures[len(members) :])
        linked = link(new, known, self._card.pair_bounds)
        ids = list(dict.fromkeys(member.cluster_id for member in members))
        ids += [new_id("unk") for _ in range(int(linked.max(initial=-1)) + 1 - len(ids))]
        found = {face.event_id: ids[number] for face, number in zip(comparable, linked, strict=True)}
        return {face.event_id: found.get(face.event_id) or new_id("unk") for face in work.pending}

    def _stack(self, faces: Sequence[PendingFace | MemberFace], embeddings: dict[str, FloatArray]) -> FloatArray:
        rows = [embeddings[face.event_id] for face in faces]
        return np.array(rows, dtype=np.float32).reshape(len(rows), self._card.dim)


def _picture(face: PendingFace | MemberFace) -> str:
    return face.capture_id or face.event_id


def _numbers(words: Sequence[str]) -> NDArray[np.int64]:
    """Equal words as equal numbers, from 0 in the order in which they come."""
    known: dict[str, int] = {}
    return np.array([known.setdefault(word, len(known)) for word in words], dtype=np.int64)


def _store(session: Session, pending: Sequence[PendingFace], cluster_of: dict[str, str], now: datetime) -> None:
    """Write down where faces went, and what follows: visits, and what is known of a dismissed stranger's face."""
    seen_of: dict[str, list[datetime]] = {}
    for face in pending:
        seen_of.setdefault(cluster_of[face.event_id], []).append(face.seen_at)
    known = {cluster.id: cluster for cluster in queries.clusters(session, seen_of)}
    for cluster_id, seen in seen_of.items():
        cluster = known.get(cluster_id)
        if cluster is None:
            session.add(_new_cluster(cluster_id, seen, now))
        else:
            _grow(cluster, seen)
    session.flush()
    queries.put(session, cluster_of)
    link_visits(session, seen_of, now)
    for cluster in known.values():
        if cluster.status == "dismissed":
            service.note_strangers(session, cluster, [each for each, of in cluster_of.items() if of == cluster.id])


def _new_cluster(cluster_id: str, seen: Sequence[datetime], now: datetime) -> UnknownCluster:
    return UnknownCluster(
        id=cluster_id,
        status="open",
        n_faces=len(seen),
        first_seen_at=min(seen),
        last_seen_at=max(seen),
        created_at=now,
    )


def _grow(cluster: UnknownCluster, seen: Sequence[datetime]) -> None:
    cluster.n_faces += len(seen)
    cluster.first_seen_at = min(cluster.first_seen_at, *seen)
    cluster.last_seen_at = max(cluster.last_seen_at, *seen)


def link_visits(session: Session, cluster_ids: Collection[str], now: datetime) -> None:
    """Of each visit of a stranger the first event stands for the others, as it does for people who are known."""
    visits = queries.visits(session, cluster_ids, now)
    first_of: dict[str, str | None] = {}
    for _, of_cluster in groupby(visits, key=lambda visit: visit.cluster_id):
        first_of |= _firsts(list(of_cluster))
    # An event whose first one has expired stays its duplicate.
    known = {visit.event_id for visit in visits} | {None}
    is_other = [v for v in visits if v.duplicate_of in known and v.duplicate_of != first_of[v.event_id]]
    events = queries.lock_unnamed(session, [visit.event_id for visit in is_other])
    for event in events:
        stand_alone(event)
        if (first := first_of[event.id]) is not None:
            event.duplicate_of = first
            event.explanation += _SAME_VISIT
    session.flush()
    versions = event_versions(session, [event.id for event in events])
    announce_all(session, "event.changed", [(None, event_payload(each, None, versions[each.id])) for each in events])


def _firsts(visits: Sequence[Visit]) -> dict[str, str | None]:
    seen = [(visit.event_id, visit.occurred_at.timestamp()) for visit in visits]
    return first_of_presence(seen, [visit.repeat_window_s for visit in visits])
