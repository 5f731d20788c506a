"""Builds the application from its settings; nothing here happens at import."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from prometheus_client import CollectorRegistry, ProcessCollector
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from app import __version__
from app.attendance.batch import BatchSlots
from app.attendance.day_routes import router as days_router
from app.attendance.event_routes import router as events_router
from app.attendance.ledger import Bookkeeper
from app.attendance.punch_routes import router as punches_router
from app.attendance.routes import router as captures_router
from app.attendance.stale import StaleDays
from app.audit.routes import router as audit_router
from app.auth.middleware import AuthenticationMiddleware
from app.auth.routes import router as keys_router
from app.cameras.routes import router as cameras_router
from app.cameras.snapshot_routes import router as snapshots_router
from app.cameras.snapshots import SnapshotPurger
from app.crops.retention import CropPurger
from app.crops.routes import router as crops_router
from app.dashboard.feed import LiveFeed
from app.dashboard.figures import FigureBook
from app.dashboard.frame.security import PageSecurityMiddleware
from app.dashboard.routes import add_dashboard, problem_page, wants_page
from app.dashboard.sightings import OddsBook
from app.db.engine import open_database
from app.db.migrate import upgrade
from app.decisions.log import DecisionLog
from app.decisions.retention import DecisionPurger
from app.decisions.routes import router as decisions_router
from app.enrolment.checking import router as checking_router
from app.enrolment.routes import router as enrolment_router
from app.enrolment.sweeper import UploadSweeper
from app.enrolment.uploads import Uploads
from app.errors import ProblemError, problem_for, problem_response
from app.explanations.routes import router as explanations_router
from app.explanations.service import Explainer
from app.exports.routes import router as exports_router
from app.gallery.replica import GalleryReplica
from app.gallery.routes import router as gallery_router
from app.gallery.upkeep import Upkeep
from app.hashing import SlowHasher
from app.health.routes import router as health_router
from app.http.body_limit import BodyLimitMiddleware, BodyLimits
from app.http.docs import add_reference
from app.http.idempotency import InFlight
from app.http.openapi import openapi_schema
from app.http.overload import OverloadMiddleware
from app.http.request_context import RequestContextMiddleware
from app.identification.routes import router as identification_router
from app.identification.videos import ClipSlots
from app.inference.images import ImageReader
from app.inference.loading import load_inference
from app.inference.port import Inference
from app.jobs.routes import router as jobs_router
from app.metrics.attendance import AttendanceMetrics
from app.metrics.identify import IdentifyMetrics
from app.metrics.requests import RequestMetrics
from app.metrics.routes import router as metrics_router
from app.metrics.state import StateCollector
from app.models.embedding import Reembedder
from app.models.holding import ModelHolder
from app.models.routes import retrain_router
from app.models.routes import router as models_router
from app.models.schedule import RetrainSchedule
from app.models.understudy import Understudy
from app.operating_points.calibrator import Calibrator
from app.operating_points.current import PointInForce
from app.operating_points.recalibrator import Recalibrator
from app.operating_points.routes import router as operating_points_router
from app.operating_points.service import ensure_point
from app.people.routes import router as people_router
from app.periodic import Periodic
from app.review.clustering import Clusterer
from app.review.retention import FacePurger
from app.review.routes import router as review_router
from app.sealing import Sealer
from app.settings import Settings
from app.shifts.routes import roster_router
from app.shifts.routes import router as shifts_router
from app.sites.routes import holidays_router
from app.sites.routes import router as sites_router
from app.system.routes import router as system_router
from app.users.routes import router as users_router
from app.users.sessions import SessionLimits
from app.webhooks.retention import DeliveryPurger
from app.webhooks.routes import router as webhooks_router
from app.webhooks.sender import WebhookSender

ROUTERS = (
    people_router,
    enrolment_router,
    checking_router,
    identification_router,
    captures_router,
    events_router,
    days_router,
    punches_router,
    decisions_router,
    sites_router,
    holidays_router,
    snapshots_router,
    cameras_router,
    shifts_router,
    roster_router,
    exports_router,
    webhooks_router,
    review_router,
    crops_router,
    explanations_router,
    operating_points_router,
    gallery_router,
    models_router,
    retrain_router,
    jobs_router,
    system_router,
    audit_router,
    users_router,
    keys_router,
    health_router,
    metrics_router,
)
DESCRIPTION = "Face-recognition attendance: enrol people, identify them, and know how often that goes wrong."
# What a form adds around the file it carries: boundaries, headers, small fields.
FORM_OVERHEAD_BYTES = 1_000_000
# Names and passwords.
SIGN_IN_BYTES = 64_000
SCRUB_EVERY_S = 2.0
# How soon the faces of one stranger are together, and how late what has expired is gone.
CLUSTER_EVERY_S = 5.0
PURGE_FACES_EVERY_S = 60.0


def create_app(settings: Settings, inference: Inference | None = None) -> FastAPI:
    """The service. When it starts, its database is migrated, its networks are loaded and its gallery is built.

    `inference` is used instead of loading networks, for whoever has them loaded already; it is theirs to close.
    """
    metrics = CollectorRegistry()
    app = FastAPI(
        title="Rollcall",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,  # FastAPI's own pages fetch their scripts from other people's servers
        redoc_url=None,
        lifespan=lifespan,
        middleware=middleware(settings, RequestMetrics(metrics)),
        exception_handlers={HTTPException: _refuse, RequestValidationError: _refuse},
    )
    _hold(app, settings)
    app.state.inference = inference
    app.state.owns_inference = inference is None
    app.state.metrics = metrics
    app.state.identify_metrics = IdentifyMetrics(metrics)
    app.state.attendance_metrics = AttendanceMetrics(metrics)
    metrics.register(StateCollector(app.state))
    ProcessCollector(registry=metrics)
    for router in ROUTERS:
        app.include_router(router)
    add_reference(app)
    add_dashboard(app)
    app.openapi = partial(openapi_schema, app)  # type: ignore[method-assign]
    return app


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Makes everything ready before the first request and puts it away after the last."""
    await run_in_threadpool(prepare, app)
    try:
        yield
    finally:
        await run_in_threadpool(_stop, app)


