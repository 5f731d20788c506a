"""Makes unknown faces as captures leave them: a decision, an event, and what is kept. Every argument is a keyword."""

from collections.abc import Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from app.db.tables import Camera, Capture, DecisionCandidate, DecisionRow, Event, Site
from app.db.types import new_id, utc_now
from app.gallery.queries import encode_embedding
from app.operating_points import queries as point_queries
from app.review.service import keep_face
from app.sealing import Sealer

MODEL = "dlib-resnet/1"
SITE = "site_default"
REPEAT_WINDOW_S = 120


def make_site(*, session: Session, unknown_days: int = 30) -> Site:
    """The one that every database has, keeping unknown faces for so long."""
    site = session.get_one(Site, SITE)
    site.unknown_days = unknown_days
    session.flush()
    return site


def make_camera(*, session: Session, name: str = "Gate") -> Camera:
    now = utc_now()
    camera = Camera(
        id=new_id("cam"), name=name, site_id=SITE, direction="both", policy={}, created_at=now, updated_at=now
    )
    session.add(camera)
    session.flush()
    return camera


def make_capture(*, session: Session, at: datetime) -> Capture:
    """One picture, for several faces that are in it."""
    capture = Capture(
        id=new_id("cap"),
        owner="key_test",
        content_sha256="",
        captured_at=at,
        occurred_at=at,
        clock_offset_s=0.0,
        received_at=at,
        request_id="req",
    )
    session.add(capture)
    session.flush()
    return capture


def make_decision(
    *,
    session: Session,
    at: datetime,
    outcome: str = "unknown",
    person_id: str | None = None,
    candidates: Sequence[tuple[str, float]] = (),
    model: str = MODEL,
) -> DecisionRow:
    decision = DecisionRow(
        id=new_id("evt"),
        at=at,
        request_id="req",
        actor="key:test",
        outcome=outcome,
        person_id=person_id,
        score=candidates[0][1] if candidates else None,
        margin=None,
        quality=0.9,
        reasons=[],
        threshold=0.5,
        operating_point_id=point_queries.state(session).current_id,
        gallery_revision=0,
        model=model,
    )
    session.add(decision)
    session.flush()
    for rank, (candidate_id, score) in enumerate(candidates, start=1):
        session.add(DecisionCandidate(decision_id=decision.id, rank=rank, person_id=candidate_id, score=score))
    session.flush()
    return decision


def make_event(
    *,
    session: Session,
    decision: DecisionRow,
    capture: Capture | None = None,
    camera: Camera | None = None,
    occurred_at: datetime | None = None,
) -> Event:
    """What a capture writes of a decided face, without the days that follow."""
    event = Event(
        id=decision.id,
        capture_id=capture.id if capture else None,
        camera_id=camera.id if camera else None,
        site_id=SITE,
        timezone="UTC",
        repeat_window_s=REPEAT_WINDOW_S,
        method="face",
        outcome=decision.outcome,
        received_at=utc_now(),
        created_by="key:test",
        person_id=decision.person_id,
        occurred_at=occurred_at or decision.at,
        explanation="",
    )
    session.add(event)
    session.flush()
    return event


def make_unknown(
    *,
    session: Session,
    sealer: Sealer,
    embedding: NDArray[np.float32],
    seen_at: datetime,
    decided_at: datetime | None = None,
    capture: Capture | None = None,
    camera: Camera | None = None,
    crop: bytes = b"a jpeg",
    quality: float = 0.9,
    candidates: Sequence[tuple[str, float]] = (),
    model: str = MODEL,
) -> str:
    """An unknown face that is kept, if its site keeps any; returns the id of its event."""
    decision = make_decision(session=session, at=decided_at or seen_at, candidates=candidates, model=model)
    event = make_event(session=session, decision=decision, capture=capture, camera=camera, occurred_at=seen_at)
    keep_face(
        session,
        event_id=event.id,
        site=session.get_one(Site, SITE),
        model=model,
        quality=quality,
        seen_at=seen_at,
        crop_jpeg=crop,
        embedding=encode_embedding(embedding),
        sealer=sealer,
    )
    session.flush()
    return event.id
