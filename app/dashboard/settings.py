"""Settings: what the service was started with, what it keeps and for how long."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from fastapi import APIRouter, Request
from pydantic import SecretStr
from starlette.responses import HTMLResponse

from app.dashboard.frame.messages import translate
from app.dashboard.frame.navigation import N_
from app.dashboard.frame.pages import render
from app.dashboard.frame.visitor import AdminVisitorDep
from app.http.dependencies import DatabaseDep, SettingsDep
from app.settings import Settings
from app.sites import queries as sites
from app.system.storage import database_bytes

router = APIRouter(include_in_schema=False)

# More sites than this are not listed among what is kept; their own page lists all.
_MOST_SITES: Final = 50

GROUPS: Final = (
    (N_("Basics"), ("data_dir", "database_url", "db_pool_size", "secret_key", "timezone")),
    (
        N_("Recognition"),
        (
            "backbone",
            "detector",
            "device",
            "engine",
            "models_dir",
            "min_face_px",
            "mirrored_embedding",
            "require_consent",
        ),
    ),
    (
        N_("Recognition on other machines"),
        ("inference_urls", "inference_token", "inference_timeout_s", "inference_at_once"),
    ),
    (
        N_("Privacy"),
        (
            "crop_retention_days",
            "keep_template_crops",
            "decision_retention_days",
            "keep_uploads",
            "webhook_retention_days",
            "job_retention_days",
            "idempotency_ttl_hours",
        ),
    ),
    (N_("Model training"), ("retrain_every_days", "retrain_strategy", "retrain_policy", "training_data")),
    (N_("Dashboard"), ("session_idle_minutes", "session_hours")),
    (
        N_("Limits"),
        (
            "max_image_bytes",
            "max_image_pixels",
            "max_enroll_bytes",
            "max_enroll_files",
            "max_import_rows",
            "templates_per_person_max",
            "max_video_bytes",
            "max_video_seconds",
            "templates_per_clip_max",
            "max_batch_bytes",
            "capture_max_age_days",
            "body_timeout_s",
        ),
    ),
    (N_("Jobs and log"), ("workers", "worker_timeout_s", "log_level", "log_json")),
)


@dataclass(frozen=True, slots=True)
class Shown:
    """One setting. `kind` is `secret`, `nothing`, `yes_no`, `number` or `text`; a secret's value is never here."""

    variable: str
    description: str
    kind: str
    value: Any
    is_default: bool


@router.get("/settings")
def settings_page(
    request: Request, visitor: AdminVisitorDep, database: DatabaseDep, settings: SettingsDep
) -> HTMLResponse:
    with database.read() as session:
        n_bytes = database_bytes(session)
        places = sites.list_sites(session, after=None, limit=_MOST_SITES)
    return render(
        request,
        visitor,
        "settings.html",
        groups=list(shown_groups(settings, visitor.taste.language)),
        settings=settings,
        sites=places,
        dialect=database.engine.dialect.name,
        n_megabytes=n_bytes / 1e6,
    )


def shown_groups(settings: Settings, language: str) -> Iterator[tuple[str, list[Shown]]]:
    """Every setting once, in the groups of the page."""
    for title, names in GROUPS:
        yield title, [_shown(settings, name, language) for name in names]


def _shown(settings: Settings, name: str, language: str) -> Shown:
    field, value = Settings.model_fields[name], getattr(settings, name)
    is_secret = isinstance(value, SecretStr)
    return Shown(
        variable=f"ROLLCALL_{name.upper()}",
        # Not in the template, where what is translated counts as HTML: descriptions say `<data_dir>`.
        description=translate(language, str(field.description)),
        kind="secret" if is_secret else _kind(value),
        value=None if is_secret else value,
        is_default=value == field.default,
    )


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "yes_no"
    return "number" if isinstance(value, int | float) else "text"
