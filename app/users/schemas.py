"""Users on the wire; a password only ever comes in."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from app.http.fields import Input, Name

Role = Annotated[
    Literal["operator", "admin"],
    Field(description="What they may do, as the scopes of keys; `admin`: everything."),
]
# How long a good one is, `service.hashed` says; longer than this is not even read.
Password = Annotated[SecretStr, Field(max_length=1000, description="12 to 200 characters.")]


class UserCreate(Input):
    """Somebody who may sign in to the dashboard from now on."""

    username: Annotated[str, Field(max_length=200, description="What they sign in with; capitals do not matter.")]
    name: Name
    role: Role
    password: Password


class UserUpdate(Input):
    """What to change: a field that is not sent stays. All but `name` end this user's sessions."""

    name: Name | None = None
    role: Role | None = None
    disabled: bool | None = Field(None, description="Whether they are kept from signing in.")
    password: Password | None = Field(None, description="A new one, in place of one that was forgotten.")

    @field_validator("*")
    @classmethod
    def _never_empty(cls, value: object) -> object:
        if value is None:
            raise ValueError("cannot be null; leave it out to keep it")
        return value

    @property
    def changes(self) -> dict[str, Any]:
        """The fields that were sent."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class PasswordChange(Input):
    """Somebody's own new password."""

    current_password: Password
    new_password: Password


class User(BaseModel):
    """Somebody who may sign in to the dashboard, or might before they were disabled."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    username: str
    name: str
    role: Role
    created_at: datetime
    disabled_at: datetime | None
    last_login_at: datetime | None


class EndedSessions(BaseModel):
    """Browsers that have to sign in again."""

    n_ended: int
