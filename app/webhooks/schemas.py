"""Webhooks on the wire."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from app.http.fields import Input, Moment

Topic = Literal["event.created", "event.changed", "day.changed"]
Status = Literal["pending", "delivered", "dead"]
TOPICS: tuple[Topic, ...] = ("event.created", "event.changed", "day.changed")


def _url(given: str) -> str:
    """An address that can be posted to; which hosts may be reached is for the network to say, not for us."""
    parts = urlsplit(given)
    if not given.isascii() or not given.isprintable() or " " in given:
        raise ValueError("must be an address in plain ASCII; write other letters as %XX, other hosts as xn--…")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.fragment:
        raise ValueError("must be an address such as https://hr.example.com/hooks/rollcall")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not hold a password: check the signature instead, or put a token into the query")
    if parts.port == 0:  # raises ValueError by itself where the port is no number
        raise ValueError("must have a port from 1 on, or none")
    return given


def _once(topics: list[Topic]) -> list[Topic]:
    return [topic for topic in TOPICS if topic in topics]


Url = Annotated[str, Field(max_length=2000), AfterValidator(_url)]
Topics = Annotated[list[Topic], Field(min_length=1, max_length=20), AfterValidator(_once)]


class WebhookCreate(Input):
    """A new address."""

    url: Url = Field(description="http or https, without a password in it.")
    topics: Topics = Field(default_factory=lambda: list(TOPICS), description="What it is told about; default: all.")


class WebhookUpdate(Input):
    """What to change: a field that is not sent stays."""

    url: Url | None = None
    topics: Topics | None = None
    active: bool | None = Field(None, description="What waits for an address that is not active is kept, and not sent.")

    @field_validator("url", "topics", "active")
    @classmethod
    def _never_empty(cls, value: object) -> object:
        if value is None:
            raise ValueError("cannot be null; leave it out to keep it")
        return value

    @property
    def changes(self) -> dict[str, Any]:
        """The fields that were sent."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class Webhook(BaseModel):
    """An address that is told about events and days."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    url: str
    topics: list[Topic]
    active: bool = Field(description="False also once the address has answered 410 Gone.")
    created_at: datetime
    created_by: str


class WebhookWithSecret(Webhook):
    """An address with what its messages are signed with."""

    secret: str | None = Field(
        description="Standard Webhooks secret, `whsec_…`: shown this once. Null where a retry is answered, because it "
        "is not kept in the open: then `POST …/rotate-secret` makes another."
    )


class Delivery(BaseModel):
    """One message to one address."""

    id: int
    message_id: str = Field(description="The header `webhook-id` of every attempt.")
    topic: Topic
    person_id: str | None
    status: Status = Field(description="`dead`: given up after the last attempt; can be replayed.")
    n_attempts: int
    due_at: datetime = Field(description="While pending: when it is sent next, at the earliest.")
    last_status: int | None = Field(description="HTTP status of the last answer; null: there was none.")
    last_error: str | None
    created_at: datetime
    delivered_at: datetime | None


class ReplayRequest(Input):
    """Which messages to send once more: the dead ones, or all that were made since some time, or both at once."""

    status: Literal["dead"] | None = None
    since: Moment | None = Field(None, description="Made then or later; without `status` delivered ones too.")

    @model_validator(mode="after")
    def _says_which(self) -> Self:
        if self.status is None and self.since is None:
            raise ValueError('give "status": "dead", or "since", or both')
        return self


class ReplayResult(BaseModel):
    """How many messages are pending again."""

    n_replayed: int


class TestResult(BaseModel):
    """What an address answered to a `ping`."""

    is_delivered: bool = Field(description="Whether it answered 2xx, as it must to be told anything.")
    status: int | None = Field(description="HTTP status; null: no answer.")
    error: str | None
    took_ms: float
