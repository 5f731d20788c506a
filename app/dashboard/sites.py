"""Sites and their holidays."""

from calendar import Calendar
from collections import defaultdict
from collections.abc import Iterable
from datetime import date
from typing import Annotated, Final

from babel import Locale
from fastapi import APIRouter, Query, Request
from starlette.responses import HTMLResponse

from app.dashboard.frame.pages import render
from app.dashboard.frame.visitor import AdminVisitorDep
from app.db.tables import Holiday
from app.db.types import utc_now
from app.http.dependencies import DatabaseDep, SettingsDep
from app.http.pagination import PageRequest
from app.sites import queries
from app.sites.routes import list_sites

router = APIRouter(include_in_schema=False)

_SITES_AT_ONCE: Final = 50
# Of one year, of all sites together.
_MOST_HOLIDAYS: Final = 2000

Weeks = list[list[date | None]]


@router.get("/settings/sites")
def sites_page(
    request: Request,
    visitor: AdminVisitorDep,
    database: DatabaseDep,
    settings: SettingsDep,
    year: Annotated[int | None, Query(ge=2000, le=2199)] = None,
    cursor: Annotated[str | None, Query(max_length=500)] = None,
) -> HTMLResponse:
    today = utc_now().astimezone(visitor.taste.zone).date()
    shown = year or today.year
    page = list_sites(database, PageRequest(_SITES_AT_ONCE, cursor), visitor.principal)
    with database.read() as session:
        holidays = queries.list_holidays(
            session, first=date(shown, 1, 1), last=date(shown, 12, 31), limit=_MOST_HOLIDAYS
        )
        names = {site.id: site.name for site in page.items} | {
            site.id: site.name
            for site in queries.sites_by_ids(session, {day.site_id for day in holidays if day.site_id}).values()
        }
    return render(
        request,
        visitor,
        "settings_sites.html",
        page=page,
        default_zone=settings.timezone,
        year=shown,
        today=today,
        holidays=holidays,
        names=names,
        months=months_of(shown, visitor.taste.locale),
        weekdays=_narrow_weekdays(visitor.taste.locale),
        holidays_by_day=_by_day(holidays),
    )


def months_of(year: int, locale: Locale) -> list[tuple[str, Weeks]]:
    """The months by name, each in weeks from Monday on; None is a day of the month before or after."""
    weeks = Calendar().monthdatescalendar
    names = locale.months["stand-alone"]["wide"]
    return [
        (names[month], [[day if day.month == month else None for day in week] for week in weeks(year, month)])
        for month in range(1, 13)
    ]


def _narrow_weekdays(locale: Locale) -> list[str]:
    return [locale.days["stand-alone"]["narrow"][number] for number in range(7)]


def _by_day(holidays: Iterable[Holiday]) -> dict[date, str]:
    names: dict[date, list[str]] = defaultdict(list)
    for holiday in holidays:
        names[holiday.local_date].append(holiday.name)
    return {day: ", ".join(dict.fromkeys(found)) for day, found in names.items()}
