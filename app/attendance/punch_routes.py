"""`/v1/punches`, and the PINs and badges for it."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Response

from app.attendance import punches, schemas, views
from app.attendance.dependencies import BookkeeperDep, SenderDep
from app.attendance.punches import PunchClock
from app.attendance.tries import Tries
from app.auth.dependencies import OperatorDep
from app.db.tables import PunchCredential
from app.http.dependencies import DatabaseDep, PinHasherDep, SealerDep, SettingsDep
from app.http.idempotency import Answer, IdempotencyDep, Store

router = APIRouter(prefix="/v1", tags=["Attendance"])


async def _tries(database: DatabaseDep, sealer: SealerDep) -> Tries:
    return Tries(database, sealer)


TriesDep = Annotated[Tries, Depends(_tries)]


async def _punch_clock(
    hasher: PinHasherDep,
    tries: TriesDep,
    bookkeeper: BookkeeperDep,
    sealer: SealerDep,
    database: DatabaseDep,
    settings: SettingsDep,
) -> PunchClock:
    return PunchClock(hasher, tries, bookkeeper, sealer, database, settings.capture_max_age_days)


@router.post("/punches", status_code=201, response_model=schemas.EventView)
def record_punch(
    sender: SenderDep,
    punch: schemas.Punch,
    clock: Annotated[PunchClock, Depends(_punch_clock)],
    database: DatabaseDep,
    sealer: SealerDep,
    idempotency: IdempotencyDep,
) -> Response:
    """Records that somebody was there, without a picture: for people who do not consent, or are not recognised.

    With an operator's key, for anybody. With a camera's, for whoever knows their PIN or carries a badge: 403
    `pin_wrong`, which is also said of people who do not exist, and after five wrong ones 429 `pin_locked` for five
    minutes; 403 `badge_unknown`. After twenty wrong ones in ten minutes the key is refused too: 429 `pin_locked` or
    `badge_locked`. Every lock is twice as long as the one before it, up to an hour; whoever is given a new PIN may try
    again at once. A badge may come with its person's PIN, which is checked then.

    `occurred_at` is corrected as that of a capture. Where the camera has a direction, `direction` is for operators.
    """

    def attempt(store: Store) -> Answer:
        person_id = clock.person_of(punch, sender)
        with database.write() as session:
            event = clock.write(session, punch, person_id, sender)
            view = views.event_views(session, [event])[0]
            return store(session, Answer(201, view, {"Location": f"/v1/events/{event.id}"}))

    return idempotency.sealed(sealer).run(attempt)


@router.put("/people/{person_id}/pin")
def set_pin(
    person_id: str, new: schemas.Pin, database: DatabaseDep, hasher: PinHasherDep, tries: TriesDep, caller: OperatorDep
) -> schemas.Credential:
    """Gives somebody a PIN, in place of the one they had; it can be read nowhere afterwards."""
    pin_hash = hasher.hash(new.pin)
    with database.write() as session:
        tries.forget(session, person_id)
        return _view(punches.set_pin(session, person_id, pin_hash, caller), "pin")


@router.put("/people/{person_id}/badge")
def set_badge(
    person_id: str, new: schemas.Badge, database: DatabaseDep, sealer: SealerDep, caller: OperatorDep
) -> schemas.Credential:
    """Gives somebody a badge, in place of the one they had; 409 `badge_taken` where it is somebody else's."""
    with database.write() as session:
        return _view(punches.set_badge(session, person_id, sealer.fingerprints(new.badge), caller), "badge")


@router.delete("/people/{person_id}/pin", status_code=204)
def remove_pin(person_id: str, database: DatabaseDep, caller: OperatorDep) -> None:
    """Takes somebody's PIN from them."""
    with database.write() as session:
        punches.remove(session, person_id, "pin", caller)


@router.delete("/people/{person_id}/badge", status_code=204)
def remove_badge(person_id: str, database: DatabaseDep, caller: OperatorDep) -> None:
    """Takes somebody's badge from them."""
    with database.write() as session:
        punches.remove(session, person_id, "badge", caller)


def _view(credential: PunchCredential, kind: Literal["pin", "badge"]) -> schemas.Credential:
    return schemas.Credential(person_id=credential.person_id, kind=kind, created_at=credential.created_at)
