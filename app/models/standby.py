"""Which model is kept ready beside the one in use: the one before it, or a challenger while it is being promoted."""

from typing import Final

from sqlalchemy.orm import Session

from app.db.engine import Database
from app.db.tables import GalleryState
from app.gallery.queries import lock_gallery, models_in_force
from app.models import queries

# Jobs that put a challenger there.
PROMOTERS: Final = ("promote_model", "retrain")


def trouble_with(word: str, reason: str) -> str:
    """How a replica says that it cannot get a model ready."""
    return f"{word}: {reason}"


def is_trouble_with(word: str, trouble: str | None) -> bool:
    """Whether that is what a replica says; of another model it says nothing about this one."""
    return trouble is not None and trouble.startswith(trouble_with(word, ""))


def set_standby(session: Session, word: str | None) -> None:
    """Have every replica keep this model ready; the gallery is locked."""
    session.get_one(GalleryState, 1, populate_existing=True).standby_model = word


def settle_standby(database: Database) -> None:
    """Where a promotion was given up, in whatever way, keep the model ready again that was in use before."""
    with database.read() as session:
        if not _is_left_over(session):
            return
    with database.write_in_turn() as session:
        lock_gallery(session)
        if _is_left_over(session):
            set_standby(session, former_champion(session))


def former_champion(session: Session) -> str | None:
    """The word of the model that was in use last."""
    model = queries.last_retired(session)
    return None if model is None else model.word


def _is_left_over(session: Session) -> bool:
    standby = models_in_force(session).standby
    if standby is None or standby == former_champion(session):
        return False
    return not queries.unfinished_jobs(session, PROMOTERS)
