"""Counts requests and how long they take, by route and status."""

from prometheus_client import CollectorRegistry, Histogram

# Seconds. From a look at one row to a film that is read through.
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)


class RequestMetrics:
    """`rollcall_http_request_seconds`, whose count is the number of requests."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = Histogram(
            "rollcall_http_request_seconds",
            "Time from a request's head to the end of its answer.",
            ("method", "route", "status"),
            buckets=_BUCKETS,
            registry=registry,
        )

    def observe(self, method: str, route: str, status: int | None, seconds: float) -> None:
        """Count one request; `route` is a pattern such as `/v1/people/{person_id}`, `status` None when it broke off."""
        self._seconds.labels(method, route, str(status or "none")).observe(seconds)