def prepare(app: FastAPI) -> None:
    """Migrates, loads and builds what requests need, unless that is done already.

    `rollcall serve` calls it before the lifespan does, because the server would bury an error there in its own stack.
    """
    state = app.state
    if state.is_prepared:
        return
    upgrade(state.database.engine)
    state.inference = state.inference or load_inference(state.settings)
    holder = ModelHolder(state.database, state.inference, state.sealer, state.settings.backbone)
    holder.begin()
    state.gallery = GalleryReplica(state.database, model=state.inference.info.model, dim=state.inference.card.dim)
    state.gallery_upkeep = Upkeep(state.database, state.gallery, "api")
    reembedder = Reembedder(state.database, state.inference, state.sealer)
    state.understudy = Understudy(state.database, holder, state.gallery, state.gallery_upkeep.caretaker, reembedder)
    state.gallery_upkeep.start()
    state.understudy.start()
    state.point_in_force = PointInForce(state.database)
    state.calibrator = Calibrator(state.database, state.gallery, state.inference.card_of)
    ensure_point(state.database, state.calibrator)
    state.recalibrator = Recalibrator(state.database, state.gallery, state.calibrator)
    state.recalibrator.start()
    state.sweeper = UploadSweeper(state.database, state.uploads, keep_uploads=state.settings.keep_uploads)
    state.sweeper.start()
    state.decision_purger = DecisionPurger(state.database, state.settings.decision_retention_days)
    state.decision_purger.start()
    state.stale_days = StaleDays(state.database, Bookkeeper(state.settings.timezone))
    state.stale_days.start()
    state.scrubber = Periodic("scrubber", state.database.scrub_leftovers, SCRUB_EVERY_S)
    state.scrubber.start()
    state.webhook_purger = DeliveryPurger(state.database, state.settings.webhook_retention_days)
    state.webhook_purger.start()
    state.webhook_sender = WebhookSender(state.database, state.sealer)
    state.webhook_sender.start()
    state.clusterer = Clusterer(state.database, state.sealer, state.inference)
    state.clustering = Periodic("unknown-clusterer", state.clusterer.run, CLUSTER_EVERY_S)
    state.clustering.start()
    state.face_purger = Periodic("unknown-purger", FacePurger(state.database).purge, PURGE_FACES_EVERY_S)
    state.face_purger.start()
    state.snapshot_purger = Periodic("snapshot-purger", SnapshotPurger(state.database).purge, PURGE_FACES_EVERY_S)
    state.snapshot_purger.start()
    crop_purger = CropPurger(
        state.database, state.settings.crop_retention_days, keeps_templates=state.settings.keep_template_crops
    )
    state.crop_purger = Periodic("crop-purger", crop_purger.purge, PURGE_FACES_EVERY_S)
    state.crop_purger.start()
    state.retrain_schedule = RetrainSchedule(state.database, state.settings)
    state.retrain_schedule.start()
    state.live_feed = LiveFeed(state.database)
    state.on_gallery_change = state.gallery.hear
    state.readiness["gallery"] = lambda: state.gallery.trouble
    state.is_prepared = True


