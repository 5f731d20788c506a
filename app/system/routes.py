"""`/v1/system`."""

from fastapi import APIRouter
from pydantic import BaseModel

from app import __version__
from app.auth.dependencies import OperatorDep
from app.gallery.dependencies import GalleryDep
from app.http.dependencies import DatabaseDep
from app.identification.schemas import GalleryInfo
from app.inference.dependencies import InferenceDep
from app.jobs import service as job_service
from app.jobs.schemas import Workload

router = APIRouter(prefix="/v1", tags=["Operations"])


class Model(BaseModel):
    name: str
    detector: str
    licence: str
    weights_origin: str
    quality_note: str
    limits: str


class Engine(BaseModel):
    """How the networks run: runtime, arithmetic and threads, and whether that was set, measured or assumed."""

    plan: str
    ground: str


class System(BaseModel):
    """What is running, on what, and how large it has become."""

    version: str
    device: str
    engine: Engine
    model: Model
    gallery: GalleryInfo
    database: str
    jobs: Workload


@router.get("/system")
def system(inference: InferenceDep, gallery: GalleryDep, database: DatabaseDep, _caller: OperatorDep) -> System:
    """Version, the device and networks really in use, the gallery of the replica that answers, and the jobs."""
    card, info, version = inference.card, inference.info, gallery.version()
    with database.read() as session:
        jobs = job_service.workload(session)
    return System(
        version=__version__,
        device=info.device,
        engine=Engine(plan=info.plan, ground=info.ground),
        model=Model(
            name=info.model,
            detector=info.detector,
            licence=card.licence,
            weights_origin=card.weights_origin,
            quality_note=card.quality_note,
            limits=card.limits,
        ),
        gallery=GalleryInfo(n_people=version.n_people, n_templates=version.n_templates, revision=version.revision),
        database=database.engine.dialect.name,
        jobs=jobs,
    )
