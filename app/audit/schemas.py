"""The audit log on the wire."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class AuditItem(BaseModel):
    """One action. Holds ids, counts and field names only."""

    model_config = ConfigDict(from_attributes=True, coerce_numbers_to_str=True)

    id: str
    at: datetime
    actor: str = Field(description="`key:<key id>` or the command that acted.")
    action: str = Field(examples=["person.erased"])
    target: str | None
    detail: dict[str, Any]
