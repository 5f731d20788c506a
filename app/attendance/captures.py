"""Pictures that are recorded: who is in one, and what that makes of the ledger, in one transaction.

A capture is delivered when it is committed: with the decisions that are its evidence, its events, the days that follow
and the answer to a retry. A retry finds the answer as long as that is kept, and the capture itself for ever after: the
same picture is never two punches.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from time import perf_counter
from typing import Final

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.attendance import queries, schemas
from app.attendance.ledger import Bookkeeper
from app.attendance.moments import DeviceClock, Moment, true_moment
from app.attendance.places import direction_at
from app.attendance.views import capture_view, recorded_views
from app.auth.scopes import Principal
from app.cameras.schemas import Policy
from app.cameras.service import camera_for, saw
from app.crops.cutting import as_jpeg, as_small_jpeg, cut_faces
from app.crops.keeping import CropKeeper
from app.db.engine import Database
from app.db.tables import Camera, Capture, Event
from app.db.types import new_id
from app.decisions.log import DecidedFace, DecisionLog
from app.errors import ProblemError
from app.gallery.queries import encode_embedding
from app.identification import service as identification
from app.identification.searcher import Searched
from app.identification.service import Glance, Identified, Seen
from app.metrics.attendance import AttendanceMetrics
from app.review.service import keep_face
from app.sealing import Sealer
from app.sites import service as sites
from ml.quality import SEARCH_LIMITS, QualityLimits
from ml.types import Outcome

StoreAnswer = Callable[[Session, schemas.Recording], object]

# Faces looked at in one picture, unless the sender wants fewer: a doorway holds no more.
MAX_FACES: Final = 20


@dataclass(frozen=True, slots=True)
class Sent:
    """What a sender says of one capture. `min_face_px` is how small a face may be in its picture."""

    image_sha256: str
    captured_at: datetime | None
    direction: schemas.Direction | None
    camera_id: str | None
    idempotency_key: str | None
    min_face_px: int | None = None


@dataclass(frozen=True, slots=True)
class CaptureKey:
    """What makes a capture one that was sent before.

    `owner` is whose Idempotency-Key it is: that of the camera, whichever of its keys it used, else the caller's.
    """

    owner: str
    idempotency_key: str | None
    content_sha256: str

    @classmethod
    def of(cls, sent: Sent, camera: Camera | None, sender: "Sender") -> "CaptureKey":
        """Of the same picture at the same time it is the same, however often it is sent."""
        at = "" if sent.captured_at is None else sent.captured_at.astimezone(UTC).isoformat()
        content = sha256(f"{sent.image_sha256} {at}".encode()).hexdigest()
        return cls(camera.id if camera else sender.principal.id, sent.idempotency_key, content)


@dataclass(frozen=True, slots=True)
class Stand:
    """Where and when a capture was taken, and what is recorded of whom is seen there.

    `min_face_px` is the camera's policy, or else the sender's word; None: as everywhere.
    """

    key: CaptureKey
    created_by: str
    camera_id: str | None
    site_id: str
    timezone: str
    repeat_window_s: int
    keeps_unknown: bool
    keeps_known: bool
    policy: Policy
    min_face_px: int | None
    moment: Moment
    clock: DeviceClock
    direction: str | None

    @property
    def limits(self) -> QualityLimits:
        """What a face must be like to be searched for here."""
        policy = self.policy
        return replace(
            SEARCH_LIMITS,
            min_face_px=SEARCH_LIMITS.min_face_px if self.min_face_px is None else self.min_face_px,
            min_score=SEARCH_LIMITS.min_score if policy.min_quality is None else policy.min_quality,
        )

    def glance(self, detector_min_px: int, max_faces: int = MAX_FACES) -> Glance:
        """How its picture is looked at by a detector that sees faces from so many px on."""
        enlarged = 1.0 if self.min_face_px is None else max(1.0, detector_min_px / self.min_face_px)
        return Glance(max_faces, enlarged, cut_faces if self.keeps_unknown or self.keeps_known else None)


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends captures, in which request."""

    principal: Principal
    request_id: str
    clock: DeviceClock


