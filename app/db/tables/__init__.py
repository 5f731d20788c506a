"""Every table. Importing this package fills `Base.metadata`, which migrations are compared with."""

from app.db.tables.access import ApiKey, AuditEntry, IdempotencyKey
from app.db.tables.attendance import (
    Capture,
    Day,
    DayApproval,
    Event,
    EventCorrection,
    PunchCredential,
    PunchTries,
    Shift,
    ShiftAssignment,
    StaleDay,
)
from app.db.tables.crops import CameraSnapshot, EventCrop, TemplateCrop
from app.db.tables.decisions import DecisionCandidate, DecisionRow
from app.db.tables.gallery import Enrolment, GalleryChange, GalleryReplicaRow, GalleryState, Template
from app.db.tables.jobs import Job, JobWorker
from app.db.tables.models import Model, ModelWeights, TemplateEmbedding, TrainingRun
from app.db.tables.operating_points import (
    LookAlikeRow,
    OperatingPointRow,
    PairComplaint,
    RecalibrationRequest,
    SuspiciousTemplateRow,
    ThresholdState,
)
from app.db.tables.people import Person
from app.db.tables.places import Camera, CameraClock, Holiday, Site
from app.db.tables.review import UnknownCluster, UnknownFace
from app.db.tables.users import LoginTries, User, UserSession
from app.db.tables.webhooks import Webhook, WebhookDelivery
from app.db.types import Base

__all__ = [
    "ApiKey",
    "AuditEntry",
    "Base",
    "Camera",
    "CameraClock",
    "CameraSnapshot",
    "Capture",
    "Day",
    "DayApproval",
    "DecisionCandidate",
    "DecisionRow",
    "Enrolment",
    "Event",
    "EventCorrection",
    "EventCrop",
    "GalleryChange",
    "GalleryReplicaRow",
    "GalleryState",
    "Holiday",
    "IdempotencyKey",
    "Job",
    "JobWorker",
    "LoginTries",
    "LookAlikeRow",
    "Model",
    "ModelWeights",
    "OperatingPointRow",
    "PairComplaint",
    "Person",
    "PunchCredential",
    "PunchTries",
    "RecalibrationRequest",
    "Shift",
    "ShiftAssignment",
    "Site",
    "StaleDay",
    "SuspiciousTemplateRow",
    "Template",
    "TemplateCrop",
    "TemplateEmbedding",
    "ThresholdState",
    "TrainingRun",
    "UnknownCluster",
    "UnknownFace",
    "User",
    "UserSession",
    "Webhook",
    "WebhookDelivery",
]
