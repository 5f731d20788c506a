"""One attempt to send one message, signed as https://www.standardwebhooks.com says."""

import asyncio
import json
import ssl
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final

import httpx
from standardwebhooks import Webhook as Signer

from app import __version__
from app.db.types import utc_now

_GONE: Final = 410
_TOO_MANY: Final = 429
_SERVER_TROUBLE: Final = 500
# What an address may answer and still have its connection used again; nobody looks at it.
_MOST_ANSWER_BYTES: Final = 65_536
_MOST_ERROR_LETTERS: Final = 300


@dataclass(frozen=True, slots=True)
class Target:
    """Where to send to, and what to sign with."""

    webhook_id: str
    url: str
    secret: str


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent; its `id` and its body are the same in every attempt, so that a receiver can drop repeats."""

    id: str
    topic: str
    at: datetime
    payload: dict[str, Any]

    @property
    def body(self) -> str:
        content = {"type": self.topic, "timestamp": self.at.isoformat().replace("+00:00", "Z"), "data": self.payload}
        return json.dumps(content, separators=(",", ":"), sort_keys=True)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt went: the HTTP status, if there was an answer, and what was wrong, if anything."""

    status: int | None
    error: str | None

    @property
    def is_delivered(self) -> bool:
        return self.error is None

    @property
    def is_gone(self) -> bool:
        """Whether the address wants to be told nothing any more."""
        return self.status == _GONE

    @property
    def is_final(self) -> bool:
        """Whether to try again would be in vain."""
        return self.is_gone or self is ERASED

    @property
    def is_address_in_trouble(self) -> bool:
        """Whether any other message would have fared as badly."""
        if self.status is None:
            return self is not ERASED
        return self.status >= _SERVER_TROUBLE or self.status == _TOO_MANY


# What was to be said is known to nobody any more.
ERASED: Final = Outcome(None, "the person was erased")


def message_id(webhook_id: str, delivery_id: int) -> str:
    """Unique in the whole world, as one receiver may serve several deployments."""
    return f"msg_{webhook_id.partition('_')[2]}_{delivery_id}"


def new_client(n_at_once: int) -> httpx.AsyncClient:
    """Follows no redirect: whoever answers for an address must not send our messages elsewhere."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=n_at_once)
    return httpx.AsyncClient(verify=_trusted(), follow_redirects=False, limits=limits, timeout=None)


@cache  # some hundred certificates are read
def _trusted() -> ssl.SSLContext:
    return httpx.create_ssl_context()


async def send(client: httpx.AsyncClient, target: Target, message: Message, timeout_s: float) -> Outcome:
    """One attempt, which ends in time whatever the other side does; any 2xx is a yes, and its body is not looked at."""
    seen: list[int] = []
    try:
        async with asyncio.timeout(timeout_s):
            await _post(client, target, message, seen)
    except TimeoutError:
        if not seen:
            return Outcome(None, f"no answer within {timeout_s:g} s")
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        if not seen:  # else the answer was there already, and only its body broke off
            return Outcome(None, f"{type(error).__name__}: {error}"[:_MOST_ERROR_LETTERS])
    return _outcome_of(seen[0])


async def _post(client: httpx.AsyncClient, target: Target, message: Message, seen: list[int]) -> None:
    body = message.body
    async with client.stream("POST", target.url, content=body, headers=_headers(target, message.id, body)) as answer:
        seen.append(answer.status_code)
        n_bytes = 0
        async for chunk in answer.aiter_raw():
            n_bytes += len(chunk)
            if n_bytes > _MOST_ANSWER_BYTES:
                return


def _headers(target: Target, sent_id: str, body: str) -> dict[str, str]:
    now = utc_now()
    return {
        "content-type": "application/json",
        "user-agent": f"rollcall/{__version__}",
        "webhook-id": sent_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Signer(target.secret).sign(sent_id, now, body),
    }


def _outcome_of(status: int) -> Outcome:
    if 200 <= status < 300:
        return Outcome(status, None)
    if 300 <= status < 400:
        return Outcome(status, f"HTTP {status}: redirects are not followed; set the address it leads to")
    return Outcome(status, f"HTTP {status}")
