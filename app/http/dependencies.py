"""What the application holds, for routes to ask for by type. All `async`: anything else would cost a thread each."""

from collections.abc import Callable
from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from app.db.engine import Database
from app.hashing import SlowHasher
from app.sealing import Sealer
from app.settings import Settings


async def _database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


async def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


async def _gallery_changed(request: Request) -> Callable[[], None]:
    hook: Callable[[], None] = request.app.state.on_gallery_change
    return hook


async def _sealer(request: Request) -> Sealer:
    sealer: Sealer = request.app.state.sealer
    return sealer


async def _pin_hasher(request: Request) -> SlowHasher:
    hasher: SlowHasher = request.app.state.pin_hasher
    return hasher


async def _password_hasher(request: Request) -> SlowHasher:
    hasher: SlowHasher = request.app.state.password_hasher
    return hasher


DatabaseDep = Annotated[Database, Depends(_database)]
SettingsDep = Annotated[Settings, Depends(_settings)]
SealerDep = Annotated[Sealer, Depends(_sealer)]
PinHasherDep = Annotated[SlowHasher, Depends(_pin_hasher)]
PasswordHasherDep = Annotated[SlowHasher, Depends(_password_hasher)]
GalleryChangedDep = Annotated[Callable[[], None], Depends(_gallery_changed)]
"""Call after the commit of anything that changed the gallery."""
