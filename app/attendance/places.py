"""Where a punch without a picture is made: at a camera's or a person's site, by the clock on its wall."""

from dataclasses import dataclass
from datetime import datetime

from app.auth.scopes import Principal, Scope
from app.db.tables import Camera, Event, Site
from app.db.types import new_id, utc_now
from app.sites.service import zone_of


def direction_at(camera: Camera | None, said: str | None, caller: Principal) -> str | None:
    """A camera that is fixed to one direction has it, whatever its sender says; operators may know better."""
    fixed = camera.direction if camera is not None and camera.direction != "both" else None
    if caller.scope.includes(Scope.OPERATOR):
        return said or fixed
    return fixed or said


@dataclass(frozen=True, slots=True)
class PunchPlace:
    """What an event keeps of its place."""

    site_id: str
    timezone: str
    repeat_window_s: int
    camera_id: str | None = None

    @classmethod
    def of_site(cls, site: Site, default_zone: str, camera_id: str | None = None) -> "PunchPlace":
        return cls(site.id, zone_of(site, default_zone), site.repeat_window_s, camera_id)

    def event(
        self, method: str, person_id: str, occurred_at: datetime, direction: str | None, caller: Principal
    ) -> Event:
        """A punch of somebody who is known."""
        return Event(
            id=new_id("evt"),
            camera_id=self.camera_id,
            site_id=self.site_id,
            timezone=self.timezone,
            repeat_window_s=self.repeat_window_s,
            method=method,
            outcome="identified",
            received_at=utc_now(),
            created_by=caller.actor,
            person_id=person_id,
            occurred_at=occurred_at,
            given_direction=direction,
            is_deleted=False,
        )
