"""All SQL about models, what they have embedded, and training runs."""

import zlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, and_, case, delete, false, func, or_, select, tuple_
from sqlalchemy.orm import Session, aliased

from app.db.tables import Job, Model, ModelWeights, Person, Template, TemplateCrop, TemplateEmbedding, TrainingRun
from app.identification.schemas import PersonRef

_LOCK: Final = zlib.crc32(b"rollcall models")


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many of active people's templates a model has embedded, and of the others, how many it could embed by itself.

    It can where the template's crop is kept, or, for a projection, where there is an embedding by what it stands on.
    """

    n_templates: int
    n_embedded: int
    n_missing_with_crop: int
    n_missing_without_crop: int

    @property
    def n_missing(self) -> int:
        return self.n_missing_with_crop + self.n_missing_without_crop


@dataclass(frozen=True, slots=True)
class PersonWithout:
    """Somebody whom a model would not know, and how many templates they have by others."""

    person: PersonRef
    n_templates: int


def lock_models(session: Session) -> None:
    """Wait for whoever else asks for trainings or adds models, until commit. SQLite has one writer anyway."""
    if session.get_bind().dialect.name != "sqlite":
        session.execute(select(func.pg_advisory_xact_lock(_LOCK)))


def model_by_id(session: Session, model_id: str) -> Model | None:
    return session.get(Model, model_id)


def model_by_word(session: Session, word: str) -> Model | None:
    return session.scalars(select(Model).where(Model.word == word)).one_or_none()


def model_with_status(session: Session, status: str) -> Model | None:
    """The newest one."""
    newest = select(Model).where(Model.status == status).order_by(Model.created_at.desc(), Model.id.desc())
    return session.scalars(newest.limit(1)).one_or_none()


def last_retired(session: Session) -> Model | None:
    """The model that was in use before the one that is."""
    of = select(Model).where(Model.status == "retired", Model.promoted_at.is_not(None))
    return session.scalars(of.order_by(Model.retired_at.desc(), Model.id).limit(1)).one_or_none()


def list_models(session: Session, *, before: tuple[datetime, str] | None, limit: int) -> list[Model]:
    """Newest first, older than the model with this `(created_at, id)`."""
    statement = select(Model).order_by(Model.created_at.desc(), Model.id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(tuple_(Model.created_at, Model.id) < before)
    return list(session.scalars(statement))


def backbones(session: Session, backbone: str) -> list[Model]:
    """The published networks of this name, the oldest first."""
    of = select(Model).where(Model.backbone == backbone, Model.kind == "backbone")
    return list(session.scalars(of.order_by(Model.created_at, Model.id)))


def weights(session: Session, model_id: str) -> ModelWeights | None:
    return session.get(ModelWeights, model_id)


def sizes(session: Session, model_ids: Collection[str]) -> dict[str, int]:
    """Bytes of those of these models that have weights of their own."""
    of = select(ModelWeights.model_id, ModelWeights.n_bytes).where(ModelWeights.model_id.in_(model_ids))
    return {model_id: n_bytes for model_id, n_bytes in session.execute(of)}


def coverage(session: Session, word: str, base_word: str | None) -> Coverage:
    """What a model has embedded; `base_word` is that of the model that a projection stands on."""
    base, is_embedded, is_embeddable = _what_there_is(word, base_word)
    counts = session.execute(
        select(
            func.count(),
            func.coalesce(func.sum(case((is_embedded, 1), else_=0)), 0),
            func.coalesce(func.sum(case((and_(~is_embedded, is_embeddable), 1), else_=0)), 0),
        )
        .select_from(Template)
        .join(Person, Person.id == Template.person_id)
        .outerjoin(TemplateEmbedding, _of_model(TemplateEmbedding, word))
        .outerjoin(base, _of_model(base, base_word))
        .outerjoin(TemplateCrop, TemplateCrop.template_id == Template.id)
        .where(Person.active)
    ).one()
    n_templates, n_embedded, n_embeddable = (int(count) for count in counts)
    return Coverage(n_templates, n_embedded, n_embeddable, n_templates - n_embedded - n_embeddable)


def people_without(
    session: Session, word: str, base_word: str | None, *, as_of_now: bool = False
) -> list[PersonWithout]:
    """Active people who have templates, none of which a model has embedded or could embed; by employee code.

    `as_of_now`: who is not embedded counts as lost, whatever there is to embed them from: that was tried already.
    """
    base, is_embedded, is_embeddable = _what_there_is(word, base_word)
    is_known = is_embedded if as_of_now else or_(is_embedded, is_embeddable)
    known = func.sum(case((is_known, 1), else_=0))
    rows = session.execute(
        select(Person.id, Person.employee_code, Person.name, func.count().label("n_templates"))
        .join(Template, Template.person_id == Person.id)
        .outerjoin(TemplateEmbedding, _of_model(TemplateEmbedding, word))
        .outerjoin(base, _of_model(base, base_word))
        .outerjoin(TemplateCrop, TemplateCrop.template_id == Template.id)
        .where(Person.active)
        .group_by(Person.id, Person.employee_code, Person.name)
        .having(known == 0)
        .order_by(Person.employee_code)
    )
    return [
        PersonWithout(PersonRef(id=row.id, employee_code=row.employee_code, name=row.name), row.n_templates)
        for row in rows
    ]


def _what_there_is(
    word: str, base_word: str | None
) -> tuple[type[TemplateEmbedding], ColumnElement[bool], ColumnElement[bool]]:
    """The table to join for the base's embeddings; whether a template is embedded; whether it could be by itself."""
    base = aliased(TemplateEmbedding)
    is_embedded = or_(Template.model == word, TemplateEmbedding.template_id.is_not(None))
    has_base = false() if base_word is None else or_(Template.model == base_word, base.template_id.is_not(None))
    return base, is_embedded, or_(TemplateCrop.template_id.is_not(None), has_base)


