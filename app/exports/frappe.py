"""Frappe HR's employee check-ins: what one is made of an event, and how it is sent.

Frappe refuses a second check-in of the same employee, second and type, so sending one again does no harm. It has no
call to change one: what is corrected here after it was sent must be corrected there by hand.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum
from html import unescape
from time import sleep
from typing import Any, Final
from zoneinfo import ZoneInfo

import httpx

METHOD: Final = "hrms.hr.doctype.employee_checkin.employee_checkin.add_log_based_on_employee_field"
DEFAULT_FIELD: Final = "attendance_device_id"
# Frappe's words; whoever runs it in another language gives the API user English, or sees these check-ins listed.
_IS_THERE: Final = "already has a log with the same timestamp"
_BUSY: Final = 429
_SERVER_TROUBLE: Final = 500
_REFUSES_KEY: Final = (401, 403)
_NO_METHOD: Final = 404
# So many check-ins in a row that fail for no reason of their own: then the others would as well.
_MOST_FAILURES: Final = 5
_TAG: Final = re.compile(r"<[^>]*>")


class FrappeError(ValueError):
    """Frappe can be told nothing: the message is for the person at the command line."""


class Answer(Enum):
    """What Frappe says to a check-in that it has now."""

    TAKEN = "taken"
    WAS_THERE = "was there"


class RefusedError(Exception):
    """Frappe does not want this check-in, and says why."""


@dataclass(frozen=True, slots=True)
class Checkin:
    """One event as Frappe knows it. `at` is the time on the wall where it happened, as Frappe has no other."""

    event_id: str
    employee_code: str
    at: str
    log_type: str
    device_id: str | None

    @property
    def content(self) -> str:
        """What cannot be changed once it is sent."""
        return f"{self.employee_code} {self.at} {self.log_type}"


def checkin_of(event: dict[str, Any], first: date, last: date) -> Checkin | None:
    """The check-in of an event of `/v1/events`; None where it is a repeat, has no direction or is of other dates."""
    if event["person"] is None or event["direction"] is None or event["duplicate_of"] or event["is_deleted"]:
        return None
    wall = datetime.fromisoformat(event["occurred_at"]).astimezone(ZoneInfo(event["timezone"]))
    if not first <= wall.date() <= last:
        return None
    return Checkin(
        event_id=event["id"],
        employee_code=event["person"]["employee_code"],
        at=f"{wall:%Y-%m-%d %H:%M:%S}",
        log_type=event["direction"].upper(),
        device_id=event["camera_id"],
    )


class Frappe:
    """Sends check-ins one by one; waits and tries again where that may help."""

    def __init__(
        self,
        url: str,
        token: str,
        field: str = DEFAULT_FIELD,
        *,
        timeout_s: float = 30.0,
        waits_s: tuple[float, ...] = (1.0, 5.0, 20.0),
    ) -> None:
        self._url = url.rstrip("/")
        self._field = field
        self._waits_s = waits_s
        self._n_failures = 0
        headers = {"Authorization": f"token {token}", "Accept": "application/json"}
        self._http = httpx.Client(headers=headers, timeout=timeout_s)

    def close(self) -> None:
        self._http.close()

    def add(self, checkin: Checkin) -> Answer:
        """Send one.

        Raises:
            RefusedError: Frappe does not want this one.
            FrappeError: Frappe can be told nothing.
        """
        answer = self._post(checkin)
        if _is_taken(answer):
            self._n_failures = 0
            return Answer.TAKEN
        reason = _reason(answer)
        if _IS_THERE in reason:
            self._n_failures = 0
            return Answer.WAS_THERE
        self._refuse_in_general(answer, reason)
        raise RefusedError(reason)

    def _refuse_in_general(self, answer: httpx.Response, reason: str) -> None:
        if answer.status_code in _REFUSES_KEY:
            raise FrappeError(f"Frappe refuses the API key ({reason}): it must be of a user who may add check-ins")
        if answer.status_code == _NO_METHOD or answer.is_redirect:
            raise FrappeError(f"{self._url} does not have Frappe HR's check-in call ({reason}): is that its address?")
        self._n_failures = self._n_failures + 1 if answer.is_success or _is_trouble(answer) else 0
        if self._n_failures >= _MOST_FAILURES:
            raise FrappeError(f"Frappe failed {_MOST_FAILURES} times in a row ({reason}); start again later")

    def _post(self, checkin: Checkin) -> httpx.Response:
        """The last answer: after no answer, and after one that Frappe is in trouble, there is another try."""
        body = {
            "employee_field_value": checkin.employee_code,
            "timestamp": checkin.at,
            "device_id": checkin.device_id,
            "log_type": checkin.log_type,
            "employee_fieldname": self._field,
        }
        for wait_s in (*self._waits_s, None):
            answer = self._try(lambda: self._http.post(f"{self._url}/api/method/{METHOD}", json=body))
            if isinstance(answer, httpx.Response) and (wait_s is None or not _is_trouble(answer)):
                return answer
            if wait_s is None:
                break
            sleep(wait_s)
        raise FrappeError(f"no answer from {self._url} ({type(answer).__name__}); start again later")

    @staticmethod
    def _try(post: Callable[[], httpx.Response]) -> httpx.Response | httpx.TransportError:
        try:
            return post()
        except httpx.TransportError as error:
            return error


def _is_taken(answer: httpx.Response) -> bool:
    """Whether the check-in that was made came back: a log-in page, or a proxy's, is a success for HTTP alone."""
    if not answer.is_success:
        return False
    try:
        return bool(answer.json()["message"]["name"])
    except (ValueError, KeyError, TypeError):
        return False


def _is_trouble(answer: httpx.Response) -> bool:
    return answer.status_code >= _SERVER_TROUBLE or answer.status_code == _BUSY


def _reason(answer: httpx.Response) -> str:
    """What a person would read in Frappe's own window, without its markup."""
    try:
        told = answer.json()
        messages = [json.loads(each)["message"] for each in json.loads(told.get("_server_messages", "[]"))]
        text = " ".join(map(str, messages)) or str(told.get("exception") or told.get("exc_type") or "")
    except (ValueError, AttributeError, KeyError, TypeError):
        text = ""
    plain = " ".join(unescape(_TAG.sub(" ", text)).split())
    unsaid = " without a check-in, as from a log-in page" if answer.is_success else ""
    return plain[:300] or f"HTTP {answer.status_code}{unsaid}"
