"""Taking in a clip: the person, the enrolment and its job are written at once; the work is done by the job."""

from dataclasses import dataclass
from typing import BinaryIO

from sqlalchemy.orm import Session

from app.auth.scopes import Principal
from app.db.engine import Database
from app.db.tables import Enrolment
from app.db.types import new_id, utc_now
from app.enrolment import service
from app.enrolment.service import EnrollRequest
from app.enrolment.uploads import Uploads
from app.gallery.queries import lock_gallery
from app.http.idempotency import Answer, Store
from app.inference.clips import video_limits
from app.jobs.service import enqueue
from app.settings import Settings
from ml.video import probe_video

ENROLL_VIDEO = "enroll_video"


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
            service.person_to_enroll(session, request, self.settings)
        enrolment_id = new_id("enr")
        with self.uploads.saved(enrolment_id, clip.content) as path:
            probe_video(path, video_limits(self.settings))
            with self.database.write() as session:
                lock_gallery(session)  # nobody is erased from here on
                enrolment = self._queue(session, enrolment_id, request, clip.name, caller)
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
