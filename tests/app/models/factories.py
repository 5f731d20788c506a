"""Makes models. Every argument is a keyword."""

import secrets
from dataclasses import replace
from typing import Any, Literal

from sqlalchemy.orm import Session

from app.db.tables import Model, Person, Template, TemplateCrop, TemplateEmbedding
from app.models import registry
from app.sealing import Sealer
from ml.backbones.cards import find_card
from tests.app.factories import make_embedding, make_template

WORD, BACKBONE = "dlib-resnet/1", "dlib-resnet"
BY = "key:test"
SEALER = Sealer(["a secret of these tests, which is long enough"])


def make_champion(*, session: Session, word: str = WORD, backbone: str = BACKBONE) -> Model:
    return registry.ensure_champion(session, word, backbone, find_card(backbone))


def make_model(
    *,
    session: Session,
    word: str | None = None,
    kind: Literal["backbone", "projection", "finetune", "scratch"] = "projection",
    backbone: str = BACKBONE,
    status: Literal["challenger", "refused"] = "challenger",
    reason: str | None = "missed 4 % instead of 7 %",
    report: dict[str, Any] | None = None,
    weights: bytes | None = b"weights",
    sealer: Sealer = SEALER,
) -> Model:
    card = replace(find_card("dlib-resnet"), name="dlib-resnet+projection", version=secrets.token_hex(4))
    return registry.add(
        session,
        kind=kind,
        backbone=backbone,
        card=card,
        status=status,
        reason=reason,
        report=report or {"target_fpir": 0.01, "n_people": 120},
        job_id="job_of_this_test",
        by=BY,
        weights=weights,
        sealer=sealer,
        word=word,
    )


def make_crop(*, session: Session, template: Template) -> None:
    session.add(TemplateCrop(template_id=template.id, landmarks=[[0, 0]] * 5, sealed_crop=b"sealed"))
    session.flush()


def make_embedded(*, session: Session, template: Template, word: str) -> None:
    """As if the model had embedded the template's crop."""
    session.add(TemplateEmbedding(model=word, template_id=template.id, embedding=make_embedding()))
    session.flush()


def make_templates(*, session: Session, person: Person, n: int, n_crops: int = 0, model: str = WORD) -> list[Template]:
    """Templates by one model; of the first ones the crop is kept."""
    templates = [make_template(session=session, person=person, model=model) for _ in range(n)]
    for template in templates[:n_crops]:
        make_crop(session=session, template=template)
    return templates
