"""Keys on the wire; the secret itself only in the answer that makes one."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from app.auth.scopes import Scope
from app.http.fields import Input, Moment, Name

MadeFor = Annotated[
    Literal["caller", "camera", "command"],
    Field(description="`camera`: it is a camera's own; `command`: a single command of the command line borrowed it."),
]


class KeyCreate(Input):
    """A new key."""

    name: Name = Field(description="What it is for, such as `front door` or `payroll`.")
    scope: Scope
    expires_at: Moment | None = Field(None, description="When it ends by itself; null: when it is revoked.")


class Key(BaseModel):
    """A caller's key, without its secret."""

    id: str
    name: str
    scope: Scope
    made_for: MadeFor
    camera_id: str | None
    is_active: bool = Field(description="Neither revoked nor expired.")
    created_at: datetime
    last_used_at: datetime | None = Field(description="To the minute.")
    expires_at: datetime | None
    revoked_at: datetime | None


class KeyWithSecret(Key):
    """A new key; `secret` is null where a repeated request is answered again."""

    secret: str | None = Field(description="What callers send in `X-API-Key`. It is shown here and never again.")
