"""Every table. Importing this package fills `Base.metadata`, which migrations are compared with."""

from app.db.tables.access import ApiKey, AuditEntry, IdempotencyKey
from app.db.tables.decisions import DecisionCandidate, DecisionRow
from app.db.tables.gallery import Enrolment, GalleryChange, GalleryReplicaRow, GalleryState, Template
from app.db.tables.jobs import Job, JobWorker
from app.db.tables.operating_points import (
    LookAlikeRow,
    OperatingPointRow,
    PairComplaint,
    RecalibrationRequest,
    SuspiciousTemplateRow,
    ThresholdState,
)
from app.db.tables.people import Person
from app.db.types import Base

__all__ = [
    "ApiKey",
    "AuditEntry",
    "Base",
    "DecisionCandidate",
    "DecisionRow",
    "Enrolment",
    "GalleryChange",
    "GalleryReplicaRow",
    "GalleryState",
    "IdempotencyKey",
    "Job",
    "JobWorker",
    "LookAlikeRow",
    "OperatingPointRow",
    "PairComplaint",
    "Person",
    "RecalibrationRequest",
    "SuspiciousTemplateRow",
    "Template",
    "ThresholdState",
]
