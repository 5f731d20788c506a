"""The time zones that this machine knows."""

from functools import cache
from zoneinfo import available_timezones


@cache
def time_zones() -> frozenset[str]:
    """IANA names, as `zoneinfo.available_timezones` finds them in hundreds of files."""
    return frozenset(available_timezones())
