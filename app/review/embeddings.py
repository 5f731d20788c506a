"""Embeddings of unknown faces, opened to compare them."""

from collections.abc import Collection
from time import monotonic
from typing import Final

from sqlalchemy.orm import Session

from app.gallery.queries import decode_embeddings
from app.review import queries
from app.sealing import SealBrokenError, Sealer
from ml.types import FloatArray

# Opening ten thousand takes a second, which is too much for every few seconds. What was deleted is in memory no longer.
_REMEMBERED_S: Final = 300.0


class OpenEmbeddings:
    """Opens embeddings and remembers, for some minutes, those that were asked for last."""

    def __init__(self, sealer: Sealer, dim: int) -> None:
        self._sealer = sealer
        self._dim = dim
        self._open: dict[str, FloatArray | None] = {}
        self._since_s = monotonic()

    @property
    def is_empty(self) -> bool:
        return not self._open

    def forget_old(self) -> None:
        """To be called now and then."""
        if monotonic() - self._since_s > _REMEMBERED_S:
            self._open, self._since_s = {}, monotonic()

    def of(self, session: Session, event_ids: Collection[str]) -> dict[str, FloatArray]:
        """By event the embedding `(D,)` of its face, where its seal opens and it has this backbone's length."""
        missing = [event_id for event_id in event_ids if event_id not in self._open]
        found = {id_: self._opened(sealed) for id_, sealed in queries.sealed_embeddings(session, missing).items()}
        known = self._open | found
        self._open = {event_id: known[event_id] for event_id in event_ids if event_id in known}
        return {event_id: embedding for event_id, embedding in self._open.items() if embedding is not None}

    def _opened(self, sealed: bytes) -> FloatArray | None:
        try:
            embeddings = decode_embeddings([self._sealer.open(sealed)], self._dim)
        except (SealBrokenError, ValueError):  # another secret key; or another backbone, with longer embeddings
            return None
        return embeddings.reshape(self._dim)
