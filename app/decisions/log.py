"""Stores decisions before they are answered, many callers' in one commit.

Whoever finds the pen free writes for everybody who is waiting: one caller pays for one commit, and under load a
hundred share one. What an answer calls an event is therefore in the database.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from threading import Lock

import structlog
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session

from app.db.engine import Database
from app.db.types import new_id, utc_now
from app.decisions import queries
from ml.types import Candidate, Decision, Quality, Reason

CANDIDATES_KEPT = 3

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DecidedFace:
    """One face as it was decided."""

    decision: Decision
    quality: Quality
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What all faces of one picture have in common."""

    request_id: str
    actor: str
    threshold: float
    operating_point_id: str
    gallery_revision: int
    model: str


@dataclass(slots=True, eq=False)
class _Entry:
    decisions: list[dict[str, object]] = field(default_factory=list)
    candidates: list[dict[str, object]] = field(default_factory=list)
    is_stored: bool | None = None


class DecisionLog:
    """Stores decisions, unless they are kept for 0 days."""

    def __init__(self, database: Database, retention_days: int) -> None:
        self._database = database
        self._keeps = retention_days > 0
        self._waiting: list[_Entry] = []
        self._queue = Lock()
        self._pen = Lock()

    def store(self, faces: Sequence[DecidedFace], circumstances: Circumstances) -> list[str | None]:
        """One event id per face; None for all of them when nothing is kept, or when it could not be stored."""
        if not faces or not self._keeps:
            return [None for _ in faces]
        entry = _entry(faces, circumstances)
        with self._queue:
            self._waiting.append(entry)
        with self._pen:
            if entry.is_stored is None:
                self._write_all_waiting()
        return [str(row["id"]) if entry.is_stored else None for row in entry.decisions]

    def store_in(
        self, session: Session, faces: Sequence[DecidedFace], circumstances: Circumstances, is_needed: Sequence[bool]
    ) -> list[str | None]:
        """Store in the caller's transaction; faces that are needed as evidence also where nothing else is kept."""
        is_kept = [needed or self._keeps for needed in is_needed]
        entry = _entry([face for face, kept in zip(faces, is_kept, strict=True) if kept], circumstances)
        if entry.decisions:
            queries.insert_decisions(session, entry.decisions, entry.candidates)
        ids = iter(str(row["id"]) for row in entry.decisions)
        return [next(ids) if kept else None for kept in is_kept]

    def _write_all_waiting(self) -> None:
        with self._queue:
            entries, self._waiting = self._waiting, []
        try:
            self._write(entries)
        except SQLAlchemyError as error:  # who somebody is can still be answered
            log.error("decisions.not_stored", n=len(entries), error=type(error).__name__)
            for entry in entries:
                entry.is_stored = False

    def _write(self, entries: Sequence[_Entry]) -> None:
        decisions = [row for entry in entries for row in entry.decisions]
        candidates = [row for entry in entries for row in entry.candidates]
        try:
            self._insert(decisions, candidates)
        except IntegrityError:  # somebody was erased in between: the second time they are known to be gone
            self._insert(decisions, candidates)
        for entry in entries:
            entry.is_stored = True

    def _insert(self, decisions: list[dict[str, object]], candidates: list[dict[str, object]]) -> None:
        with self._database.write() as session:
            queries.insert_decisions(session, decisions, candidates)


def _entry(faces: Sequence[DecidedFace], circumstances: Circumstances) -> _Entry:
    entry, shared = _Entry(), asdict(circumstances) | {"at": utc_now()}
    for face in faces:
        row = _row(face) | shared
        entry.decisions.append(row)
        shown = face.decision.candidates[:CANDIDATES_KEPT]
        entry.candidates += [_candidate_row(str(row["id"]), candidate) for candidate in shown]
    return entry


def _row(face: DecidedFace) -> dict[str, object]:
    return {
        "id": new_id("evt"),
        "outcome": face.decision.outcome.value,
        "person_id": face.decision.person_id,
        "score": face.decision.score,
        "margin": face.decision.margin,
        "quality": face.quality.score,
        "reasons": [reason.value for reason in face.reasons],
    }


def _candidate_row(decision_id: str, candidate: Candidate) -> dict[str, object]:
    return {
        "decision_id": decision_id,
        "rank": candidate.rank,
        "person_id": candidate.person_id,
        "score": candidate.score,
    }
