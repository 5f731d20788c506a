"""Explaining an event: what is compared with what, and the work on the networks, one at a time."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from app.crops import service as crops
from app.db.tables import DecisionRow, Event
from app.decisions import queries as decisions
from app.errors import ProblemError
from app.explanations import queries, schemas
from app.gallery.queries import decode_embeddings
from app.identification.queries import person_refs
from app.identification.schemas import PersonRef
from app.inference.port import Inference, ModelNotHeldError
from app.sealing import Sealer
from ml.alignment import align_face
from ml.errors import ModelError
from ml.explanation import HeatMap, grid_to_image, heat_overlay, occlusion_map
from ml.image import decode_image
from ml.types import Chip, Face, FloatArray, RgbImage

# The page asks for the numbers and then for the picture. A map is 49 numbers, and nobody's face.
_REMEMBERED: Final = 32
# About what one explanation takes on one core of a CPU.
_RETRY_AFTER_S: Final = 4


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """What is to be explained: the kept face, and the templates of the person it is compared with.

    `cluster_id` is told of an unknown face, whose viewing is noted. `embeddings (N, D)` are unit-norm, by `model`.
    `crops` are the ids of those templates that have a picture.
    """

    event_id: str
    jpeg: bytes
    cluster_id: str | None
    model: str
    person: PersonRef
    template_ids: Sequence[int]
    embeddings: FloatArray
    crops: frozenset[int]


@dataclass(frozen=True, slots=True, eq=False)
class Explained:
    """An answered question; `grid` tells where the parts of the map lie in `image`."""

    question: Question
    template_id: int
    heat_map: HeatMap
    image: RgbImage
    grid: NDArray[np.float64]


def find(session: Session, event_id: str, sealer: Sealer) -> Question:
    """Everything that is stored and needed to explain an event.

    Raises:
        ProblemError: 404 there is no such event, or no picture of it; 409 there is nobody to compare it with, or
            nothing by the model that decided.
    """
    event, decision = queries.event(session, event_id), decisions.decision(session, event_id)
    if event is None and decision is None:
        raise ProblemError(404, "event_not_found", "There is no event with this id; old ones are not kept.")
    jpeg, cluster_id = _crop(session, event_id, sealer)
    person = _person(session, event, decision)
    if decision is None or person is None:
        detail = "There is nobody to compare this face with: nobody was near, or they were erased."
        raise ProblemError(409, "nobody_to_compare", detail)
    rows = queries.embeddings(session, person.id, decision.model)
    if not rows:
        raise _no_template(session, person.id)
    blobs = [row.embedding for row in rows]
    return Question(
        event_id=event_id,
        jpeg=jpeg,
        cluster_id=cluster_id,
        model=decision.model,
        person=person,
        template_ids=[row.id for row in rows],
        embeddings=decode_embeddings(blobs, len(blobs[0]) // 4),
        crops=frozenset(row.crop_of for row in rows if row.crop_of is not None),
    )


class Explainer:
    """Answers one question at a time in this process, and remembers the latest maps. Safe to share between threads."""

    def __init__(self) -> None:
        self._turn = Lock()
        self._known: OrderedDict[tuple[str, int, str], HeatMap] = OrderedDict()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold the turn; 429 while another one is explained."""
        if not self._turn.acquire(blocking=False):
            detail = "Another face is being explained just now. Try again in a moment."
            raise ProblemError(429, "overloaded", detail, headers={"Retry-After": str(_RETRY_AFTER_S)})
        try:
            yield
        finally:
            self._turn.release()

    def explain(self, question: Question, inference: Inference) -> Explained:
        """Find the face in its picture, its closest template, and what each part of it adds.

        Raises:
            ProblemError: 409 no face is found in the picture, the model that decided is not loaded any more, or the
                networks run elsewhere; 429 see `turn`.
            InferenceBusyError: the networks have too much to do.
        """
        with self.turn():
            try:
                return self._explained(question, inference)
            except ModelNotHeldError:
                raise _model_changed() from None
            except ModelError:
                raise _unavailable() from None

    def _explained(self, question: Question, inference: Inference) -> Explained:
        card, image = inference.card_of(question.model), decode_image(question.jpeg)
        face = _face(image, inference)
        chip = align_face(image, face, card.template_array, card.chip_size_px)
        template_id, heat_map = self._map(chip, question, inference)
        grid = grid_to_image(face.landmarks, card.template_array, card.chip_size_px, heat_map.n_across)
        return Explained(question, template_id, heat_map, image, grid)

    def _map(self, chip: Chip, question: Question, inference: Inference) -> tuple[int, HeatMap]:
        """The closest template, and what each part of the chip adds to its likeness with that."""

        def embed(chips: Sequence[Chip]) -> FloatArray:
            return inference.embed_chips(chips, question.model)

        closest = int(np.argmax(question.embeddings @ embed([chip])[0]))
        key = question.event_id, question.template_ids[closest], question.model
        if key not in self._known:
            self._known[key] = occlusion_map(chip, embed, question.embeddings[closest])
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return question.template_ids[closest], self._known[key]


