"""What the API says of the gallery's replicas."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Audit(BaseModel):
    """How a replica's index differed from the database when that was last looked at; a clean one does not."""

    at: datetime
    revision: int
    is_clean: bool
    n_stored: int = Field(description="Templates in the database.")
    n_indexed: int = Field(description="Templates in the index.")
    n_missing: int
    n_extra: int
    n_misassigned: int = Field(description="Templates that the index takes for another person's.")
    n_altered: int = Field(description="Templates whose embedding differs, by its checksum.")
    n_misfused: int = Field(description="People whose fused template is not the mean of their templates.")
    fingerprint: str = Field(description="Equal on every replica that holds the same.")


class Replica(BaseModel):
    """A process that holds the gallery in memory."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    kind: str = Field(description="`api` or `worker`.")
    host: str
    started_at: datetime
    seen_at: datetime
    is_silent: bool = Field(description="It has not been heard of for a while: dead, or cut off from the database.")
    revision: int = Field(description="As of `seen_at`.")
    n_people: int
    n_templates: int
    is_rebuild_pending: bool
    rebuilt_at: datetime | None
    is_audit_pending: bool
    audit: Audit | None


class Recall(BaseModel):
    """Shares of what an exact search finds, 0..1."""

    model_config = ConfigDict(from_attributes=True)

    nearest: float = Field(description="Of the nearest one.")
    nearest_two: float = Field(description="Of the nearest two: the second decides how far the first stands out.")
    all_wanted: float = Field(description="Of all that a search looks at.")


class Index(BaseModel):
    """How one half of the gallery is searched; scores are exact in any case."""

    model_config = ConfigDict(from_attributes=True)

    kind: Literal["flat", "coded"] = Field(
        description="`flat`: everything is compared. `coded`: what codes of half a byte per number propose is."
    )
    n_built: int = Field(description="Vectors when codes were last built; what came since is coded as it comes.")
    n_reranked: int = Field(description="How many the codes propose for each probe.")
    recall: Recall | None = Field(description="Measured when codes were last built; too low, and `kind` stays `flat`.")
    measured_at: datetime | None


class Indexes(BaseModel):
    """How the gallery is searched by the process that answers."""

    model_config = ConfigDict(from_attributes=True)

    templates: Index
    people: Index = Field(description="Everybody's templates fused into one.")


class GalleryState(BaseModel):
    """The gallery as it is stored, and everybody who holds it."""

    revision: int
    model: str | None = Field(description="The backbone whose embeddings are stored; null before the first enrolment.")
    n_log_entries: int = Field(description="Template changes that a replica which was away can still catch up by.")
    replicas: list[Replica]
    index: Indexes
