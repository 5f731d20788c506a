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

    A point of another backbone than `model` is refused: its scores mean nothing here.
    """

    def __init__(self, database: Database, model: str) -> None:
        self._database = database
        self._model = model
        self._reading = Lock()
        self._known: tuple[int, CurrentPoint] | None = None

    def read(self) -> CurrentPoint:
        """One small query, unless something changed since the last call."""
        with self._database.read() as session:
            return self.read_in(session)

    def read_in(self, session: Session) -> CurrentPoint:
        """The same in a session that is open already."""
        version = queries.version(session)
        with self._reading:
            if self._known is None or self._known[0] != version:
                self._known = version, _current(session, self._model)
            return self._known[1]


def _current(session: Session, model: str) -> CurrentPoint:
    current_id = queries.state(session).current_id
    row = queries.point(session, current_id) if current_id else None
    if row is None:
        raise ProblemError(503, "not_ready", "No operating point is in force yet; try again.")
    if row.model != model:
        detail = f"The operating point in force is for {row.model}, and this replica uses {model}: set them alike."
        raise ProblemError(503, "model_mismatch", detail)
    return CurrentPoint(row.id, row.threshold, row.target_fpir, queries.pair_margins(session), Curves(**row.curves))
