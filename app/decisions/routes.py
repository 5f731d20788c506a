"""`/v1/events/{id}/feedback`."""

from fastapi import APIRouter
from sqlalchemy.orm import Session
from starlette.responses import Response

from app.attendance.ledger import Bookkeeper
from app.auth.dependencies import OperatorDep
from app.decisions import schemas, service
from app.http.dependencies import SettingsDep
from app.http.idempotency import Answer, IdempotencyDep
from app.inference.dependencies import InferenceDep

router = APIRouter(prefix="/v1/events", tags=["Identify"])


@router.post("/{event_id}/feedback", response_model=schemas.FeedbackReceipt)
def feedback(
    event_id: str,
    feedback: schemas.Feedback,
    inference: InferenceDep,
    settings: SettingsDep,
    caller: OperatorDep,
    idempotency: IdempotencyDep,
) -> Response:
    """Says whether a decision was right, and who it really was.

    "Not this person" (`correct: false`) raises the bar between the person who was named and the one it really was, or
    else the runner-up: from the next request on, the one is named only with a larger lead over the other. Nobody else
    is affected. Judging the same event again replaces the first word, and takes back what it raised; once the event is
    no longer kept, `DELETE /v1/threshold/look-alikes/{person_a}/{person_b}` does that.

    An event of the attendance ledger is corrected as well: it goes to the person it really was, or to nobody, and the
    days of all concerned are worked out anew. Saying `correct: true` later gives it back.

    What contradicts itself is refused with 422 `feedback_contradictory`: `correct: true` with somebody else than the
    person who was named, or with anybody where nobody was; `correct: false` with the very person who was named.
    """
    judging = service.Judging(inference.card.look_alike_margin, Bookkeeper(settings.timezone))

    def work(session: Session) -> Answer:
        return Answer(200, service.judge(session, event_id, feedback, judging, caller))

    return idempotency.write(work, in_turn=True)
