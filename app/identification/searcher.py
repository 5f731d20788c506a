"""Probes -> stored decisions, at the operating point in force: the one way in which anybody is named."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from app.auth.scopes import Principal
from app.decisions.log import Circumstances, DecidedFace, DecisionLog
from app.gallery.replica import GalleryReplica, GalleryVersion
from app.inference.port import Inference
from app.operating_points.current import CurrentPoint, PointInForce
from ml.calibration import odds
from ml.decision import decide
from ml.quality import SEARCH_LIMITS, QualityLimits, reasons_against
from ml.scoring import rank_candidates
from ml.types import Decision, FloatArray, Quality

MAX_CANDIDATES = 50
"""Candidates that are searched for and decide, however few a caller wants to see: that must change no decision."""


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """What is searched for: unit-norm `embedding (D,)` made by `model`, and the quality of the face behind it.

    `agreement` as in `ml.scoring.rank_candidates`, for what is pooled from several frames.
    """

    embedding: FloatArray
    model: str
    quality: Quality
    agreement: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Searched:
    """What was decided about each probe, stored as which event, and on what ground."""

    faces: Sequence[DecidedFace]
    circumstances: Circumstances
    event_ids: Sequence[str | None]
    gallery: GalleryVersion
    point: CurrentPoint
    limits: QualityLimits

    @property
    def decisions(self) -> Sequence[Decision]:
        return [face.decision for face in self.faces]

    def odds(self, decision: Decision) -> float | None:
        """In how many searches a stranger reaches this score once; None in an empty gallery."""
        if decision.score is None:
            return None
        return float(f"{odds(decision.score, self.point.curves):.2g}")  # more digits would be more than is known


@dataclass(frozen=True, slots=True)
class Searcher:
    """Everything that deciding needs."""

    inference: Inference
    gallery: GalleryReplica
    point: PointInForce
    log: DecisionLog

    def search(
        self,
        probes: Sequence[Probe],
        request_id: str,
        caller: Principal,
        is_seen_with: NDArray[np.bool_] | None = None,
    ) -> Searched:
        """Decide who the faces of one image or clip are, and store that; `is_seen_with` as in `ml.decision.decide`."""
        judged = self.judge(probes, request_id, caller, is_seen_with)
        return replace(judged, event_ids=self.log.store(judged.faces, judged.circumstances))

    def judge(
        self,
        probes: Sequence[Probe],
        request_id: str,
        caller: Principal,
        is_seen_with: NDArray[np.bool_] | None = None,
        limits: QualityLimits = SEARCH_LIMITS,
    ) -> Searched:
        """As `search`, without storing anything: for whoever does that in a transaction of their own.

        All probes are of one model: they are searched among templates of that model, and decided at its threshold,
        whichever is in force by now.
        """
        model = probes[0].model if probes else self.gallery.model
        card = self.inference.card_of(model)
        embeddings = np.array([probe.embedding for probe in probes], dtype=np.float32).reshape(len(probes), card.dim)
        hits, version = self.gallery.search(embeddings, MAX_CANDIDATES, model)
        point = self.point.read(model)
        ranked = [
            rank_candidates(near, card.score_rule, MAX_CANDIDATES, probe.agreement)
            for near, probe in zip(hits, probes, strict=True)
        ]
        reasons = [reasons_against(probe.quality, limits) for probe in probes]
        decisions = decide(ranked, reasons, point.threshold, point.margins, is_seen_with)
        faces = [
            DecidedFace(decision, probe.quality, against)
            for decision, probe, against in zip(decisions, probes, reasons, strict=True)
        ]
        circumstances = Circumstances(
            request_id=request_id,
            actor=caller.actor,
            threshold=point.threshold,
            operating_point_id=point.id,
            gallery_revision=version.revision,
            model=model,
        )
        return Searched(faces, circumstances, [None] * len(faces), version, point, limits)
