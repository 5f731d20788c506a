"""Taking an operator's word for what a decision should have been."""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from app.attendance.ledger import Bookkeeper
from app.audit.service import record
from app.auth.scopes import Principal
from app.db.tables import DecisionCandidate, DecisionRow, Event
from app.db.types import utc_now
from app.decisions import queries, schemas
from app.errors import ProblemError
from app.gallery.queries import lock_gallery
from app.operating_points import queries as point_queries
from app.people import service as people_service
from ml.decision import pair_of

# The bar goes this much of a look-alike's margin above the lead that was not enough ...
_STEP = 0.1
# ... and no higher than this many of them: a person must still be able to be recognised.
_HIGHEST = 5.0


@dataclass(frozen=True, slots=True)
class _Rival:
    """The person who a wrongly named face might have been, and by how much the wrong one was ahead."""

    person_id: str
    lead: float


@dataclass(frozen=True, slots=True)
class Judging:
    """What taking somebody's word needs: the lead that look-alikes must have, and who keeps the ledger."""

    look_alike_margin: float
    books: Bookkeeper


def judge(
    session: Session, event_id: str, feedback: schemas.Feedback, judging: Judging, caller: Principal
) -> schemas.FeedbackReceipt:
    """Note what was right or wrong; "not this person" raises the bar between the two people concerned, only.

    Where the decision is an event of the ledger, that is corrected.
    """
    lock_gallery(session)  # from here on nobody is erased, and nobody else judges
    point_queries.lock_state(session)
    decision = queries.decision(session, event_id)
    if decision is None:
        raise ProblemError(404, "event_not_found", "There is no event with this id; old ones are not kept.")
    if feedback.person_id is not None:
        people_service.get(session, feedback.person_id)
    _refuse_contradiction(decision, feedback)
    decision.is_correct, decision.true_person_id = feedback.correct, feedback.person_id
    decision.judged_at, decision.judged_by = utc_now(), caller.actor
    session.flush()
    point_queries.take_back(session, event_id)  # an operator who judges again has changed their mind
    raised = _raise_bar(session, decision, judging.look_alike_margin)
    record(session, caller.actor, "event.judged", event_id, {"correct": feedback.correct, "raised": raised is not None})
    return schemas.FeedbackReceipt(
        event_id=event_id,
        correct=feedback.correct,
        person_id=feedback.person_id,
        raised=raised,
        is_event_corrected=_correct_event(session, decision, judging.books, caller),
    )


def _correct_event(session: Session, decision: DecisionRow, books: Bookkeeper, caller: Principal) -> bool:
    """The ledger's event, if there is one, goes to whoever it was; a decision that was right has its own again."""
    event = session.get(Event, decision.id)
    person_id = decision.person_id if decision.is_correct else decision.true_person_id
    if event is None or event.person_id == person_id:
        return False
    reason = "feedback: right after all" if decision.is_correct else "feedback: not this person"
    books.correct(session, event, {"person_id": person_id}, reason, caller.actor)
    return True


def _refuse_contradiction(decision: DecisionRow, feedback: schemas.Feedback) -> None:
    if feedback.person_id is None or feedback.correct == (feedback.person_id == decision.person_id):
        return
    if not feedback.correct:
        detail = (
            "This event names that very person: send correct=true if it was them, or correct=false with the id of "
            "whoever it really was, or without person_id."
        )
    elif decision.outcome == "identified":
        detail = "This event names somebody else: send correct=false with this person_id if it really was them."
    else:
        detail = "This event names nobody: send correct=false with this person_id if it was them, else no person_id."
    raise ProblemError(422, "feedback_contradictory", detail)


def _raise_bar(session: Session, decision: DecisionRow, look_alike_margin: float) -> schemas.RaisedPair | None:
    rival = _rival(decision, queries.candidates(session, decision.id))
    if rival is None or decision.person_id is None:
        return None
    wanted = max(look_alike_margin, rival.lead + _STEP * look_alike_margin)
    margin = min(wanted, _HIGHEST * look_alike_margin)
    pair = pair_of(decision.person_id, rival.person_id)
    point_queries.complain(session, decision.id, *pair, margin)
    return schemas.RaisedPair(person_a=pair[0], person_b=pair[1], margin=point_queries.pair_margins(session)[pair])


def _rival(decision: DecisionRow, candidates: list[DecisionCandidate]) -> _Rival | None:
    """Whom a wrongly named face was taken away from: the person it is said to be, else the runner-up."""
    if decision.is_correct is not False or decision.person_id is None or decision.score is None:
        return None
    others = {each.person_id: each.score for each in candidates if each.person_id != decision.person_id}
    true_id = decision.true_person_id
    if not (true_id or others):
        return None
    other_id = true_id or next(iter(others))
    return _Rival(other_id, decision.score - others.get(other_id, decision.score))
