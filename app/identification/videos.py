"""Identify everybody in a clip: each tracked face is one probe, pooled over its best frames."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import BoundedSemaphore
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from app.auth.scopes import Principal
from app.db.engine import Database
from app.errors import RETRY_AFTER_S, ProblemError
from app.identification import queries, schemas
from app.identification.searcher import Probe, Searched, Searcher
from app.identification.views import People, decision_view, ground_view, quality_view, shown_people
from app.inference.clips import ClipReader, SeenClip
from ml.tracking import Track, TrackedFace, pool_track


class ClipSlots:
    """A few clips at a time: each takes seconds to minutes, and pictures must be answered meanwhile."""

    def __init__(self, n: int = 2) -> None:
        self._free = BoundedSemaphore(n)

    @contextmanager
    def one(self) -> Iterator[None]:
        """Hold a slot; 429 when there is none."""
        if not self._free.acquire(blocking=False):
            detail = "Other clips are being looked at. Try again in a moment."
            raise ProblemError(429, "overloaded", detail, headers={"Retry-After": str(RETRY_AFTER_S)})
        try:
            yield
        finally:
            self._free.release()


@dataclass(frozen=True, slots=True, eq=False)
class IdentifiedClip:
    """What was seen in a clip, the best frame of each track, and what was decided about them."""

    seen: SeenClip
    best_faces: Sequence[TrackedFace]
    searched: Searched
    timing: schemas.ClipTimingMs


@dataclass(frozen=True, slots=True)
class ClipIdentifier:
    """Everything that identifying a clip needs."""

    reader: ClipReader
    searcher: Searcher

    def identify(self, path: Path, request_id: str, caller: Principal) -> IdentifiedClip:
        """Decide who is in a clip, and store that; VideoError when the file is not one."""
        started = perf_counter()
        seen = self.reader.read(path, lambda _: None)
        read = perf_counter()
        pooled = [pool_track(track) for track in seen.tracked.tracks]
        probes = [Probe(each.embedding, seen.model, each.best.sample.quality, each.agreement) for each in pooled]
        searched = self.searcher.search(probes, request_id, caller, _seen_together(seen.tracked.tracks))
        ended = perf_counter()
        timing = schemas.ClipTimingMs(
            frames=round((read - started) * 1000, 2),
            search=round((ended - read) * 1000, 2),
            total=round((ended - started) * 1000, 2),
        )
        return IdentifiedClip(seen, [each.best for each in pooled], searched, timing)


def answer(identified: IdentifiedClip, database: Database, top_k: int, request_id: str) -> schemas.ClipIdentification:
    """A clip's identification as the API shows it."""
    with database.read() as session:
        people = queries.person_refs(session, shown_people(identified.searched, top_k))
    seen = identified.seen
    return schemas.ClipIdentification(
        request_id=request_id,
        model=identified.searched.circumstances.model,
        **ground_view(identified.searched),
        video=schemas.ClipInfo(width=seen.info.width, height=seen.info.height, duration_s=seen.info.duration_s),
        frames_read=seen.n_frames,
        faces_seen=seen.n_faces,
        tracks=[_track_view(identified, index, people, top_k) for index in range(len(seen.tracked.tracks))],
        timing_ms=identified.timing,
    )


def _track_view(identified: IdentifiedClip, index: int, people: People, top_k: int) -> schemas.Track:
    track = identified.seen.tracked.tracks[index]
    return schemas.Track(
        first_s=round(track.first_s, 3),
        last_s=round(track.last_s, 3),
        n_frames=track.n_frames,
        best_frame=_frame_view(identified.seen, identified.best_faces[index]),
        **decision_view(identified.searched, index, people, top_k),
    )


def _frame_view(seen: SeenClip, face: TrackedFace) -> schemas.BestFrame:
    return schemas.BestFrame(
        frame=face.index,
        time_s=round(face.time_s, 3),
        box_xyxy=[round(float(v) / seen.scale, 1) for v in face.sample.face.box_xyxy],
        detection_score=round(face.sample.face.detection_score, 4),
        quality=quality_view(face.sample),
    )


def _seen_together(tracks: Sequence[Track]) -> NDArray[np.bool_]:
    """`(n, n)` whether two tracks share a frame: then they are not the same person."""
    frames = [set(track.sightings.index.tolist()) for track in tracks]
    together = [[not a.isdisjoint(b) for b in frames] for a in frames]
    return np.array(together, dtype=np.bool_).reshape(len(tracks), len(tracks))
