"""Taking in a clip: the person, the enrolment and its job are written at once; the work is done by the job."""

from dataclasses import dataclass
from typing import BinaryIO

from sqlalchemy.orm import Session

from app.auth.scopes import Principal
from app.db.engine import Database
from app.db.tables import Enrolment
from app.db.types import new_id, utc_now
from app.enrolment import queries, service
from app.enrolment.service import EnrollRequest
from app.enrolment.uploads import Uploads
from app.errors import ProblemError
from app.gallery.queries import lock_gallery
from app.http.idempotency import Answer, Store
from app.inference.clips import video_limits
from app.jobs.service import enqueue
from app.settings import Settings
from ml.errors import VideoError
from ml.video import probe_video

ENROLL_VIDEO = "enroll_video"
# So that clips that nobody reads do not fill the disk; each is a few megabytes as a rule, 200 at most.
_MOST_WAITING = 100
_RETRY_AFTER_S = 30


@dataclass(frozen=True, slots=True)
class Clip:
    """An uploaded video; `name` is what the caller calls it and is never used as a path."""

    name: str
    content: BinaryIO


@dataclass(frozen=True, slots=True)
class VideoIntake:
    """Everything that taking in a clip needs."""

    database: Database
    uploads: Uploads
    settings: Settings

    def take(self, request: EnrollRequest, clip: Clip, caller: Principal, store: Store) -> Answer:
        """Keep the clip and ask for its job: both, or neither when the clip or the request is refused.

        Raises:
            VideoError: the file is no video that we accept.
        """
        with self.database.read() as session:
            self._refuse_early(session, request)
        enrolment_id = new_id("enr")
        with self.uploads.saved(enrolment_id, clip.content) as path:
            try:
                probe_video(path, video_limits(self.settings))
                return self._store(enrolment_id, request, clip.name, caller, store)
            except (VideoError, ProblemError):
                self.uploads.remove(enrolment_id)
                raise
            # After any other error nobody knows whether the commit went through: the sweeper asks the database.

    def _refuse_early(self, session: Session, request: EnrollRequest) -> None:
        """What would be refused after the work, and what there is no room for."""
        person = service.person_to_enroll(session, request, self.settings)
        if person is not None:
            service.refuse_too_many(session, person, 1, self.settings)
        if queries.n_waiting(session) >= _MOST_WAITING:
            detail = f"{_MOST_WAITING} clips are waiting to be read. Send this one again later."
            raise ProblemError(429, "overloaded", detail, headers={"Retry-After": str(_RETRY_AFTER_S)})

    def _store(
        self, enrolment_id: str, request: EnrollRequest, file_name: str, caller: Principal, store: Store
    ) -> Answer:
        with self.database.write_in_turn() as session:
            lock_gallery(session)  # nobody is erased from here on
            enrolment = self._queue(session, enrolment_id, request, file_name, caller)
            answer = Answer(202, service.view(session, enrolment), {"Location": f"/v1/enrolments/{enrolment_id}"})
            return store(session, answer)

    def _queue(
        self, session: Session, enrolment_id: str, request: EnrollRequest, file_name: str, caller: Principal
    ) -> Enrolment:
        person = service.person_for(session, request, self.settings, caller)
        payload = {"enrolment_id": enrolment_id, "allows_duplicate": request.allows_duplicate}
        enrolment = Enrolment(
            id=enrolment_id,
            person_id=person.id,
            kind="video",
            status="queued",
            progress=0.0,
            frames_read=0,
            faces_seen=0,
            rejected=[],
            warnings=[],
            created_at=utc_now(),
            file_name=file_name,
            job_id=enqueue(session, ENROLL_VIDEO, payload, caller.actor).id,
        )
        session.add(enrolment)
        session.flush()
        return enrolment