@dataclass(frozen=True, slots=True)
class Recorder:
    """Everything that recording needs."""

    database: Database
    bookkeeper: Bookkeeper
    log: DecisionLog
    sealer: Sealer
    metrics: AttendanceMetrics
    max_age_days: int
    crops: CropKeeper

    def stand(self, sent: Sent, sender: Sender) -> Stand:
        """Where and when, before anybody looks at the picture; refuses what cannot be, and what is recorded already."""
        with self.database.read() as session:
            camera = camera_for(session, sender.principal, sent.camera_id)
            key = CaptureKey.of(sent, camera, sender)
            refuse_recorded(session, key)
            return self._stand(session, camera, sent, sender, key)

    def commit(
        self, stand: Stand, identified: Identified, sender: Sender, store: StoreAnswer | None = None, top_k: int = 3
    ) -> schemas.Recording:
        """`record` in a transaction of its own, in which `store` may keep the answer."""
        began = perf_counter()

        def attempt() -> schemas.Recording:
            with self.database.write() as session:
                recording = self.record(session, stand, identified, sender, top_k)
                if store is not None:
                    store(session, recording)
                return recording

        try:
            recording = attempt()
        except IntegrityError:  # a candidate was erased in between, or the same capture recorded: now that is known
            recording = attempt()
        self.metrics.observe(recording.events, perf_counter() - began)
        return recording

    def record(
        self, session: Session, stand: Stand, identified: Identified, sender: Sender, top_k: int = 3
    ) -> schemas.Recording:
        """Store one capture and everything that follows from it, in a transaction of the caller's."""
        refuse_recorded(session, stand.key)
        capture, events, searched = self.write(session, stand, identified.searched, sender)
        self._keep_unknown(session, stand, identified.seen, searched, events)
        self._keep_known(session, identified.seen, searched, events)
        shown = replace(identified, searched=searched)
        answer = identification.answer_in(session, shown, top_k, sender.request_id)
        recording = schemas.Recording(
            **dict(answer), capture=capture_view(capture), events=recorded_views(session, events)
        )
        if stand.camera_id is not None and (camera := session.get(Camera, stand.camera_id)) is not None:
            saw(session, camera, stand.clock.received_at, stand.moment.occurred_at)
        return recording

    def write(
        self, session: Session, stand: Stand, searched: Searched, sender: Sender
    ) -> tuple[Capture, list[Event], Searched]:
        """The rows of a capture: its decisions, its events and the days that follow."""
        present = queries.lock_people(session, {id_ for face in searched.faces if (id_ := face.decision.person_id)})
        capture = _capture(stand, sender)
        session.add(capture)
        session.flush()
        is_event = [_makes_event(face, stand.policy) for face in searched.faces]
        event_ids = self.log.store_in(session, searched.faces, searched.circumstances, is_event)
        events = [
            _event(event_id, face, capture, stand, present.keys())
            for event_id, face, makes in zip(event_ids, searched.faces, is_event, strict=True)
            if makes and event_id
        ]
        self.bookkeeper.add(session, events)
        return capture, events, replace(searched, event_ids=event_ids)

    def _stand(self, session: Session, camera: Camera | None, sent: Sent, sender: Sender, key: CaptureKey) -> Stand:
        site = sites.get(session, camera.site_id if camera else sites.DEFAULT_SITE)
        policy = Policy.model_validate(camera.policy) if camera else Policy()
        return Stand(
            key=key,
            created_by=sender.principal.actor,
            camera_id=camera.id if camera else None,
            site_id=site.id,
            timezone=sites.zone_of(site, self.bookkeeper.default_zone),
            repeat_window_s=site.repeat_window_s,
            keeps_unknown=site.unknown_days > 0 and policy.unknown == "keep",
            keeps_known=self.crops.event_days > 0,
            policy=policy,
            min_face_px=policy.min_face_px or sent.min_face_px,
            moment=true_moment(session, camera, sent.captured_at, sender.clock, self.max_age_days),
            clock=sender.clock,
            direction=direction_at(camera, sent.direction, sender.principal),
        )

    def _keep_unknown(
        self, session: Session, stand: Stand, seen: Seen, searched: Searched, events: Sequence[Event]
    ) -> None:
        if not (stand.keeps_unknown and seen.crops):
            return
        site, by_id = sites.get(session, stand.site_id), {event.id: event for event in events}
        for index, event_id in enumerate(searched.event_ids):
            # Somebody who was named, and erased meanwhile, is an unknown face too; nothing may be kept of them.
            if event_id in by_id and searched.faces[index].decision.outcome is Outcome.UNKNOWN:
                sample = seen.samples[index]
                keep_face(
                    session,
                    event_id=by_id[event_id].id,
                    site=site,
                    model=sample.model,
                    quality=sample.quality.score,
                    seen_at=stand.moment.occurred_at,
                    crop_jpeg=as_jpeg(seen.crops[index]),
                    embedding=encode_embedding(sample.embedding),
                    sealer=self.sealer,
                )

    def _keep_known(self, session: Session, seen: Seen, searched: Searched, events: Sequence[Event]) -> None:
        """The face of whoever was named, once for each presence: somebody in sight all day is seen a thousand times."""
        if not (self.crops.event_days and seen.crops):
            return
        index_of = {event_id: index for index, event_id in enumerate(searched.event_ids)}
        for event in events:
            if event.person_id is not None and event.duplicate_of is None:
                self.crops.keep_of_event(session, event, as_small_jpeg(seen.crops[index_of[event.id]]))


