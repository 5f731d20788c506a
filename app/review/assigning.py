"""Unknown faces -> a person's: their best crops are enrolled like any photo, and their events become the person's."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sqlalchemy.orm import Session

from app.attendance.ledger import Bookkeeper
from app.audit.service import record
from app.auth.scopes import Principal
from app.db.tables import Person, UnknownCluster
from app.db.types import utc_now
from app.enrolment.photos import ADVICE, SeenFiles, Upload
from app.enrolment.schemas import Enrolment
from app.enrolment.service import Enroller, EnrollRequest
from app.errors import ProblemError
from app.gallery.changes import current_revision
from app.gallery.queries import lock_gallery
from app.identification.schemas import PersonRef
from app.people import queries as people_queries
from app.people import schemas as people_schemas
from app.people import service as people_service
from app.review import queries, schemas, service
from app.sealing import SealBrokenError, Sealer
from ml.enrolling import most_prominent
from ml.pose import angle_between
from ml.quality import ENROLL_LIMITS, reasons_against
from ml.types import Sample

REASON: Final = "assigned from unknown faces"
# Crops that are looked at again, the best ones, and how many of them become templates: a few seconds, and as many
# templates as three photos and some give.
_LOOKED_AT: Final = 12
_ENROLLED: Final = 5
# A head turned this far from the others counts twice as much as one like them; as in `ml.clip`.
_NEW_VIEW_DEG: Final = 30.0


@dataclass(frozen=True, slots=True)
class Assigner:
    """Everything that assigning needs."""

    enroller: Enroller
    sealer: Sealer

    def read(self, cluster_id: str, wanted: schemas.Assign) -> SeenFiles | None:
        """Look at the best crops again; slow, and outside any transaction. None when nothing is to be enrolled."""
        with self.enroller.database.read() as session:
            service.get_assignable(session, cluster_id)
            request = _request(session, wanted)
            sealed = queries.sealed_crops(session, cluster_id, utc_now(), _LOOKED_AT) if wanted.enroll else []
        if not wanted.enroll:
            return None
        crops = self._opened(sealed)
        if not crops:
            raise _not_good_enough("None of the faces is kept any more.")
        return _varied(self.enroller.read(request, crops))

    def store(
        self, session: Session, cluster_id: str, wanted: schemas.Assign, seen: SeenFiles | None, caller: Principal
    ) -> schemas.Assigned:
        """Write everything that follows; the caller commits, so it is all there or nothing is."""
        lock_gallery(session)  # before all others, as everybody does who needs it
        queries.lock_clusters(session)
        cluster = service.get_assignable(session, cluster_id)
        request = _request(session, wanted)
        enrolled_since = _enrolled_since(session, request.employee_code)  # before there are templates of these faces
        enrolment = self._enrol(session, request, seen, caller) if seen is not None else None
        person = _person(session, request, caller)
        if cluster.status == "dismissed":
            service.take_back(session, cluster)
        service.resolve(cluster, "assigned", caller)
        cluster.person_id = person.id
        event_ids = queries.event_ids_of(session, cluster_id)
        cluster.was_enrolled = _note_misses(session, cluster, event_ids, enrolled_since)
        n_corrected = self._correct(session, event_ids, person, caller) if wanted.correct_events else 0
        n_deleted = queries.delete_faces(session, event_ids)
        counts = {"person_id": person.id, "faces": n_deleted, "events_corrected": n_corrected}
        record(session, caller.actor, "unknown.assigned", cluster_id, counts)
        return schemas.Assigned(
            id=cluster_id,
            status="assigned",
            person=PersonRef(id=person.id, employee_code=person.employee_code, name=person.name),
            was_enrolled=cluster.was_enrolled,
            enrolment=enrolment,
            n_events_corrected=n_corrected,
            n_crops_deleted=n_deleted,
            gallery_revision=current_revision(session),
        )

    def _enrol(self, session: Session, request: EnrollRequest, seen: SeenFiles, caller: Principal) -> Enrolment:
        try:
            return self.enroller.store(session, request, seen, caller)
        except ProblemError as error:
            if error.code not in {*ADVICE, "nothing_to_enroll"}:
                raise
            refused = _not_good_enough(str(error.detail))
            refused.errors = error.errors
            raise refused from None

    def _correct(self, session: Session, event_ids: Sequence[str], person: Person, caller: Principal) -> int:
        """Give the events to the person; those that an operator gave to somebody else stay theirs."""
        events = queries.unnamed_events(session, event_ids)
        books = Bookkeeper(self.enroller.settings.timezone)
        books.correct_all(session, events, {"person_id": person.id}, REASON, caller.actor)
        return len(events)

    def _opened(self, sealed: Sequence[tuple[str, bytes]]) -> list[Upload]:
        """Those whose seal opens; the others were sealed with a key that is gone."""
        opened = []
        for event_id, crop in sealed:
            try:
                opened.append(Upload(f"{event_id}.jpg", self.sealer.open(crop)))
            except SealBrokenError:
                continue
        return opened


def _request(session: Session, wanted: schemas.Assign) -> EnrollRequest:
    """The same as an enrolment's; of a person who is named by id, with their code."""
    code = wanted.employee_code or people_service.get(session, wanted.person_id or "").employee_code
    holder = people_queries.person_by_code(session, code)
    if holder is not None and wanted.name and wanted.name != holder.name:
        detail = "Somebody else has this employee_code. Give another one, or the person_id of the one that you mean."
        raise ProblemError(409, "employee_code_taken", detail)
    allows_duplicate = wanted.on_duplicate == "allow"
    return EnrollRequest(code, wanted.name, has_consent=wanted.consent, allows_duplicate=allows_duplicate)


