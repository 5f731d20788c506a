"""`/v1/gallery`."""

from fastapi import APIRouter

from app.auth.dependencies import AdminDep, OperatorDep
from app.gallery import schemas, service
from app.gallery.dependencies import ReplicaDep
from app.http.dependencies import DatabaseDep

router = APIRouter(prefix="/v1/gallery", tags=["Operations"])


@router.get("")
def gallery_state(database: DatabaseDep, replica: ReplicaDep, _caller: OperatorDep) -> schemas.GalleryState:
    """The stored gallery, and every process that holds it in memory: how far it is, and what its last audit found.

    `index` is how the process that answers searches, with the recall that it measured.
    """
    with database.read() as session:
        return service.state(session, replica.indexes)


@router.post("/audit", status_code=202)
def audit_gallery(database: DatabaseDep, replica: ReplicaDep, caller: AdminDep) -> schemas.GalleryState:
    """Asks every replica to compare its index with the database: counts, ids, owners, and vectors by checksum.

    Each does so within seconds, and every hour by itself; `GET /v1/gallery` has the reports. One that differs rebuilds
    itself at once.
    """
    with database.write() as session:
        return service.request_audit(session, caller, replica.indexes)


@router.post("/rebuild", status_code=202)
def rebuild_gallery(database: DatabaseDep, replica: ReplicaDep, caller: AdminDep) -> schemas.GalleryState:
    """Asks every replica to load the gallery anew, aside, and to swap it in; searches go on meanwhile."""
    with database.write() as session:
        return service.request_rebuild(session, caller, replica.indexes)
