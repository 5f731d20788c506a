"""What is kept of unknown faces, what is shown of it, and what follows from what operators say."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.orm import Session

from app.audit.service import record
from app.auth.scopes import Principal
from app.db.tables import DecisionRow, Site, UnknownCluster, UnknownFace
from app.db.types import utc_now
from app.errors import ProblemError
from app.identification.queries import person_refs
from app.review import queries, schemas
from app.sealing import SealBrokenError, Sealer

_SHOWN_IN_LIST: Final = 5
_SHOWN_ALONE: Final = 20
_VIEWED: Final = "unknown.viewed"
# Whoever looks at a cluster asks for its crops one by one: that is one view.
_ONE_VIEW: Final = timedelta(minutes=10)


def keep_face(
    session: Session,
    *,
    event_id: str,
    site: Site,
    model: str,
    quality: float,
    seen_at: datetime,
    crop_jpeg: bytes,
    embedding: bytes,
    sealer: Sealer,
) -> None:
    """Keep an unknown face for as long as its site allows; of one that is older than that already, nothing."""
    expires_at = seen_at + timedelta(days=site.unknown_days)
    if site.unknown_days <= 0 or expires_at <= utc_now():
        return
    session.add(
        UnknownFace(
            event_id=event_id,
            model=model,
            quality=quality,
            seen_at=seen_at,
            expires_at=expires_at,
            sealed_crop=sealer.seal(crop_jpeg),
            sealed_embedding=sealer.seal(embedding),
        )
    )


def get(session: Session, cluster_id: str) -> UnknownCluster:
    """The cluster, or 404."""
    cluster = queries.cluster(session, cluster_id)
    if cluster is None:
        detail = "There are no unknown faces with this id; faces that nobody decided about are kept for some days only."
        raise ProblemError(404, "unknown_not_found", detail)
    return cluster


def get_open(session: Session, cluster_id: str) -> UnknownCluster:
    """The cluster, or 409 where somebody has decided about it."""
    cluster = get(session, cluster_id)
    if cluster.status != "open":
        detail = f"These faces are {cluster.status} already; GET /v1/unknowns/{cluster.id} says by whom."
        raise ProblemError(409, "unknown_resolved", detail, extra={"unknown_status": cluster.status})
    return cluster


def get_assignable(session: Session, cluster_id: str) -> UnknownCluster:
    """The cluster, or 409 where it is somebody's; that it was dismissed is no obstacle."""
    cluster = get(session, cluster_id)
    return cluster if cluster.status == "dismissed" else get_open(session, cluster_id)


def dismiss(session: Session, cluster_id: str, reason: str | None, caller: Principal) -> UnknownCluster:
    """These faces are a stranger's: the same stranger is put to them from now on, and asked about no more."""
    queries.lock_clusters(session)
    cluster = get_open(session, cluster_id)
    resolve(cluster, "dismissed", caller)
    cluster.reason = reason
    session.flush()
    event_ids = queries.event_ids_of(session, cluster_id)
    note_strangers(session, cluster, event_ids)
    record(session, caller.actor, "unknown.dismissed", cluster_id, {"faces": len(event_ids)})
    return cluster


def reopen(session: Session, cluster_id: str, caller: Principal) -> UnknownCluster:
    """These faces were dismissed by mistake: they wait for a decision again, as if there had been none."""
    queries.lock_clusters(session)
    cluster = get(session, cluster_id)
    if cluster.status != "dismissed":
        detail = f"These faces are {cluster.status}; only those that were dismissed can be opened again."
        raise ProblemError(409, "unknown_not_dismissed", detail, extra={"unknown_status": cluster.status})
    take_back(session, cluster)
    record(session, caller.actor, "unknown.reopened", cluster_id)
    return cluster


def take_back(session: Session, cluster: UnknownCluster) -> None:
    """Undo a dismissal and what followed from it, also for faces that came later."""
    queries.unjudge(session, cluster)
    cluster.status, cluster.reason, cluster.resolved_at, cluster.resolved_by = "open", None, None, None
    session.flush()


def resolve(cluster: UnknownCluster, status: schemas.Status, caller: Principal) -> None:
    cluster.status, cluster.resolved_at, cluster.resolved_by = status, utc_now(), caller.actor


