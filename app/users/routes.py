"""`/v1/users`."""

from datetime import datetime

from fastapi import APIRouter
from starlette.responses import Response

from app.audit.service import record
from app.auth.dependencies import AdminDep
from app.auth.scopes import Scope
from app.db.tables import User
from app.http.dependencies import DatabaseDep, PasswordHasherDep, SealerDep
from app.http.fields import Moment
from app.http.idempotency import Answer, IdempotencyDep, Store
from app.http.pagination import CursorCodec, Page, PageDep, cut_page
from app.users import queries, schemas, service, sessions
from app.users.dependencies import CookieDep, GateDep, TriesDep, UserDep

router = APIRouter(prefix="/v1/users", tags=["Access"])

CURSOR: CursorCodec[tuple[datetime, str]] = CursorCodec(tuple[Moment, str])


@router.get("")
def list_users(database: DatabaseDep, page: PageDep, _caller: AdminDep) -> Page[schemas.User]:
    """Who may sign in to the dashboard, oldest first; and who was disabled, because the audit log names them."""
    after = CURSOR.decode(page.cursor)
    with database.read() as session:
        rows = queries.list_users(session, after=after, limit=page.limit + 1)
    shown, next_cursor = cut_page(rows, page.limit, _cursor_of)
    return Page(items=[schemas.User.model_validate(user) for user in shown], next_cursor=next_cursor)


@router.post("", status_code=201, response_model=schemas.User)
def create_user(
    new: schemas.UserCreate,
    database: DatabaseDep,
    hasher: PasswordHasherDep,
    sealer: SealerDep,
    caller: AdminDep,
    idempotency: IdempotencyDep,
) -> Response:
    """Lets somebody sign in: 409 `username_taken`, 422 `username_invalid`, 422 `password_weak`."""

    def attempt(store: Store) -> Answer:
        service.checked_username(new.username)  # before the slow part
        password_hash = service.hashed(hasher, new.password.get_secret_value())
        with database.write() as session:
            user = service.create_user(
                session, new.username, new.name, Scope(new.role), password_hash, actor=caller.actor
            )
            headers = {"Location": f"/v1/users/{user.id}"}
            return store(session, Answer(201, schemas.User.model_validate(user), headers))

    return idempotency.sealed(sealer).run(attempt)


@router.get("/me")
def get_me(database: DatabaseDep, caller: UserDep) -> schemas.User:
    """Who is signed in."""
    with database.read() as session:
        return schemas.User.model_validate(service.find_user(session, caller.id))


@router.put("/me/password", status_code=204)
def change_password(change: schemas.PasswordChange, gate: GateDep, caller: UserDep, cookie: CookieDep) -> None:
    """Changes one's own password, and signs one's other browsers out: 403 `password_wrong`, 422 `password_weak`."""
    current, new = change.current_password.get_secret_value(), change.new_password.get_secret_value()
    gate.change_password(caller, cookie, current, new)


@router.delete("/me/sessions")
def end_other_sessions(database: DatabaseDep, caller: UserDep, cookie: CookieDep) -> schemas.EndedSessions:
    """Signs one out in all browsers but this one."""
    with database.write() as session:
        n_ended = queries.delete_sessions_of(session, caller.id, but=sessions.digest_of(cookie))
        record(session, caller.actor, "user.sessions_ended", caller.id, {"sessions_ended": n_ended})
    return schemas.EndedSessions(n_ended=n_ended)


@router.get("/{user_id}")
def get_user(user_id: str, database: DatabaseDep, _caller: AdminDep) -> schemas.User:
    """One of those who may sign in."""
    with database.read() as session:
        return schemas.User.model_validate(service.find_user(session, user_id))


@router.patch("/{user_id}")
def update_user(
    user_id: str,
    update: schemas.UserUpdate,
    database: DatabaseDep,
    hasher: PasswordHasherDep,
    tries: TriesDep,
    caller: AdminDep,
) -> schemas.User:
    """Changes the fields that are sent; a new password also ends a lock. 409 `last_admin`: somebody must stay."""
    changes = update.changes
    password = changes.pop("password", None)
    password_hash = service.hashed(hasher, password.get_secret_value()) if password is not None else None
    with database.write() as session:
        user = service.update_user(session, user_id, changes, password_hash, actor=caller.actor)
        if password_hash is not None:
            tries.forget(session, user.username)
        return schemas.User.model_validate(user)


def _cursor_of(user: User) -> str:
    return CURSOR.encode((user.created_at, user.id))
