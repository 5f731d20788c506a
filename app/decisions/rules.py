"""What another threshold would have made of stored decisions; pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from app.db.tables import DecisionCandidate, DecisionRow
from ml.decision import PairMargins, decide
from ml.types import Candidate, Decision

# Faces of low quality and suspected attacks are named at no threshold.
DECIDED_BY_SCORE = ("identified", "unknown")


@dataclass(frozen=True, slots=True, eq=False)
class StoredFace:
    """A stored decision and its candidates, best first, without those who were erased."""

    row: DecisionRow
    candidates: Sequence[DecisionCandidate]

    @property
    def is_named(self) -> bool:
        return self.row.outcome == "identified"

    @property
    def first_id(self) -> str | None:
        """Whom it named, or would name; None once they are erased."""
        return next((each.person_id for each in self.candidates if each.rank == 1), None)

    @property
    def ranked(self) -> tuple[Candidate, ...]:
        """As it was decided on. Whoever was best and is erased is still in the way of the others."""
        found = [Candidate(each.person_id, each.score, each.rank, 0) for each in self.candidates]
        if self.row.score is not None and self.first_id is None:
            found.insert(0, Candidate(f"erased {self.row.id}", self.row.score, 1, 0))
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Replayed:
    """What another threshold would have made of stored decisions: counts, and those that change, newest first."""

    n_decisions: int
    n_named: int
    n_no_longer_named: int
    n_newly_named: int
    changes: list[StoredFace]


def replay(faces: Sequence[StoredFace], threshold: float, margins: PairMargins) -> Replayed:
    """Decide faces, newest first and one image's together, at another threshold and by the rules of production."""
    changed = [face for image in _images(faces) for face in _changed(image, threshold, margins)]
    return Replayed(
        n_decisions=len(faces),
        n_named=sum(face.is_named for face in faces),
        n_no_longer_named=sum(face.is_named for face in changed),
        n_newly_named=sum(not face.is_named for face in changed),
        changes=changed,
    )


def _images(faces: Iterable[StoredFace]) -> Iterator[list[StoredFace]]:
    decided = (face for face in faces if face.row.outcome in DECIDED_BY_SCORE)
    for _, image in groupby(decided, key=lambda face: (face.row.request_id, face.row.at)):
        yield list(image)


def _changed(image: Sequence[StoredFace], threshold: float, margins: PairMargins) -> list[StoredFace]:
    then = _decided(image, image[0].row.threshold, margins)
    now = _decided(image, threshold, margins)
    return [
        face
        for face, before, after in zip(image, then, now, strict=True)
        if _is_changed(face, before.person_id is not None, after.person_id is not None, threshold)
    ]


def _is_changed(face: StoredFace, was_named: bool, is_named: bool, threshold: float) -> bool:
    # Margins may be others by now, and a clip shows one person in several tracks: where the rules do not say today what
    # was decided then, only the score speaks.
    if was_named == face.is_named:
        return is_named != face.is_named
    return face.is_named and (face.row.score or 0.0) < threshold


def _decided(image: Sequence[StoredFace], threshold: float, margins: PairMargins) -> list[Decision]:
    return decide([face.ranked for face in image], [()] * len(image), threshold, margins)
