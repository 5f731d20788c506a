"""Delivers what waits in the spool, the oldest first, as long as it takes."""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import Enum
from threading import Event, Thread
from typing import Any, Final

import httpx
import structlog

from app.camera.answers import is_answer
from app.camera.captures import Capture, device_time
from app.camera.clock import read_clocks
from app.camera.console import Console
from app.camera.spool import Spool, Waiting

log = structlog.get_logger(__name__)

_TIMEOUT: Final = httpx.Timeout(30.0, connect=5.0)
_IDLE_S: Final = 1.0
# So often in a row the service may fail with one capture, in its own words, before others are let past.
_MOST_FAILURES: Final = 5
# The device's clock and the service's may differ by time zones, which people mix up, until somebody sets them.
_AHEAD_FOR: Final = timedelta(hours=24)
# A stop that comes while a capture is on its way waits for its answer so long; it is kept either way.
_FINISH_S: Final = 5.0
# Answers that will not change however often one asks. Those that somebody can mend (a key, an address) are not here.
_NEVER: Final = {400, 413, 415, 422}
_NOT_ALLOWED: Final = {401, 403}
# The capture is in the ledger, whatever has become of its answer.
_RECORDED: Final = {(409, "capture_recorded"), (410, "idempotency_erased")}
# Of a proxy, or of a service that is busy or starting: nothing to do with the capture.
_AWAY: Final = {502, 503, 504}
_AHEAD: Final = "captured_at_in_future"


@dataclass(frozen=True, slots=True)
class Pauses:
    """Seconds between tries: the first, the longest, after an answer that a person has to mend, and set behind."""

    first_s: float = 1.0
    longest_s: float = 60.0
    mend_s: float = 60.0
    behind_s: float = 600.0


class Fate(Enum):
    """What becomes of a capture after one try; FAILS: it seems to be this capture that the service fails with."""

    DELIVERED = "delivered"
    REFUSED = "refused"
    AGAIN = "again"
    MEND = "mend"
    FAILS = "fails"
    BEHIND = "behind"


@dataclass(frozen=True, slots=True)
class Tried:
    """One try: `body` of an answer, `why` in words where it was not delivered, `after_s` if the service said when."""

    fate: Fate
    body: dict[str, Any] | None = None
    why: str = ""
    after_s: float | None = None


OnAnswer = Callable[[Capture, dict[str, Any] | None], None]
"""Told of each capture that is settled: the service's answer, or None where there is none any more."""


class Sender:
    """A thread that delivers, one capture at a time and in order."""

    def __init__(
        self, http: httpx.Client, spool: Spool, console: Console, on_answer: OnAnswer, pauses: Pauses | None = None
    ) -> None:
        self._http = http
        self._spool = spool
        self._console = console
        self._on_answer = on_answer
        self._pauses = pauses or Pauses()
        self._stop = Event()
        self._n_failures = 0
        self._thread = Thread(target=self._run, name="sender", daemon=True)

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def stop(self) -> None:
        """End after the present try, or after a few seconds; what is not delivered stays in the spool."""
        self._stop.set()
        self._spool.wake()
        self._thread.join(_FINISH_S)

    def _run(self) -> None:
        pause_s = self._pauses.first_s
        while not self._stop.is_set():
            self._tell_of_disk()
            tried = self._tried_once()
            if tried is None or tried.fate in (Fate.DELIVERED, Fate.REFUSED):
                pause_s = self._pauses.first_s if tried else pause_s
                continue
            self._stop.wait(self._pause_s(tried, pause_s))
            pause_s = min(2 * pause_s, self._pauses.longest_s)
        self._tell_of_disk()

    def _tried_once(self) -> Tried | None:
        """None where nothing waits. Whatever goes wrong, the thread must outlive it."""
        try:
            waiting = self._spool.first(_IDLE_S)
            return None if waiting is None or self._stop.is_set() else self._settle(waiting)
        except Exception as error:
            log.exception("camera.sender_failed")
            self._console.problem("sender", f"a delivery failed ({type(error).__name__}): trying again, see the log")
            return Tried(Fate.AGAIN)

    def _tell_of_disk(self) -> None:
        folder = self._spool.folder
        if trouble := self._spool.trouble:
            held = "what the server does not take is held in memory, as far as that goes"
            self._console.problem("disk", f"the spool {folder} cannot be written ({trouble}): {held}")
        else:
            self._console.over("disk", f"the spool {folder} can be written again")

    def _settle(self, waiting: Waiting) -> Tried:
        tried = self._judged(waiting, deliver(self._http, waiting.capture))
        if tried.fate is Fate.DELIVERED:
            self._spool.done(waiting)
            self._console.solved("server", "the server answers")
        elif tried.fate is Fate.REFUSED:
            self._spool.refuse(waiting)
            log.warning("camera.refused", key=waiting.capture.key, why=tried.why)
            self._console.tell("refused", f"refused for good, and moved aside: {tried.why}")
        elif tried.fate is Fate.BEHIND:
            self._set_behind(waiting, tried.why)
        else:
            self._console.problem("server", f"{tried.why}; captures wait in {self._spool.folder}")
        if tried.fate in (Fate.DELIVERED, Fate.REFUSED):
            self._on_answer(waiting.capture, tried.body)
        return tried

    def _judged(self, waiting: Waiting, tried: Tried) -> Tried:
        """What else is known of a capture than this one try decides whether the others wait for it."""
        self._n_failures = self._n_failures + 1 if tried.fate is Fate.FAILS else 0
        if tried.fate is Fate.FAILS and (waiting.was_behind or self._n_failures >= _MOST_FAILURES):
            return replace(tried, fate=Fate.BEHIND)
        if tried.fate is Fate.BEHIND and read_clocks().wall > waiting.capture.captured_at + _AHEAD_FOR:
            return replace(tried, fate=Fate.REFUSED)
        return tried

    def _set_behind(self, waiting: Waiting, why: str) -> None:
        self._n_failures = 0
        self._spool.set_behind(waiting, self._pauses.behind_s)
        if not waiting.was_behind:
            log.warning("camera.set_behind", key=waiting.capture.key, why=why)
            self._console.tell("behind", f"set behind the others, and tried again later: {why}")

    def _pause_s(self, tried: Tried, pause_s: float) -> float:
        if tried.after_s is not None:
            return min(tried.after_s, self._pauses.longest_s)
        if tried.fate is Fate.MEND:
            return self._pauses.mend_s
        return pause_s * random.uniform(0.5, 1.0)  # many cameras wait for the same server


