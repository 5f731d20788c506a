"""Every setting of the service, built once at the edge and handed down as values."""

from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.time_zones import time_zones

AUTO: Final = "auto"
# Characters of a secret key: what can be guessed protects nothing.
SHORTEST_KEY: Final = 16


class Settings(BaseSettings):
    """Read from the environment: `ROLLCALL_` and the field's name in capitals. The README table is made from this."""

    model_config = SettingsConfigDict(env_prefix="ROLLCALL_", extra="ignore", hide_input_in_errors=True)

    data_dir: Path = Field(
        Path("data"), description="Folder of the embedded database and, unless set apart, of the models."
    )
    database_url: SecretStr | None = Field(
        None, description="`postgresql://…` to use PostgreSQL; unset: SQLite at `<data_dir>/rollcall.sqlite3`."
    )
    db_pool_size: int = Field(
        10, ge=1, le=200, description="Database connections kept open; as many again are opened under load."
    )

    secret_key: SecretStr | None = Field(
        None,
        description="Encrypts face crops and signing secrets; the same on all replicas. Unset: made once in "
        "`<data_dir>/secret.key`. To replace it, `NEW,OLD`.",
    )
    timezone: str = Field(
        "UTC", description="IANA time zone of sites that have none of their own, such as `Europe/Berlin`."
    )

    backbone: str = Field(
        "dlib-resnet", description="Network that makes embeddings at first; `rollcall models switch` changes it later."
    )
    detector: str = Field("mtcnn", description="Network that finds faces: `mtcnn` or `yunet`.")
    device: str = Field("cpu", description="Where networks run: `cpu`, `cuda`, `cuda:1`. Never falls back in silence.")
    engine: str = Field(
        AUTO,
        description="How networks run here: `auto`, as measured at the first start, or RUNTIME/PRECISION/THREADS.",
    )
    inference_urls: str | None = Field(
        None, description="Machines that run `rollcall inference`, commas between them; unset: networks run right here."
    )
    inference_token: SecretStr | None = Field(
        None, min_length=16, description="Secret that `rollcall inference` and those who send it pictures share."
    )
    inference_timeout_s: float = Field(
        10.0, gt=0, description="Longest wait, in seconds, for one such machine; then another one is asked."
    )
    inference_at_once: int = Field(
        4, ge=2, le=256, description="Batches sent at once to each of these addresses; one may stand for many machines."
    )
    models_dir: Path | None = Field(None, description="Folder of model files; unset: `<data_dir>/models`.")
    min_face_px: int = Field(40, ge=12, description="Smallest face, in pixels of its shorter side, that is searched.")
    mirrored_embedding: bool = Field(
        True, description="Average each chip's embedding with its mirror image's: fewer misses for a second embedding."
    )
    require_consent: bool = Field(
        True, description="Refuse to enrol anybody whose consent is not recorded or given in the call."
    )

    max_image_bytes: int = Field(20_000_000, ge=1, description="Largest image file accepted.")
    max_image_pixels: int = Field(50_000_000, ge=1, description="Largest image, in pixels, that is decoded.")
    max_enroll_bytes: int = Field(200_000_000, ge=1, description="Largest enrolment request, all files together.")
    max_enroll_files: int = Field(50, ge=1, description="Most files in one enrolment request.")
    max_import_rows: int = Field(10_000, ge=1, description="Most rows in one CSV import of people.")
    templates_per_person_max: int = Field(50, ge=1, description="Most templates kept for one person.")
    max_video_bytes: int = Field(200_000_000, ge=1, description="Largest video accepted.")
    max_video_seconds: float = Field(900.0, gt=0, description="Longest video accepted, in seconds.")
    templates_per_clip_max: int = Field(12, ge=1, description="Most templates taken from one video.")
    keep_uploads: bool = Field(
        False, description="Keep uploaded videos under `<data_dir>/uploads` until their enrolment is deleted."
    )
    body_timeout_s: float = Field(
        30.0, gt=0, description="Longest silence, in seconds, while a request's body is being received."
    )
    idempotency_ttl_hours: int = Field(
        48, ge=1, description="How long the first answer to an `Idempotency-Key` is kept for replay."
    )

    decision_retention_days: int = Field(
        7, ge=0, description="How long decisions are kept, without images, for previews and feedback; 0 keeps none."
    )

    capture_max_age_days: int = Field(
        31,
        ge=1,
        le=366,
        description="Oldest capture accepted, in days: how long a camera may be away and lose nothing.",
    )
    max_batch_bytes: int = Field(500_000_000, ge=1, description="Largest batch of captures accepted.")

    crop_retention_days: int = Field(
        7,
        ge=0,
        le=366,
        description="How long the face crop of each recognised capture is kept, encrypted, for people to check; "
        "0 keeps none.",
    )
    keep_template_crops: bool = Field(
        True, description="Keep the face crop of each template, encrypted, for people to check and for other networks."
    )

    session_idle_minutes: int = Field(
        60, ge=1, description="Minutes without a click after which somebody must sign in to the dashboard again."
    )
    session_hours: int = Field(12, ge=1, description="Hours after which they must in any case.")

    retrain_every_days: int = Field(
        0, ge=0, le=366, description="Days after which a new model is trained by itself; 0: only when somebody asks."
    )
    retrain_strategy: Literal["projection", "finetune"] = Field(
        "projection", description="What is trained then, and when nobody says: a small head, or the last blocks too."
    )
    retrain_policy: Literal["auto", "ask", "never"] = Field(
        "ask", description="What becomes of a model that is measured to be better: it is used, offered, or only kept."
    )
    training_data: Path | None = Field(
        None, description="Folder of photos, one subfolder per person, that models are also trained and judged with."
    )

    webhook_retention_days: int = Field(
        30, ge=1, description="How long messages to webhooks are kept that were delivered or given up, for replay."
    )

    workers: int = Field(
        1,
        ge=0,
        le=64,
        description="Processes for long jobs beside `rollcall serve`; 0: run `rollcall worker` yourself.",
    )
    worker_timeout_s: float = Field(
        15.0,
        ge=1,
        description="Silence, in seconds, after which a worker counts as dead and others do its jobs.",
    )
    job_retention_days: int = Field(30, ge=1, description="How long finished jobs are listed.")

    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severe event logged.")
    log_json: bool = Field(False, description="One JSON object per log line instead of readable text.")

    @field_validator("secret_key")
    @classmethod
    def _are_secrets(cls, given: SecretStr | None) -> SecretStr | None:
        if given is not None and any(len(key.strip()) < SHORTEST_KEY for key in given.get_secret_value().split(",")):
            raise ValueError(f"each key needs at least {SHORTEST_KEY} characters")
        return given

    @field_validator("timezone")
    @classmethod
    def _is_time_zone(cls, given: str) -> str:
        if given not in time_zones():
            raise ValueError("give an IANA time zone such as Europe/Berlin")
        return given

    @field_validator("inference_urls")
    @classmethod
    def _are_urls(cls, given: str | None) -> str | None:
        for url in _listed(given):
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
                raise ValueError("give addresses such as http://10.0.0.5:8100, commas between them")
        return given

    @property
    def inference_addresses(self) -> list[str]:
        """`inference_urls`, each once and without a slash at its end; none where networks run in this process."""
        return list(dict.fromkeys(_listed(self.inference_urls)))

    @property
    def uploads_path(self) -> Path:
        """Folder of videos that wait for their job; every machine that runs jobs must see the same one."""
        return self.data_dir / "uploads"

    @property
    def models_path(self) -> Path:
        """Folder of model files."""
        return self.models_dir or self.data_dir / "models"


def _listed(commas: str | None) -> list[str]:
    return [word.strip().rstrip("/") for word in (commas or "").split(",") if word.strip()]
