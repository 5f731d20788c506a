"""Who did something, as people know them: `user:usr_…` is Anna, `key:key_…` the name of a key."""

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.tables import ApiKey, User


def actor_names(session: Session, actors: Iterable[str]) -> dict[str, str]:
    """Names of those of these actors who still exist."""
    wanted = {actor: actor.partition(":")[::2] for actor in set(actors)}
    names: dict[tuple[str, str], str] = {}
    for kind, table in (("user", User), ("key", ApiKey)):
        ids = [id_ for of, id_ in wanted.values() if of == kind]
        if ids:
            rows = session.execute(select(table.id, table.name).where(table.id.in_(ids)))
            names |= {(kind, id_): name for id_, name in rows}
    return {actor: names[key] for actor, key in wanted.items() if key in names}