def deliver(http: httpx.Client, capture: Capture) -> Tried:
    """Send one capture once."""
    headers = {"Idempotency-Key": capture.key}
    if (told := device_time(capture, read_clocks())) is not None:
        headers["X-Device-Time"] = told.isoformat()
    fields = {"captured_at": capture.captured_at.isoformat()}
    if capture.direction is not None:
        fields["direction"] = capture.direction
    if (small := capture.small_face_px) is not None:
        fields["min_face_px"] = str(small)
    try:
        answer = http.post(
            "/v1/captures",
            data=fields,
            files={"image": ("capture.jpg", capture.jpeg, "image/jpeg")},
            headers=headers,
            timeout=_TIMEOUT,
        )
    except (httpx.TransportError, httpx.DecodingError) as error:
        return Tried(Fate.AGAIN, why=f"server away ({type(error).__name__})")
    return judged(answer)


def judged(answer: httpx.Response) -> Tried:
    """What an answer means for the capture. Only what is surely the service's own word may end its waiting."""
    body, status = _json(answer), answer.status_code
    code = str(body.get("code", "")) if body else ""
    if answer.is_success and is_answer(body):
        return Tried(Fate.DELIVERED, body)
    if (status, code) in _RECORDED:
        return Tried(Fate.DELIVERED)
    if status in _NOT_ALLOWED:
        return Tried(Fate.MEND, why=f"the server does not accept the key ({_said(body, status)}): check --key")
    if status == 422 and code == _AHEAD:
        return Tried(Fate.BEHIND, why=_said(body, status))
    if status in _NEVER and code:
        return Tried(Fate.REFUSED, why=_said(body, status))
    after_s = _retry_after_s(answer)
    if status >= 500 and status not in _AWAY and code:
        return Tried(Fate.FAILS, why=f"server failing ({_said(body, status)})", after_s=after_s)
    if after_s is not None or status >= 500 or status in (408, 409, 425, 429):
        return Tried(Fate.AGAIN, why=f"server busy or failing ({_said(body, status)})", after_s=after_s)
    return Tried(Fate.MEND, why=f"what answers is not the service ({_said(body, status)}): check --server")


def _json(answer: httpx.Response) -> dict[str, Any] | None:
    try:
        body = answer.json()
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _said(body: dict[str, Any] | None, status: int) -> str:
    code = (body or {}).get("code")
    return f"{status} {code}" if code else str(status)


def _retry_after_s(answer: httpx.Response) -> float | None:
    """Seconds or a date, as HTTP allows; None where there is neither."""
    text = answer.headers.get("Retry-After", "")
    if text.isdecimal():
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
