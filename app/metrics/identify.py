"""Counts where the time of `/v1/identify` goes."""

from prometheus_client import CollectorRegistry, Histogram

from app.identification.schemas import TimingMs

# Seconds. From a search in a small gallery to a burst of cameras that wait.
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class IdentifyMetrics:
    """`rollcall_identify_stage_seconds` by `stage`: decode, queue, detect, embed, search, and their total."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = Histogram(
            "rollcall_identify_stage_seconds",
            "Where the time of an identification goes; detect and embed are those of its whole batch.",
            ("stage",),
            buckets=_BUCKETS,
            registry=registry,
        )

    def observe(self, timing: TimingMs) -> None:
        """Count one picture."""
        for stage, milliseconds in timing:
            self._seconds.labels(stage).observe(milliseconds / 1000)
