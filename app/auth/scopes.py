"""What a key may do: each scope includes the ones before it."""

from dataclasses import dataclass
from enum import StrEnum


class Scope(StrEnum):
    CAMERA = "camera"
    OPERATOR = "operator"
    ADMIN = "admin"

    def includes(self, needed: "Scope") -> bool:
        order = list(Scope)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling: `id` is the key's id, never its secret; `camera_id` is set where the key is a camera's own."""

    id: str
    scope: Scope
    camera_id: str | None = None

    @property
    def actor(self) -> str:
        """How the audit log names the caller."""
        return f"key:{self.id}"
