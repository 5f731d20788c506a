"""`rollcall export frappe`."""

from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated
from urllib.parse import urlencode, urlsplit

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Column, Table

from app.auth.scopes import Scope
from app.cli.client import DEFAULT_URL, Client, KeyOption, UrlOption, open_client
from app.cli.enrolment_summary import printable
from app.cli.failures import told_plainly
from app.exports.frappe import DEFAULT_FIELD, Answer, Checkin, Frappe, RefusedError, checkin_of
from app.exports.sent import SentLog, sent_log

DATES = ["%Y-%m-%d"]
FromOption = Annotated[datetime, typer.Option("--from", formats=DATES, help="First date, on the sites' wall clocks.")]
ToOption = Annotated[datetime, typer.Option("--to", formats=DATES, help="Last date.")]
_PAGE = 500
_TWICE = "Frappe has the same time for another one: the clocks were turned back; add it in Frappe by hand"
_CHANGED = "it was changed after it was sent: correct it in Frappe"
_GONE = "it was deleted, or counts no more, after it was sent: delete it in Frappe"


@told_plainly
def frappe(
    frappe_url: Annotated[str, typer.Option(envvar="FRAPPE_URL", help="Where Frappe HR runs: https://hr.example.com")],
    api_key: Annotated[str, typer.Option(envvar="FRAPPE_API_KEY", help="Of a user who may add employee check-ins.")],
    api_secret: Annotated[str, typer.Option(envvar="FRAPPE_API_SECRET", help="Best given in the environment.")],
    first: FromOption,
    last: ToOption,
    employee_field: Annotated[
        str, typer.Option(help="The field of Frappe's Employee that holds the employee_code.")
    ] = DEFAULT_FIELD,
    state: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="Remembers what was sent; default: ./rollcall-frappe-HOST.sent"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be sent.")] = False,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
) -> None:
    """Send check-ins and check-outs to Frappe HR, as IN and OUT of its Employee Checkin, in order of time.

    Can be run again at any time: what was sent is sent no more, and what Frappe has already counts as sent.
    """
    with open_client(url, key, Scope.OPERATOR) as client:
        checkins = list(_checkins(client, first.date(), last.date()))
    with sent_log(state or Path(f"rollcall-frappe-{_host(frappe_url)}.sent")) as sent:
        if dry_run:
            _dry_run(checkins, sent)
            return
        service = Frappe(frappe_url, f"{api_key}:{api_secret}", employee_field)
        try:
            is_complete = _Export(service, sent).run(checkins, first.date(), last.date())
        finally:
            service.close()
    if not is_complete:
        raise typer.Exit(1)


def _host(frappe_url: str) -> str:
    parts = urlsplit(frappe_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("--frappe-url must be an address such as https://hr.example.com")
    return parts.hostname if parts.port is None else f"{parts.hostname}-{parts.port}"


def _checkins(client: Client, first: date, last: date) -> Iterator[Checkin]:
    """In order of time. The service is asked for a day more on either side, because its dates are not the sites'."""
    if last < first:
        raise ValueError("--to is before --from; both days are included")
    query = {
        "from": f"{datetime.combine(first, time()) - timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}",
        "to": f"{datetime.combine(last, time()) + timedelta(days=2):%Y-%m-%dT%H:%M:%SZ}",
        "order": "asc",
        "limit": str(_PAGE),
    }
    while True:
        page = client.get(f"/v1/events?{urlencode(query)}")
        found = (checkin_of(event, first, last) for event in page["items"])
        yield from (checkin for checkin in found if checkin is not None)
        if page["next_cursor"] is None:
            return
        query["cursor"] = page["next_cursor"]


def _dry_run(checkins: list[Checkin], sent: SentLog) -> None:
    new = [checkin for checkin in checkins if checkin.event_id not in sent.contents]
    n_people = len({checkin.employee_code for checkin in new})
    console = Console()
    console.print(f"Would send {len(new)} check-ins of {n_people} people. Nothing was sent.")
    console.print(f"{len(checkins) - len(new)} were sent before.")


class _Export:
    """Sends what is new, and tells what became of it, also when it ends early."""

    def __init__(self, service: Frappe, sent: SentLog) -> None:
        self._service = service
        self._sent = sent
        self._counts: Counter[Answer | str] = Counter()
        self._differences: list[tuple[str, str, str]] = []
        self._seen: set[str] = set()

    def run(self, checkins: list[Checkin], first: date, last: date) -> bool:
        """Whether Frappe now has these, and no others of these dates that were sent before."""
        try:
            self._find_gone({checkin.event_id for checkin in checkins}, first, last)
            for checkin in track(checkins, "Sending", console=Console(stderr=True)):
                self._send(checkin)
        finally:
            self._report()
        return not self._differences

    def _find_gone(self, event_ids: set[str], first: date, last: date) -> None:
        for event_id, content in self._sent.contents.items():
            if event_id not in event_ids and first <= date.fromisoformat(content.split(" ")[-3]) <= last:
                self._differences.append((event_id, content, _GONE))

    def _send(self, checkin: Checkin) -> None:
        if checkin.content in self._seen:
            self._differences.append((checkin.event_id, checkin.content, _TWICE))
            return
        self._seen.add(checkin.content)
        content = self._sent.contents.get(checkin.event_id)
        if content is not None:
            self._counts["before"] += 1
            if content != checkin.content:
                self._differences.append((checkin.event_id, content, _CHANGED))
            return
        try:
            self._counts[self._service.add(checkin)] += 1
        except RefusedError as refusal:
            self._differences.append((checkin.event_id, checkin.content, str(refusal)))
            return
        self._sent.add(checkin.event_id, checkin.content)

    def _report(self) -> None:
        console, counts = Console(), self._counts
        console.print(
            f"Sent {counts[Answer.TAKEN]} check-ins; {counts[Answer.WAS_THERE]} were in Frappe already, "
            f"{counts['before']} were sent before."
        )
        if not self._differences:
            return
        table = Table(Column("event", overflow="fold"), "check-in", "why", title="Not in Frappe as it is here")
        for event_id, content, why in self._differences:
            table.add_row(escape(printable(event_id)), escape(printable(content)), escape(printable(why)))
        console.print(table)
