"""`/v1/events/{id}/explain`, and the same as a picture."""

from typing import Annotated, Any, Final

import cv2
from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from app.auth.dependencies import OperatorDep
from app.auth.scopes import Principal
from app.db.engine import Database
from app.explanations import schemas, service
from app.http.dependencies import DatabaseDep, SealerDep
from app.inference.dependencies import InferenceDep
from app.review.service import note_view, was_viewed
from app.sealing import Sealer

router = APIRouter(prefix="/v1/events", tags=["Review"])

_PNG: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {"image/png": {"schema": {"type": "string", "contentMediaType": "image/png"}}}}
}
# As with crops: on the disk of a browser a face would outlive its retention and its erasure.
_HEADERS: Final = {"Cache-Control": "no-store"}


async def _explainer(request: Request) -> service.Explainer:
    explainer: service.Explainer = request.app.state.explainer
    return explainer


ExplainerDep = Annotated[service.Explainer, Depends(_explainer)]


@router.get("/{event_id}/explain")
def explain_event(
    event_id: str,
    response: Response,
    database: DatabaseDep,
    sealer: SealerDep,
    inference: InferenceDep,
    explainer: ExplainerDep,
    caller: OperatorDep,
) -> schemas.Explanation:
    """Which parts of the face made the score, beside the closest template of whoever was named, or came nearest.

    The face that is kept of the event is covered part by part, 49 times, and embedded each time: `heat` says by how
    much the cosine falls. That takes the networks some seconds on a CPU, so it is done for one caller at a time: 429
    meanwhile. That somebody looked at an unknown face is noted in the audit log.

    404 `event_not_found`, and `crop_gone` where no picture is kept. 409 `nobody_to_compare`; `model_changed` since the
    decision; `face_not_found` in the picture; `explanation_unavailable` where the networks run on another machine.
    """
    response.headers.update(_HEADERS)
    question = _question(event_id, database, sealer, caller)
    return service.view(explainer.explain(question, inference))


@router.get("/{event_id}/explain.png", response_class=Response, responses=_PNG)
def draw_explanation(
    event_id: str,
    database: DatabaseDep,
    sealer: SealerDep,
    inference: InferenceDep,
    explainer: ExplainerDep,
    caller: OperatorDep,
) -> Response:
    """The same, drawn over the face, as PNG: from purple to yellow what spoke for the match, blue what spoke against.

    The picture itself turns grey. Quick where `/v1/events/{event_id}/explain` was asked just before.
    """
    question = _question(event_id, database, sealer, caller)
    picture = service.picture(explainer.explain(question, inference))
    _, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return Response(bytes(data), media_type="image/png", headers=_HEADERS)


def _question(event_id: str, database: Database, sealer: Sealer, caller: Principal) -> service.Question:
    """What is to be explained; that an unknown face is looked at is noted."""
    with database.read() as session:
        question = service.find(session, event_id, sealer)
        is_noted = question.cluster_id is None or was_viewed(session, question.cluster_id, caller)
    if question.cluster_id is not None and not is_noted:
        with database.write() as session:
            note_view(session, question.cluster_id, caller)
    return question
