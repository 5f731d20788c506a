"""All SQL of explanations."""

from sqlalchemy import Row, case, or_, select
from sqlalchemy.orm import Session

from app.db.tables import Event, Template, TemplateCrop, TemplateEmbedding


def event(session: Session, event_id: str) -> Event | None:
    return session.get(Event, event_id)


def embeddings(session: Session, person_id: str, model: str) -> list[Row[int, bytes, int | None]]:
    """Of each template of a person that a model has embedded: its id, the embedding, and its id again where it has a
    crop."""
    is_own = Template.model == model
    of_model = (TemplateEmbedding.template_id == Template.id) & (TemplateEmbedding.model == model)
    embedding = case((is_own, Template.embedding), else_=TemplateEmbedding.embedding).label("embedding")
    statement = (
        select(Template.id, embedding, TemplateCrop.template_id.label("crop_of"))
        .outerjoin(TemplateEmbedding, of_model)
        .outerjoin(TemplateCrop, TemplateCrop.template_id == Template.id)
        .where(Template.person_id == person_id, or_(is_own, TemplateEmbedding.template_id.is_not(None)))
        .order_by(Template.id)
    )
    return list(session.execute(statement).all())


def has_templates(session: Session, person_id: str) -> bool:
    return session.scalars(select(Template.id).where(Template.person_id == person_id).limit(1)).first() is not None
