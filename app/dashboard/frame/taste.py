"""How a visitor wants to see things: language, time zone, light or dark. Their browser keeps it, in plain cookies."""

from dataclasses import dataclass
from typing import Final, Literal
from zoneinfo import ZoneInfo

from babel import Locale, negotiate_locale
from starlette.requests import Request

from app.time_zones import time_zones

LANGUAGES: Final = {"en": "English", "vi": "Tiếng Việt"}
LANGUAGE_COOKIE: Final = "rollcall_language"
ZONE_COOKIE: Final = "rollcall_zone"
THEME_COOKIE: Final = "rollcall_theme"

Theme = Literal["auto", "light", "dark"]


@dataclass(frozen=True, slots=True)
class Taste:
    """`zone` is the browser's own, or else the deployment's."""

    language: str
    zone: ZoneInfo
    theme: Theme

    @property
    def locale(self) -> Locale:
        return Locale.parse(self.language)


def taste_of(request: Request) -> Taste:
    """What the browser sent with this request; anything else than expected counts as nothing."""
    cookies = request.cookies
    zone = cookies.get(ZONE_COOKIE, "").replace("%2F", "/")
    theme = cookies.get(THEME_COOKIE)
    return Taste(
        language=_language(cookies.get(LANGUAGE_COOKIE), request.headers.get("accept-language", "")),
        zone=ZoneInfo(zone if zone in time_zones() else request.app.state.settings.timezone),
        theme="light" if theme == "light" else "dark" if theme == "dark" else "auto",
    )


def _language(chosen: str | None, accepted: str) -> str:
    if chosen in LANGUAGES:
        return chosen
    wanted = [part.split(";")[0].strip() for part in accepted.split(",")]
    return negotiate_locale(wanted, LANGUAGES, sep="-") or "en"
