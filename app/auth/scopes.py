"""What a key may do: each scope includes the ones before it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class Scope(StrEnum):
    CAMERA = "camera"
    OPERATOR = "operator"
    ADMIN = "admin"

    def includes(self, needed: "Scope") -> bool:
        order = list(Scope)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling: `id` is the key's or the user's, never a secret; `camera_id` is set where a key is a camera's."""

    id: str
    scope: Scope
    camera_id: str | None = None
    kind: Literal["key", "user"] = "key"

    @property
    def actor(self) -> str:
        """How the audit log names the caller."""
        return f"{self.kind}:{self.id}"
