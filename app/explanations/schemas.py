"""Explanations on the wire."""

from typing import Literal

from pydantic import BaseModel, Field

from app.identification.schemas import PersonRef


class Explanation(BaseModel):
    """Which parts of the face of an event made its score with the closest template of one person."""

    event_id: str
    model: str = Field(description="What made the embeddings that were compared.")
    person: PersonRef = Field(description="Who was named, or else who came nearest.")
    template_id: int = Field(description="Their template that is closest to the face.")
    template_crop_url: str | None = Field(description="The face of that template, where it is kept.")
    score: float = Field(
        description="Cosine of the kept picture of the face with that template, -1 to 1. The decision's own score is "
        "made of several templates and of the runner-up, and of the whole picture."
    )
    heat: list[list[float]] = Field(
        description="By how much the cosine falls when that part of the face is covered, from the top left, row by "
        "row: above 0 it spoke for the match, below 0 against it."
    )
    n_across: int = Field(description="Parts from left to right, and from top to bottom.")
    picture_url: str = Field(description="The same, drawn over the face, as PNG.")
    made_by: Literal["occlusion"]