def _stop(app: FastAPI) -> None:
    app.state.is_prepared = False
    app.state.live_feed.close()
    app.state.retrain_schedule.stop()
    app.state.snapshot_purger.stop()
    app.state.crop_purger.stop()
    app.state.face_purger.stop()
    app.state.clustering.stop()
    app.state.webhook_sender.stop()
    app.state.webhook_purger.stop()
    app.state.scrubber.stop()
    app.state.stale_days.stop()
    app.state.decision_purger.stop()
    app.state.sweeper.stop()
    app.state.recalibrator.stop()
    app.state.understudy.stop()
    app.state.gallery_upkeep.stop()
    if app.state.owns_inference:
        app.state.inference.close()
        app.state.inference = None
    app.state.database.dispose()


def middleware(settings: Settings, metrics: RequestMetrics) -> list[Middleware]:
    """The layers around every route, outermost first."""
    limits = BodyLimits(
        default_bytes=settings.max_image_bytes + FORM_OVERHEAD_BYTES,
        timeout_s=settings.body_timeout_s,
        bytes_by_path={
            "/v1/enroll": settings.max_enroll_bytes,
            "/v1/captures/batch": settings.max_batch_bytes,
            "/v1/identify/video": settings.max_video_bytes + FORM_OVERHEAD_BYTES,
            # Base64 takes four bytes for three; two pictures are compared.
            "/v1/identify": settings.max_image_bytes * 4 // 3 + FORM_OVERHEAD_BYTES,
            "/v1/enroll/check": settings.max_image_bytes * 4 // 3 + FORM_OVERHEAD_BYTES,
            "/v1/compare": 2 * settings.max_image_bytes + FORM_OVERHEAD_BYTES,
            # Anybody may send these.
            **dict.fromkeys(("/login", "/logout", "/setup", "/cameras/kiosk-code"), SIGN_IN_BYTES),
        },
    )
    return [
        Middleware(PageSecurityMiddleware),
        Middleware(RequestContextMiddleware, observe=metrics.observe, respond=_respond),
        Middleware(OverloadMiddleware, paths={"/v1/identify", "/v1/compare", "/v1/captures"}),
        Middleware(BodyLimitMiddleware, limits=limits),
        Middleware(AuthenticationMiddleware, limits=SessionLimits.of(settings)),
    ]


def _hold(app: FastAPI, settings: Settings) -> None:
    """Everything that lives as long as the application."""
    app.state.settings = settings
    app.state.database = open_database(settings)
    app.state.sealer = Sealer.of(settings)
    app.state.uploads = Uploads(settings.uploads_path)
    app.state.image_reader = ImageReader(settings)
    app.state.in_flight = InFlight(timedelta(hours=settings.idempotency_ttl_hours))
    app.state.decision_log = DecisionLog(app.state.database, settings.decision_retention_days)
    app.state.clip_slots = ClipSlots()
    app.state.batch_slots = BatchSlots()
    # Apart: strangers who try passwords must not keep those at a door waiting who type a PIN.
    app.state.pin_hasher, app.state.password_hasher = SlowHasher(), SlowHasher()
    app.state.explainer = Explainer()
    app.state.figure_book = FigureBook(settings.timezone)
    app.state.odds_book = OddsBook()
    app.state.readiness = {}
    app.state.is_prepared = False
    app.state.on_gallery_change = lambda: None


async def _refuse(request: Request, exc: Exception) -> Response:
    return await _respond(request, problem_for(exc))


async def _respond(request: Request, problem: ProblemError) -> Response:
    if wants_page(request):
        return await run_in_threadpool(problem_page, request, problem)
    return problem_response(problem, request.state.request_id)
