"""Templates as people look at them."""

from datetime import datetime

from pydantic import BaseModel, Field

from app.enrolment.schemas import Pose, Source


class TemplateView(BaseModel):
    """One stored template, without its embedding."""

    id: int
    enrolment_id: str
    quality: float = Field(description="0 to 1.")
    pose: Pose
    source: Source
    has_crop: bool = Field(description="Whether `/v1/templates/{id}/crop` has a picture of it.")
    created_at: datetime
    suspicious: bool = Field(description="Nearer to somebody else than to its own person, at the last calibration.")


class Templates(BaseModel):
    """All templates of one person, the oldest first."""

    items: list[TemplateView]