def view(explained: Explained) -> schemas.Explanation:
    """As the API shows it."""
    question, template_id = explained.question, explained.template_id
    return schemas.Explanation(
        event_id=question.event_id,
        model=question.model,
        person=question.person,
        template_id=template_id,
        template_crop_url=f"/v1/templates/{template_id}/crop" if template_id in question.crops else None,
        score=round(explained.heat_map.base, 4),
        heat=[[round(float(value), 4) for value in row] for row in explained.heat_map.heat],
        n_across=explained.heat_map.n_across,
        picture_url=f"/v1/events/{question.event_id}/explain.png",
        made_by="occlusion",
    )


def picture(explained: Explained) -> RgbImage:
    """The face with its map over it."""
    return heat_overlay(explained.image, explained.heat_map, explained.grid)


def _crop(session: Session, event_id: str, sealer: Sealer) -> tuple[bytes, str | None]:
    try:
        return crops.of_event(session, event_id, sealer)
    except ProblemError as problem:
        if problem.code != "crop_not_found":
            raise
    detail = (
        "No picture of this face is kept, so it cannot be looked at again: it has expired, it only repeated an earlier "
        "one, or none was made. Recognised faces are kept for ROLLCALL_CROP_RETENTION_DAYS, unknown ones for as many "
        "days as their site says."
    )
    raise ProblemError(404, "crop_gone", detail)


def _person(session: Session, event: Event | None, decision: DecisionRow | None) -> PersonRef | None:
    """Who was named, else whose the event is by now, else who came nearest."""
    named = [decision.person_id if decision else None, event.person_id if event else None]
    nearest = [each.person_id for each in decisions.candidates(session, decision.id)] if decision else []
    ids = [person_id for person_id in [*named, *nearest] if person_id is not None][:1]
    return next(iter(person_refs(session, ids).values()), None)


def _no_template(session: Session, person_id: str) -> ProblemError:
    if queries.has_templates(session, person_id):
        return _model_changed()
    detail = "The person has no templates any more. Enrol them again to compare faces with theirs."
    return ProblemError(409, "nobody_to_compare", detail)


def _model_changed() -> ProblemError:
    detail = (
        "Another model is in use by now than the one that decided this, and their scores cannot be compared. Look at "
        "an event of after the change."
    )
    return ProblemError(409, "model_changed", detail)


def _unavailable() -> ProblemError:
    detail = (
        "The networks run on other machines, which take whole pictures only. Ask a service that runs them itself, "
        "without ROLLCALL_INFERENCE_URLS."
    )
    return ProblemError(409, "explanation_unavailable", detail)


def _face(image: RgbImage, inference: Inference) -> Face:
    samples = inference.analyze([image], 1).samples[0]
    if not samples:
        detail = "No face is found again in the small picture that is kept, so nothing can be said about its parts."
        raise ProblemError(409, "face_not_found", detail)
    return samples[0].face