def note_strangers(session: Session, cluster: UnknownCluster, event_ids: Collection[str]) -> None:
    """It was right to name nobody: what was said of the cluster counts for these decisions of its faces."""
    for decision in queries.decisions(session, event_ids):
        if decision.is_correct is None:
            judge(decision, cluster, None)
    session.flush()


def judge(decision: DecisionRow, cluster: UnknownCluster, missed_person_id: str | None) -> None:
    """Write down what follows from a decided cluster for the decision about one of its faces.

    By the time, which all of them share, one tells what followed from the same word.
    """
    decision.is_correct, decision.true_person_id = missed_person_id is None, missed_person_id
    decision.judged_at, decision.judged_by = cluster.resolved_at, cluster.resolved_by


def forget(session: Session, person_id: str) -> int:
    """Delete what is kept of a person who is erased, before they are; returns how many crops that was."""
    return queries.delete_faces(session, queries.faces_of_person(session, person_id))


def crop(session: Session, cluster_id: str, event_id: str, sealer: Sealer) -> bytes:
    """The JPEG of one face, or 404."""
    sealed = queries.sealed_crop(session, cluster_id, event_id, utc_now())
    if sealed is None:
        raise ProblemError(404, "crop_not_found", "This face is not kept: it has expired, or somebody said who it is.")
    try:
        return sealer.open(sealed)
    except SealBrokenError:
        detail = "This face was sealed with another ROLLCALL_SECRET_KEY; set NEW,OLD to read it until it expires."
        raise ProblemError(409, "crop_unreadable", detail) from None


def note_view(session: Session, cluster_id: str, caller: Principal) -> None:
    """Somebody looked at strangers' faces: once for all that they look at in a few minutes."""
    if not was_viewed(session, cluster_id, caller):
        record(session, caller.actor, _VIEWED, cluster_id)


def was_viewed(session: Session, cluster_id: str, caller: Principal) -> bool:
    """Whether it is noted already that they look at these faces."""
    return queries.was_viewed(session, cluster_id, caller.actor, _VIEWED, utc_now() - _ONE_VIEW)


def views(session: Session, clusters: Sequence[UnknownCluster]) -> list[schemas.Unknown]:
    """Clusters as a list shows them."""
    return _views(session, clusters, _SHOWN_IN_LIST)


def view(session: Session, cluster: UnknownCluster) -> schemas.Unknown:
    """A cluster with more of its faces."""
    return _views(session, [cluster], _SHOWN_ALONE)[0]


def _views(session: Session, clusters: Sequence[UnknownCluster], n_faces: int) -> list[schemas.Unknown]:
    ids, now = [cluster.id for cluster in clusters], utc_now()
    faces = queries.best_faces(session, ids, now, n_faces)
    cameras = queries.cameras_of(session, ids, now)
    likenesses = queries.likenesses(session, [shown[0].event_id for shown in faces.values()])
    people = person_refs(session, {cluster.person_id for cluster in clusters if cluster.person_id})
    found = []
    for cluster in clusters:
        shown = faces.get(cluster.id, [])
        found.append(
            schemas.Unknown(
                id=cluster.id,
                status=_status(cluster),
                n_faces=cluster.n_faces,
                first_seen_at=cluster.first_seen_at,
                last_seen_at=cluster.last_seen_at,
                cameras=[schemas.CameraRef(id=id_, name=name) for id_, name in cameras.get(cluster.id, [])],
                looks_like=likenesses.get(shown[0].event_id, []) if shown else [],
                faces=[_face(face) for face in shown],
                person=people.get(cluster.person_id) if cluster.person_id else None,
                was_enrolled=cluster.was_enrolled,
                reason=cluster.reason,
                resolved_at=cluster.resolved_at,
                resolved_by=cluster.resolved_by,
            )
        )
    return found


def _status(cluster: UnknownCluster) -> schemas.Status:
    statuses: dict[str, schemas.Status] = {"open": "open", "assigned": "assigned", "dismissed": "dismissed"}
    return statuses[cluster.status]


def _face(face: queries.ShownFace) -> schemas.Face:
    return schemas.Face(
        event_id=face.event_id,
        quality=round(face.quality, 4),
        seen_at=face.seen_at,
        camera_id=face.camera_id,
        crop_url=f"/v1/unknowns/{face.cluster_id}/faces/{face.event_id}/crop",
    )
