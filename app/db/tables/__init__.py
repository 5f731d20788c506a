"""Every table. Importing this package fills `Base.metadata`, which migrations are compared with."""

from app.db.tables.access import ApiKey, AuditEntry, IdempotencyKey
from app.db.tables.gallery import Enrolment, GalleryChange, GalleryState, Template
from app.db.tables.people import Person
from app.db.types import Base

__all__ = [
    "ApiKey",
    "AuditEntry",
    "Base",
    "Enrolment",
    "GalleryChange",
    "GalleryState",
    "IdempotencyKey",
    "Person",
    "Template",
]
