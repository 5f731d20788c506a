"""Judged decisions on the wire."""

from pydantic import BaseModel, ConfigDict, Field


class Feedback(BaseModel):
    """What really was the case."""

    model_config = ConfigDict(extra="forbid")

    correct: bool = Field(description="Whether the decision was right.")
    person_id: str | None = Field(None, description="Who it really was, where that is known.", max_length=40)


class RaisedPair(BaseModel):
    """Two people, and by how much one must now lead the other to be named."""

    person_a: str
    person_b: str
    margin: float


class FeedbackReceipt(BaseModel):
    """What was noted, and what it changes."""

    event_id: str
    correct: bool
    person_id: str | None
    raised: RaisedPair | None = Field(description="The pair for which the bar was raised, if any; nobody else changes.")
    is_event_corrected: bool = Field(description="Whether an event of the ledger went to somebody else, or to nobody.")
