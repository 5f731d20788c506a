"""A training that reports slowly, for a worker that is to be killed in the middle of it.

`--handlers tests.app.models.slow_retraining:kinds`.
"""

from time import sleep
from typing import Any

from app.jobs.context import JobContext
from app.jobs.handlers import Kind, Kinds
from app.models.retraining import retrain

PLACE = "tests.app.models.slow_retraining:kinds"
_PER_REPORT_S = 0.2


class SlowContext(JobContext):
    """Sleeps with every report: an epoch of this little training takes a few milliseconds."""

    def report(self, progress: float, message: str | None = None) -> None:
        super().report(progress, message)
        sleep(_PER_REPORT_S)


def kinds() -> Kinds:
    return {"retrain": Kind("training", slowly)}


def slowly(context: JobContext) -> dict[str, Any]:
    context.__class__ = SlowContext
    return retrain(context)
