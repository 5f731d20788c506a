"""Embeds enrolled templates with another model than the one that made them, from what was kept of them."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from sqlalchemy.orm import Session

from app.db.engine import Database
from app.gallery.queries import decode_embeddings, encode_embedding, lock_gallery, unembedded
from app.inference.port import Inference, Lane
from app.models import queries, registry
from app.models.queries import KeptFace
from app.sealing import SealBrokenError, Sealer
from ml.alignment import align_face
from ml.backbones.trained_file import TrainedWeights, from_bytes
from ml.embedding import unit
from ml.enrolling import Photo, most_prominent
from ml.errors import ImageError
from ml.image import decode_image
from ml.types import Face, FloatArray, RgbImage

# Some 5 MB of pictures; written in one transaction of milliseconds.
_AT_ONCE: Final = 32

OnProgress = Callable[[int, int], None]
"""Told how many templates are done, of how many; may raise to stop."""


@dataclass(frozen=True, slots=True)
class Reembedder:
    """Everything that it takes. May be stopped and begun again at any time: what is done is done."""

    database: Database
    inference: Inference
    sealer: Sealer

    def embed_missing(
        self,
        word: str,
        on_progress: OnProgress = lambda done, total: None,
        template_ids: Collection[int] | None = None,
    ) -> list[int]:
        """Embed templates that the model, which must be held, has not embedded: these, or every active person's.

        A projection starts from the embeddings of what it stands on where these are stored, which is exact; everything
        else, from the crops that were kept.

        Returns:
            Ids of templates that cannot be embedded, because nothing was kept of them.
        """
        with self.database.read() as session:
            missing = unembedded(session, word) if template_ids is None else sorted(template_ids)
            base = self._base(session, word)
        left: list[int] = []
        for start in range(0, len(missing), _AT_ONCE):
            on_progress(start, len(missing))
            some = missing[start : start + _AT_ONCE]
            embedded = self._embedded(some, word, base)
            if embedded:
                self._store(word, embedded)
            left += [template_id for template_id in some if template_id not in embedded]
        on_progress(len(missing), len(missing))
        return left

    def _base(self, session: Session, word: str) -> "_Base | None":
        model = registry.by_word(session, word)
        if model is None or model.kind != "projection":
            return None
        content = registry.weights_of(session, model, self.sealer)
        weights = None if content is None else from_bytes(content)
        return None if weights is None else _Base(weights.base_word, weights)

    def _embedded(self, template_ids: Sequence[int], word: str, base: "_Base | None") -> dict[int, FloatArray]:
        with self.database.read() as session:
            known = {} if base is None else queries.stored_embeddings(session, template_ids, base.word)
            faces = queries.kept_faces(session, [each for each in template_ids if each not in known])
        found = {} if base is None else base.projected(known)
        images = {face.template_id: image for face in faces if (image := self._opened(face)) is not None}
        kept = [face for face in faces if face.template_id in images]
        embed = self._embed_chips if self.inference.takes_chips else self._embed_pictures
        return found | embed([(face, images[face.template_id]) for face in kept], word)

    def _embed_chips(self, faces: Sequence[tuple[KeptFace, RgbImage]], word: str) -> dict[int, FloatArray]:
        card = self.inference.card_of(word)
        chips = [
            align_face(image, _face_at(kept.landmarks), card.template_array, card.chip_size_px) for kept, image in faces
        ]
        embeddings = self.inference.embed_chips(chips, word)
        return {kept.template_id: embedding for (kept, _), embedding in zip(faces, embeddings, strict=True)}

    def _embed_pictures(self, faces: Sequence[tuple[KeptFace, RgbImage]], word: str) -> dict[int, FloatArray]:
        """Where networks take whole pictures only: the face is found anew in its crop."""
        found: dict[int, FloatArray] = {}
        for kept, image in faces:
            samples = self.inference.analyze([image], lane=Lane.BULK, model=word).samples[0]
            if samples:
                found[kept.template_id] = most_prominent(Photo(samples, image.shape[1::-1])).embedding
        return found

    def _opened(self, face: KeptFace) -> RgbImage | None:
        try:
            return decode_image(self.sealer.open(face.sealed_crop))
        except (SealBrokenError, ImageError):
            return None

    def _store(self, word: str, embedded: dict[int, FloatArray]) -> None:
        with self.database.write_in_turn() as session:
            lock_gallery(session)  # nobody deletes a template meanwhile
            rows = {template_id: encode_embedding(embedding) for template_id, embedding in embedded.items()}
            queries.add_embeddings(session, word, rows)


@dataclass(frozen=True, slots=True, eq=False)
class _Base:
    """What a projection starts from."""

    word: str
    weights: TrainedWeights

    def projected(self, stored: dict[int, bytes]) -> dict[int, FloatArray]:
        if not stored:
            return {}
        weight, bias = self.weights.tensors["weight"], self.weights.tensors["bias"]
        base = decode_embeddings(list(stored.values()), weight.shape[1])
        return dict(zip(stored, unit(base @ weight.T + bias), strict=True))


def _face_at(landmarks: Sequence[Sequence[float]]) -> Face:
    """Only the landmarks are looked at when a face is aligned."""
    points = np.array(landmarks, dtype=np.float32)
    box = np.concatenate([points.min(axis=0), points.max(axis=0)])
    return Face(box, points, 1.0)