def _of_model(table: type[TemplateEmbedding], word: str | None) -> ColumnElement[bool]:
    return and_(table.template_id == Template.id, table.model == (word or ""))


def delete_orphans(session: Session, limit: int) -> int:
    """Delete embeddings by models that are not there any more, at most so many; returns how many these were."""
    gone = select(TemplateEmbedding.model).where(TemplateEmbedding.model.not_in(select(Model.word))).limit(1)
    word = session.scalars(gone).one_or_none()
    if word is None:
        return 0
    of = TemplateEmbedding.model == word
    some = list(session.scalars(select(TemplateEmbedding.template_id).where(of).limit(limit)))
    session.execute(delete(TemplateEmbedding).where(of, TemplateEmbedding.template_id.in_(some)))
    return len(some)


def run(session: Session, job_id: str) -> TrainingRun | None:
    return session.get(TrainingRun, job_id)


def newest_run_at(session: Session) -> datetime | None:
    """When a training was last asked for; None: never."""
    return session.scalars(select(func.max(TrainingRun.created_at))).one()


def first_model_at(session: Session) -> datetime | None:
    """When the oldest model that there is came to be: as a rule, at the first start; None: not yet."""
    return session.scalars(select(func.min(Model.created_at))).one()


def unfinished_jobs(session: Session, kinds: Collection[str]) -> list[Job]:
    """Of these kinds, the oldest first."""
    of = select(Job).where(Job.finished_at.is_(None), Job.kind.in_(kinds))
    return list(session.scalars(of.order_by(Job.created_at, Job.id)))


@dataclass(frozen=True, slots=True)
class KeptFace:
    """What was kept of a template: its crop, sealed, and its landmarks in pixels of that."""

    template_id: int
    landmarks: list[list[float]]
    sealed_crop: bytes


def kept_faces(session: Session, template_ids: Collection[int]) -> list[KeptFace]:
    """Of those of a few templates of which a crop is kept, by id."""
    of = select(TemplateCrop.template_id, TemplateCrop.landmarks, TemplateCrop.sealed_crop)
    rows = session.execute(of.where(TemplateCrop.template_id.in_(template_ids)).order_by(TemplateCrop.template_id))
    return [KeptFace(*row) for row in rows]


def stored_embeddings(session: Session, template_ids: Collection[int], word: str) -> dict[int, bytes]:
    """Of those of a few templates that a model has embedded, by id."""
    own = select(Template.id, Template.embedding).where(Template.id.in_(template_ids), Template.model == word)
    made = select(TemplateEmbedding.template_id, TemplateEmbedding.embedding)
    made = made.where(TemplateEmbedding.template_id.in_(template_ids), TemplateEmbedding.model == word)
    rows = [*session.execute(own), *session.execute(made)]
    return {template_id: embedding for template_id, embedding in sorted(rows, key=lambda row: row[0])}


def add_embeddings(session: Session, word: str, embeddings: dict[int, bytes]) -> None:
    """Keep what a model made of templates, unless these are gone or it is kept already."""
    there = set(session.scalars(select(Template.id).where(Template.id.in_(embeddings))))
    of = TemplateEmbedding.model == word, TemplateEmbedding.template_id.in_(embeddings)
    there -= set(session.scalars(select(TemplateEmbedding.template_id).where(*of)))
    session.add_all(
        TemplateEmbedding(model=word, template_id=template_id, embedding=embeddings[template_id])
        for template_id in sorted(there)
    )
    session.flush()
