"""One request to one inference worker: what comes back, or what kind of trouble there was."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from http import HTTPStatus
from time import monotonic
from typing import Any, Final

import httpx
from pydantic import SecretStr, ValidationError

from app.inference import wire
from app.inference.facts import EngineFacts
from app.inference.wire import Answer, Batch, WireError

CONNECT_TIMEOUT_S: Final = 2.0
# Shorter than a worker's own, so that it is we who close what nobody uses (see `app.cli.inference`).
KEEP_ALIVE_S: Final = 30.0
_LARGEST_FACTS_BYTES = 1_000_000


class TroubleKind(StrEnum):
    """Why a worker gave no answer."""

    BUSY = "busy"  # its queue is full
    AWAY = "away"  # the batch never reached it
    LOST = "lost"  # it had the batch, and failed or went away
    HUNG = "hung"  # nothing came in time
    REFUSED = "refused"  # it takes nothing from us, or runs other networks


class Trouble(Exception):  # noqa: N818 - how a request went, told to the one caller that chooses what to do about it
    """No answer; the text says why, for a log and for whoever runs the service."""

    def __init__(self, kind: TroubleKind, reason: str, retry_after_s: float = 1.0) -> None:
        super().__init__(reason)
        self.kind = kind
        self.retry_after_s = retry_after_s


class WorkerClient:
    """Speaks to workers; safe for any number of threads."""

    def __init__(self, token: SecretStr | None, n_at_once: int) -> None:
        headers = {} if token is None else {"Authorization": f"Bearer {token.get_secret_value()}"}
        limits = httpx.Limits(max_keepalive_connections=n_at_once, keepalive_expiry=KEEP_ALIVE_S)
        # What goes over this line is faces: no proxy that some variable of the environment names gets to see them.
        self._client = httpx.Client(headers=headers, limits=limits, trust_env=False)

    def facts(self, url: str, timeout_s: float) -> EngineFacts:
        """Ask a worker what it is.

        Raises:
            Trouble: it did not say.
        """
        with _troubles():
            body = self._fetch("GET", f"{url}/v1/engine", timeout_s, _LARGEST_FACTS_BYTES)
            try:
                return EngineFacts.model_validate_json(body)
            except ValidationError as error:
                raise Trouble(TroubleKind.REFUSED, "this is no inference worker, or one of another release") from error

    def analyze(self, url: str, batch: Batch, timeout_s: float, *, dim: int, word: str, model: str) -> Answer:
        """Send a batch and read the answer; the last three say whose answer it has to be.

        Raises:
            Trouble: there is none, or none that can be used.
        """
        pieces = wire.encode_ask(batch)
        headers = {"Content-Type": wire.ASK_TYPE, "Content-Length": str(sum(len(piece) for piece in pieces))}
        largest = wire.largest_answer_bytes(batch, dim, word)
        with _troubles():
            body = self._fetch("POST", f"{url}/v1/analyze", timeout_s, largest, content=pieces, headers=headers)
            try:
                return wire.decode_answer(body, batch, dim=dim, word=word, model=model)
            except WireError as error:
                raise Trouble(TroubleKind.REFUSED, str(error)) from error

    def close(self) -> None:
        self._client.close()

    def _fetch(self, method: str, url: str, timeout_s: float, max_bytes: int, **request: Any) -> bytearray:
        """The body of the answer, if it is one of success, not too long and here in time."""
        until_s = monotonic() + timeout_s
        timeout = httpx.Timeout(timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s))
        with self._client.stream(method, url, timeout=timeout, **request) as response:
            if response.status_code != HTTPStatus.OK:
                raise _trouble_of(response)
            body = bytearray()
            for piece in response.iter_raw():
                body += piece
                if len(body) > max_bytes:
                    raise Trouble(TroubleKind.REFUSED, f"its answer is longer than {max_bytes:,} bytes")
                if monotonic() > until_s:
                    raise Trouble(TroubleKind.HUNG, f"its answer was not complete within {timeout_s:.1f} s")
            return body


@contextmanager
def _troubles() -> Iterator[None]:
    """What the HTTP client raises, in our words."""
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise Trouble(TroubleKind.AWAY, "nobody listens there") from error
    except httpx.TimeoutException as error:
        raise Trouble(TroubleKind.HUNG, "it did not answer in time") from error
    except (httpx.TransportError, httpx.InvalidURL) as error:
        raise Trouble(TroubleKind.LOST, f"the connection broke ({type(error).__name__})") from error


def _trouble_of(response: httpx.Response) -> Trouble:
    status = response.status_code
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return Trouble(TroubleKind.BUSY, "its queue is full", _seconds(response.headers.get("Retry-After")))
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        return Trouble(TroubleKind.AWAY, "it is not ready, or ending")
    if status == HTTPStatus.GATEWAY_TIMEOUT:
        return Trouble(TroubleKind.HUNG, "what is in front of it got no answer in time")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Trouble(TroubleKind.LOST, f"it failed with status {status}; its log may say why")
    if status == HTTPStatus.UNAUTHORIZED:
        return Trouble(TroubleKind.REFUSED, "it has another ROLLCALL_INFERENCE_TOKEN: give both the same")
    return Trouble(TroubleKind.REFUSED, f"it answered with status {status}: give both the same release")


def _seconds(retry_after: str | None) -> float:
    """A date, which HTTP allows too, counts as a second."""
    return float(retry_after) if retry_after is not None and retry_after.isdecimal() else 1.0