def refuse_recorded(session: Session, key: CaptureKey) -> None:
    """409 where the capture is in the ledger already; 422 where another one is, under the same key."""
    if key.idempotency_key is None:
        return
    capture = queries.capture_by_key(session, key.owner, key.idempotency_key)
    if capture is None:
        return
    if capture.content_sha256 != key.content_sha256:
        detail = "This Idempotency-Key was used before for another picture or time. Make a new key per capture."
        raise ProblemError(422, "idempotency_mismatch", detail)
    events = [event.id for event in queries.events_of_capture(session, capture.id)]
    detail = "A capture with this Idempotency-Key is in the ledger. Count this one as delivered."
    raise ProblemError(409, "capture_recorded", detail, extra={"capture_id": capture.id, "event_ids": events})


def _capture(stand: Stand, sender: Sender) -> Capture:
    return Capture(
        id=new_id("cap"),
        owner=stand.key.owner,
        idempotency_key=stand.key.idempotency_key,
        content_sha256=stand.key.content_sha256,
        camera_id=stand.camera_id,
        captured_at=stand.moment.captured_at,
        occurred_at=stand.moment.occurred_at,
        clock_offset_s=stand.moment.clock_offset_s,
        received_at=stand.clock.received_at,
        request_id=sender.request_id,
    )


def _makes_event(face: DecidedFace, policy: Policy) -> bool:
    outcome = face.decision.outcome
    return outcome is not Outcome.LOW_QUALITY and (outcome is not Outcome.UNKNOWN or policy.unknown != "ignore")


def _event(event_id: str, face: DecidedFace, capture: Capture, stand: Stand, present: Collection[str]) -> Event:
    person_id = face.decision.person_id if face.decision.person_id in present else None
    is_erased = person_id is None and face.decision.outcome is Outcome.IDENTIFIED
    return Event(
        id=event_id,
        capture_id=capture.id,
        camera_id=stand.camera_id,
        site_id=stand.site_id,
        timezone=stand.timezone,
        repeat_window_s=stand.repeat_window_s,
        method="face",
        outcome=(Outcome.UNKNOWN if is_erased else face.decision.outcome).value,
        received_at=capture.received_at,
        created_by=stand.created_by,
        person_id=person_id,
        occurred_at=stand.moment.occurred_at,
        given_direction=stand.direction,
        is_deleted=False,
    )
