"""The gallery of this process -> what it says of every threshold. Slow for large galleries; reads, never writes."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from threading import Event, Lock
from time import perf_counter

import structlog

from app.db.engine import Database
from app.gallery.replica import GalleryReplica, GalleryVersion
from app.operating_points import queries
from ml.backbones.card import ModelCard
from ml.calibration import Calibration, Curves, gather
from ml.evidence import GalleryEvidence, search_gallery
from ml.gallery import Gallery, GallerySnapshot

# Galleries up to this size are calibrated while the caller waits: 0.3 s on two cores.
SMALL_N_TEMPLATES = 5000

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Calibrated:
    """A calibration with what it was made from, and for which backbone.

    `found` is None and `gallery_revision` -1 where the gallery was not searched: then the model card alone speaks.
    """

    model: str
    gallery_revision: int
    judged_at: datetime | None
    found: GalleryEvidence | None
    n_templates: int
    calibration: Calibration
    curves: Curves
    look_alike_margin: float


class Calibrator:
    """Calibrates, one at a time, and keeps the latest result; safe for use from several threads."""

    def __init__(self, database: Database, gallery: GalleryReplica, card_of: Callable[[str], ModelCard]) -> None:
        self._database = database
        self._gallery = gallery
        self._card_of = card_of
        self._calibrating = Lock()
        self._latest: Calibrated | None = None
        self._wanted = Event()

    @property
    def model(self) -> str:
        """Word of the model in use."""
        return self._gallery.model

    @property
    def is_small(self) -> bool:
        """Whether calibrating takes no longer than a person waits."""
        return self._gallery.version().n_templates <= SMALL_N_TEMPLATES

    @property
    def is_busy(self) -> bool:
        return self._calibrating.locked()

    @property
    def is_wanted(self) -> bool:
        """Whether somebody was answered by the card alone because a calibration takes longer than a person waits."""
        return self._wanted.is_set()

    def fresh(self) -> Calibrated:
        """For the gallery and the confirmed searches as they are now."""
        with self._calibrating:
            latest = self._latest
            if latest is None or not self._is_current(latest):
                latest = self._latest = self._calibrate()
            self._wanted.clear()
            return latest

    def quick(self) -> Calibrated:
        """Fresh where that is quick; else the latest, which the background renews, or the card until there is one."""
        if self.is_small:
            return self.fresh()
        latest = self._latest
        if latest is None or latest.model != self.model:
            self._wanted.set()
            return self.from_card()
        return latest

    def from_card(self) -> Calibrated:
        """What the model card alone says of a gallery of this size, at once; the background improves on it."""
        version = self._gallery.version()
        card = self._card_of(version.model)
        empty = Gallery(model=version.model, dim=card.dim).snapshot()
        found = search_gallery(empty, empty.person_rows, card.score_rule)
        evidence = replace(gather(found, version.n_templates, card.prior), n_people=version.n_people)
        calibration = Calibration(evidence, card.prior)
        return _calibrated(version, calibration, card, found=None, n_templates=version.n_templates, judged_at=None)

    def _is_current(self, latest: Calibrated) -> bool:
        with self._database.read() as session:
            judged_at = queries.last_judged_at(session)
        version = self._gallery.version()
        known = latest.model, latest.gallery_revision, latest.judged_at
        return known == (version.model, version.revision, judged_at)

    def _calibrate(self) -> Calibrated:
        snapshot, version = self._gallery.snapshot()
        return calibrate(self._database, snapshot, version, self._card_of(version.model))


def calibrate(database: Database, snapshot: GallerySnapshot, version: GalleryVersion, card: ModelCard) -> Calibrated:
    """Search a gallery with its own templates, and say what that means; slow for a large one."""
    started = perf_counter()
    with database.read() as session:
        judged_at = queries.last_judged_at(session)
        confirmed = queries.confirmed_searches(session, version.model)
        origins = queries.origins(session, snapshot.template_ids)
    found = search_gallery(snapshot, origins.enrolments, card.score_rule, is_clip=origins.is_clip)
    n_templates = len(snapshot.template_ids)
    calibration = Calibration(gather(found, n_templates, card.prior, confirmed), card.prior)
    log.info(
        "threshold.calibrated",
        n_people=version.n_people,
        n_templates=version.n_templates,
        seconds=round(perf_counter() - started, 3),
    )
    return _calibrated(version, calibration, card, found=found, n_templates=n_templates, judged_at=judged_at)


def _calibrated(
    version: GalleryVersion,
    calibration: Calibration,
    card: ModelCard,
    *,
    found: GalleryEvidence | None,
    n_templates: int,
    judged_at: datetime | None,
) -> Calibrated:
    return Calibrated(
        model=version.model,
        gallery_revision=-1 if found is None else version.revision,
        judged_at=judged_at,
        found=found,
        n_templates=n_templates,
        calibration=calibration,
        curves=calibration.curves(),
        look_alike_margin=card.look_alike_margin,
    )
