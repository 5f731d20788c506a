"""What this release can do outside of requests."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from app.jobs.context import JobContext

Handler = Callable[[JobContext], dict[str, Any]]
"""Does one kind of job and returns its result, which is JSON of ids and numbers."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of job: the queue that its jobs wait in, and what does them."""

    queue: str
    handler: Handler


Kinds = Mapping[str, Kind]
"""Kinds of jobs, by name."""


def built_in() -> Kinds:
    """Every kind of job.

    A feature adds a line here, and imports inside its handler what is heavy: workers load this at their start.
    Work that others shall not wait for, or that needs machines of its own, gets another queue by naming it here, such
    as `training` or `upkeep`.
    """
    return {
        "enroll_video": Kind("video", _enroll_video),
        "retrain": Kind("training", _retrain),
        "measure_backbone": Kind("training", _measure_backbone),
        "promote_model": Kind("training", _promote_model),
    }


def _enroll_video(context: JobContext) -> dict[str, Any]:
    from app.enrolment.jobs import enroll_video

    return enroll_video(context)


def _retrain(context: JobContext) -> dict[str, Any]:
    from app.models.retraining import retrain

    return retrain(context)


def _measure_backbone(context: JobContext) -> dict[str, Any]:
    from app.models.retraining import measure_backbone

    return measure_backbone(context)


def _promote_model(context: JobContext) -> dict[str, Any]:
    from app.models.switching import promote_model

    return promote_model(context)


def load(place: str | None) -> Kinds:
    """The built-in kinds, and those that the function at `package.module:function` returns."""
    if place is None:
        return built_in()
    module, _, name = place.partition(":")
    more: Kinds = getattr(import_module(module), name)()
    return {**built_in(), **more}


def of_queues(kinds: Kinds, names: str | None) -> Kinds:
    """Those kinds that wait in the queues `a,b`; all of them where none is named.

    Raises:
        ValueError: no kind waits in a queue of that name.
    """
    if names is None:
        return kinds
    wanted, known = [name.strip() for name in names.split(",")], by_queue(kinds)
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ValueError(f"there is no queue `{unknown[0]}`; the queues are: {', '.join(known)}")
    return {name: kind for name, kind in kinds.items() if kind.queue in wanted}


def by_queue(kinds: Kinds) -> dict[str, list[str]]:
    """The names of all queues, and of the kinds that wait in each."""
    queues = sorted({kind.queue for kind in kinds.values()})
    return {queue: [name for name, kind in kinds.items() if kind.queue == queue] for queue in queues}


def queue_of(kind: str) -> str | None:
    """Where jobs of this kind wait; None where only another release knows it."""
    known = built_in().get(kind)
    return None if known is None else known.queue
