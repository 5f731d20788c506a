"""Everything that a process which holds the gallery runs beside it."""

from app.db.engine import Database
from app.gallery import queries
from app.gallery.bell import bell_of
from app.gallery.caretaker import Caretaker, Kind
from app.gallery.follower import Follower
from app.gallery.replica import GalleryReplica
from app.gallery.rules import refuse_other_model


class Upkeep:
    """Loads a replica, and then keeps it up to date, audited and known to the others."""

    def __init__(self, database: Database, replica: GalleryReplica, kind: Kind) -> None:
        self.replica = replica
        self.caretaker = Caretaker(database, replica, kind)
        self.follower: Follower | None = None
        self._database = database

    def start(self) -> None:
        """Returns when the replica is as new as the database.

        Raises:
            ModelError: the stored embeddings come from another backbone than the one in use.
        """
        with self._database.read() as session:
            refuse_other_model(queries.stored_model(session), self.replica.model)
        self.replica.rebuild()
        self.follower = Follower(self.replica, bell_of(self._database))
        self.follower.start()
        self.caretaker.start()

    def stop(self) -> None:
        self.replica.close()
        self.caretaker.stop()
        if self.follower is not None:
            self.follower.stop()