def _person(session: Session, request: EnrollRequest, caller: Principal) -> Person:
    """Whose faces these are; somebody new is added also when nothing is enrolled."""
    person = people_queries.person_by_code(session, request.employee_code)
    if person is not None:
        return person
    if not request.name:
        detail = "There is nobody with this employee_code yet: send `name` too, to add them."
        raise ProblemError(422, "name_missing", detail)
    new = people_schemas.PersonCreate(employee_code=request.employee_code, name=request.name)
    return people_service.create(session, new, caller)


def _enrolled_since(session: Session, employee_code: str) -> datetime | None:
    person = people_queries.person_by_code(session, employee_code)
    return queries.enrolled_since(session, [person.id]).get(person.id) if person is not None else None


def _note_misses(
    session: Session, cluster: UnknownCluster, event_ids: Sequence[str], enrolled_since: datetime | None
) -> bool:
    """Judge the decisions about the cluster's faces; returns whether the person was enrolled at the first of them.

    Who was enrolled when a face was looked for was missed; else it was right to name nobody. Faces that an operator
    gave to somebody else are not this person's.
    """
    decisions = queries.decisions(session, event_ids)
    for decision in decisions:
        was_missed = enrolled_since is not None and enrolled_since <= decision.at
        if decision.is_correct is None:
            service.judge(decision, cluster, cluster.person_id if was_missed else None)
    session.flush()
    first = min((decision.at for decision in decisions), default=cluster.first_seen_at)
    return enrolled_since is not None and enrolled_since <= first


def _varied(seen: SeenFiles) -> SeenFiles:
    """Only the few crops that are worth enrolling: good ones, of heads turned differently.

    Where none is good enough all of them stay, so that enrolling says of each what is wrong with it.
    """
    main = {number: most_prominent(photo) for number, photo in seen.photos.items() if photo.samples}
    good = {number: sample for number, sample in main.items() if not reasons_against(sample.quality, ENROLL_LIMITS)}
    chosen: dict[int, Sample] = {}
    while good and len(chosen) < _ENROLLED:
        number = max(good, key=lambda each: _worth(good[each], list(chosen.values())))
        chosen[number] = good.pop(number)
    if not chosen:
        return seen
    return replace(seen, photos={number: seen.photos[number] for number in sorted(chosen)}, errors={})


def _worth(sample: Sample, chosen: Sequence[Sample]) -> float:
    turned = min((angle_between(sample.quality.pose, each.quality.pose) for each in chosen), default=_NEW_VIEW_DEG)
    return sample.quality.score * (1 + min(turned / _NEW_VIEW_DEG, 1.0))


def _not_good_enough(why: str) -> ProblemError:
    detail = (
        f"None of these faces is good enough to enrol from. {why} Send enroll=false to only correct the events, and "
        "enrol the person with photos."
    )
    return ProblemError(422, "crops_not_good_enough", detail)
