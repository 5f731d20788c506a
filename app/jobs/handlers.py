"""What this release can do outside of requests."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from app.jobs.context import JobContext

Handler = Callable[[JobContext], dict[str, Any]]
"""Does one kind of job and returns its result, which is JSON of ids and numbers."""

Handlers = Mapping[str, Handler]


def built_in() -> Handlers:
    """Every kind of job, by name.

    A feature adds a line here, and imports inside its handler what is heavy: workers load this at their start.
    """
    return {"enroll_video": _enroll_video}


def _enroll_video(context: JobContext) -> dict[str, Any]:
    from app.enrolment.jobs import enroll_video

    return enroll_video(context)


def load(place: str | None) -> Handlers:
    """The built-in handlers, and those that the function at `package.module:function` returns."""
    if place is None:
        return built_in()
    module, _, name = place.partition(":")
    more: Handlers = getattr(import_module(module), name)()
    return {**built_in(), **more}
