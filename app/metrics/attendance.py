"""Counts what is written into the ledger, and how long that takes."""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram

from app.attendance.schemas import RecordedEvent

# Seconds. From a capture of nobody to one that waits for others of the same people.
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class AttendanceMetrics:
    """`rollcall_captures_written_seconds`, whose count is that of captures, and `rollcall_events_total` by outcome."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._events = Counter(
            "rollcall_events", "Events that captures made; repeats included.", ("outcome",), registry=registry
        )
        self._seconds = Histogram(
            "rollcall_captures_written_seconds",
            "From the decisions about a capture to its commit, with the days that follow.",
            buckets=_BUCKETS,
            registry=registry,
        )

    def observe(self, events: Sequence[RecordedEvent], seconds: float) -> None:
        """Count one capture that was committed."""
        self._seconds.observe(seconds)
        for event in events:
            self._events.labels(event.outcome).inc()
