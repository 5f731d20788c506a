"""Jobs on the wire."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Status = Literal["queued", "running", "done", "failed", "cancelled"]


class Job(BaseModel):
    """Long work and how far it is."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    kind: str = Field(examples=["enroll_video"])
    status: Status
    progress: float = Field(ge=0, le=1, description="0 to 1; starts again at 0 when another worker takes the job over.")
    message: str | None = Field(description="What the job was last doing, or what it waits for.")
    result: dict[str, Any] | None = Field(description="When done; what is in it depends on the kind.")
    error: str | None = Field(description="When failed: why, for a person.")
    attempts: int = Field(
        description="How often it was started, without starts that an orderly stop of the worker undid."
    )
    requested_cancel: bool
    created_by: str
    created_at: datetime
    started_at: datetime | None = Field(description="When the latest attempt began.")
    finished_at: datetime | None


class Queue(BaseModel):
    """Jobs of some kinds, which wait for the same workers."""

    name: str = Field(examples=["video"])
    n_queued: int
    n_running: int
    n_workers: int = Field(description="Workers that serve this queue, perhaps among others; with none, its jobs wait.")


class Workload(BaseModel):
    """Long work that is not over, and who there is to do it."""

    n_queued: int
    n_running: int
    n_workers: int = Field(description="Processes that run jobs, one each; with none, queued jobs wait for ever.")
    queues: list[Queue]
