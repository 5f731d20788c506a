"""The pages, as the menu lists them."""

from dataclasses import dataclass
from typing import Final

from app.dashboard.frame.visitor import Visitor


@dataclass(frozen=True, slots=True)
class Entry:
    """One page: where it is, what it is called, its picture in `icons.svg`, and whether only administrators see it."""

    path: str
    title: str
    icon: str
    is_for_admins: bool = False


def N_(message: str) -> str:  # noqa: N802
    """Marks a message for the catalogues; it is translated where it is shown."""
    return message


MENU: Final = (
    (
        N_("Attendance"),
        (
            Entry("/", N_("Today"), "today"),
            Entry("/attendance", N_("Timesheets"), "calendar"),
            Entry("/unknown", N_("Unknown"), "unknown"),
        ),
    ),
    (
        N_("Recognition"),
        (
            Entry("/people", N_("People"), "people"),
            Entry("/threshold", N_("Threshold"), "threshold"),
            Entry("/cameras", N_("Cameras"), "camera"),
            Entry("/models", N_("Models"), "model"),
            Entry("/jobs", N_("Jobs"), "job"),
        ),
    ),
    (
        N_("Administration"),
        (
            Entry("/settings", N_("Settings"), "settings", is_for_admins=True),
            Entry("/keys", N_("Keys"), "key", is_for_admins=True),
            Entry("/users", N_("Users"), "users", is_for_admins=True),
            Entry("/audit", N_("Audit"), "audit", is_for_admins=True),
        ),
    ),
)


def menu_for(visitor: Visitor) -> list[tuple[str, list[Entry]]]:
    """What this visitor may open."""
    groups = (
        (title, [entry for entry in entries if visitor.is_admin or not entry.is_for_admins]) for title, entries in MENU
    )
    return [(title, entries) for title, entries in groups if entries]
