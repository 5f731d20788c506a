"""The operating point in force, as every decision reads it."""

from dataclasses import dataclass
from threading import Lock

from sqlalchemy.orm import Session

from app.db.engine import Database
from app.errors import ProblemError
from app.operating_points import queries
from ml.calibration import Curves
from ml.decision import PairMargins


@dataclass(frozen=True, slots=True, eq=False)
class CurrentPoint:
    """What a decision needs of an operating point; `margins` of pairs who are easily confused."""

    id: str
    threshold: float
    target_fpir: float | None
    margins: PairMargins
    curves: Curves


class PointInForce:
    """Asked with every request, so that a change counts from the next one on, on every replica.

    Each model has a threshold of its own: the scores of one mean nothing to another.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._reading = Lock()
        self._version = -1
        self._known: dict[str, CurrentPoint] = {}

    def read(self, model: str) -> CurrentPoint:
        """One small query, unless something changed since the last call."""
        with self._database.read() as session:
            return self.read_in(session, model)

    def read_in(self, session: Session, model: str) -> CurrentPoint:
        """The same in a session that is open already.

        Raises:
            ProblemError: 503, there is no threshold for this model.
        """
        version = queries.version(session)
        with self._reading:
            if self._version != version:
                self._version, self._known = version, {}
            if model not in self._known:
                self._known[model] = _current(session, model)
            return self._known[model]


def _current(session: Session, model: str) -> CurrentPoint:
    """The point in force; for faces that were embedded just before a switch the one that was in force until then."""
    current_id = queries.state(session).current_id
    row = queries.point(session, current_id) if current_id else None
    if row is None:
        raise ProblemError(503, "not_ready", "No operating point is in force yet; try again.")
    if row.model != model:
        row = queries.latest_in_force(session, model)
    if row is None:
        detail = f"There is no operating point for {model}; give all replicas the same ROLLCALL_BACKBONE."
        raise ProblemError(503, "model_mismatch", detail)
    return CurrentPoint(row.id, row.threshold, row.target_fpir, queries.pair_margins(session), Curves(**row.curves))
