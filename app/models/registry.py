"""The models that there are, in the caller's session.

The champion is the one that is searched with. A challenger was measured to be better, a refused one was not; a retired
one was champion once. The standby is whatever every replica keeps ready beside the champion.
"""

import hashlib
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError
from sqlalchemy.orm import Session

from app.audit.service import record
from app.auth.scopes import Principal
from app.db.tables import Model, ModelWeights
from app.db.types import new_id, utc_now
from app.errors import ProblemError
from app.gallery.queries import lock_gallery, models_in_force
from app.gallery.rules import refuse_other_model
from app.jobs.queries import job_by_id
from app.models import queries
from app.models.queries import PersonWithout
from app.sealing import SealBrokenError, Sealer
from ml.backbones.card import ModelCard
from ml.embedding import PLAIN_SUFFIX
from ml.errors import ModelError

SYSTEM = "system"
PROMOTION = "promote_model"
"""The kind of the jobs that make a model the champion; `model_id` in their payload says which."""

_CARD = TypeAdapter(ModelCard)


def ensure_champion(session: Session, word: str, backbone: str, card: ModelCard) -> Model:
    """See to it that the network that is searched with has its row, as champion.

    Args:
        session: of a write.
        word: of the network, as stored with its embeddings; the database may be tied to it already.
        backbone: its name, as `load_backbone` takes it.
        card: its own.

    Raises:
        ModelError: the database is tied to another model.
    """
    lock_gallery(session)  # before the models, as a switch does
    queries.lock_models(session)
    refuse_other_model(models_in_force(session).searched, word)
    current, found = queries.model_with_status(session, "champion"), queries.model_by_word(session, word)
    if current is not None and current is found:
        return current
    now = utc_now()
    if current is not None:  # nobody was ever enrolled with it, and the settings choose another one now
        current.status, current.retired_at = "retired", now
    if found is None:
        found = _new(word, "backbone", backbone, card, SYSTEM)
        session.add(found)
    found.status, found.promoted_at, found.retired_at = "champion", now, None
    session.flush()
    return found


def champion(session: Session) -> Model:
    """The model that is searched with, or is about to be in a new database.

    Raises:
        ProblemError: 503 `not_ready`; no service has started on this database yet.
    """
    found = queries.model_with_status(session, "champion")
    if found is None:
        raise ProblemError(503, "not_ready", "No model is in use yet: start `rollcall serve` once.")
    return found


def standby(session: Session) -> Model | None:
    """The model that every replica keeps ready; None: there is none."""
    word = models_in_force(session).standby
    return None if word is None else queries.model_by_word(session, word)


def by_id(session: Session, model_id: str) -> Model:
    """A model.

    Raises:
        ProblemError: 404 `model_not_found`.
    """
    found = queries.model_by_id(session, model_id)
    if found is None:
        raise ProblemError(
            404, "model_not_found", "There is no model with this id; GET /v1/models lists those there are."
        )
    return found


def by_word(session: Session, word: str) -> Model | None:
    """The model whose embeddings are stored with this word."""
    return queries.model_by_word(session, word)


def add(
    session: Session,
    *,
    kind: Literal["backbone", "projection", "finetune", "scratch"],
    backbone: str,
    card: ModelCard,
    status: Literal["challenger", "refused"],
    reason: str | None,
    report: dict[str, Any] | None,
    job_id: str | None,
    by: str,
    weights: bytes | None,
    sealer: Sealer,
    word: str | None = None,
) -> Model:
    """Keep a model and how it was judged; the same network again is one model, and has the newer verdict.

    Champion and standby keep theirs: what is in use was judged when it was put to use.

    Args:
        session: of a write.
        kind: how it was made.
        backbone: the network it stands on, as `load_backbone` takes its name; empty for one from scratch.
        card: its own.
        status: whether it was measured to be better.
        reason: why, in words.
        report: what was measured.
        job_id: the job that made it.
        by: who asked for it.
        weights: what was trained, as `ml.backbones.trained.to_bytes` writes it; None for a published backbone.
        sealer: of the deployment.
        word: what is stored with its embeddings; None: the card's.
    """
    lock_gallery(session)  # before the models, as a switch does
    queries.lock_models(session)
    word = word or card.model
    model = queries.model_by_word(session, word)
    if model is None:
        model = _new(word, kind, backbone, card, by)
        session.add(model)
    elif is_in_use(session, model):
        return model
    model.card, model.status, model.reason, model.report = _CARD.dump_python(card, mode="json"), status, reason, report
    model.job_id = job_id
    session.flush()
    if weights is not None:
        _keep_weights(session, model, weights, sealer)
    return model


def weights_of(session: Session, model: Model, sealer: Sealer) -> bytes | None:
    """What was trained; None for a published backbone.

    Raises:
        ModelError: it cannot be opened, or is not what was stored.
    """
    row = queries.weights(session, model.id)
    if row is None:
        return None
    try:
        content = sealer.open(row.sealed_weights)
    except SealBrokenError as error:
        raise ModelError(
            f"the weights of {model.word} were sealed with another ROLLCALL_SECRET_KEY, or are damaged: give that "
            "back, or discard the model and train again"
        ) from error
    if hashlib.sha256(content).hexdigest() != row.sha256:
        raise ModelError(f"the weights of {model.word} are not those that were stored: discard it and train again")
    return content


def stored_card(model: Model) -> ModelCard:
    """A model's card.

    Raises:
        ModelError: another release wrote it, in a way that this one cannot read.
    """
    try:
        return _CARD.validate_python(model.card)
    except ValidationError as error:
        raise ModelError(f"the card of {model.word} cannot be read: it is from another release") from error


def is_in_use(session: Session, model: Model) -> bool:
    """Whether it is the champion or the standby."""
    return model.status == "champion" or model.word == models_in_force(session).standby


def discard(session: Session, model: Model, caller: Principal) -> None:
    """Delete a model and its weights. Its embeddings are nobody's then: `delete_orphans` deletes them in portions.

    Raises:
        ProblemError: 404; or 409: it is in use, another model in use stands on it, or it is about to be promoted.
    """
    lock_gallery(session)  # nobody switches to it meanwhile
    queries.lock_models(session)
    model_id = model.id
    session.expire(model)
    model = by_id(session, model_id)
    _refuse_in_use(session, model)
    pending = queries.unfinished_jobs(session, [PROMOTION])
    if any(job.payload.get("model_id") == model.id for job in pending):
        raise ProblemError(409, "model_busy", "It is being promoted: cancel that job first, then discard the model.")
    record(session, caller.actor, "model.discarded", model.id, {"model": model.word, "status": model.status})
    session.delete(model)
    session.flush()


def delete_orphans(session: Session, limit: int) -> int:
    """Delete at most so many embeddings by models that were discarded; returns how many these were, 0 at the end."""
    return queries.delete_orphans(session, limit)


def coverage(session: Session, word: str) -> queries.Coverage:
    """How many of active people's templates a model has embedded, could embed by itself, and could not."""
    return queries.coverage(session, word, base_word(session, word))


def asked_by(session: Session, job_id: str) -> str:
    """Who asked for a job; the system, where it is forgotten."""
    job = job_by_id(session, job_id)
    return SYSTEM if job is None else job.created_by


def n_missing(session: Session, word: str) -> int:
    """How many of active people's templates a model has not embedded."""
    return coverage(session, word).n_missing


def people_without(session: Session, word: str, *, as_of_now: bool = False) -> list[PersonWithout]:
    """Active people who would have to enrol again: of no template is there an embedding, or anything to make it of.

    `as_of_now`: or there is no embedding, and whatever there was to make one of was tried.
    """
    return queries.people_without(session, word, base_word(session, word), as_of_now=as_of_now)


def base_word(session: Session, word: str) -> str | None:
    """What is stored with the embeddings that a projection starts from; None for every other kind of model.

    A projection is embedded as its base is: mirrored, too, or plain.
    """
    model = queries.model_by_word(session, word)
    if model is None or model.kind != "projection":
        return None
    bases = queries.backbones(session, model.backbone)
    is_plain = word.endswith(PLAIN_SUFFIX)
    return next((base.word for base in bases if base.word.endswith(PLAIN_SUFFIX) == is_plain), None)


def _refuse_in_use(session: Session, model: Model) -> None:
    if model.status == "champion":
        raise ProblemError(409, "model_is_champion", "This model is in use: promote another one, or roll back, first.")
    others = [champion(session)] if (kept := standby(session)) is None else [champion(session), kept]
    if model in others:
        detail = "Every replica keeps this model ready, to go back to: promote another one first."
        raise ProblemError(409, "model_is_standby", detail)
    if any(base_word(session, other.word) == model.word for other in others):
        raise ProblemError(409, "model_busy", "A model in use starts from this one's embeddings.")
    if model.kind == "backbone" and model.promoted_at is not None:
        detail = "This published network was in use: the settings may name it, and it takes no room. It stays."
        raise ProblemError(409, "model_busy", detail)


def _new(word: str, kind: str, backbone: str, card: ModelCard, by: str) -> Model:
    return Model(
        id=new_id("mdl"),
        word=word,
        kind=kind,
        backbone=backbone,
        card=_CARD.dump_python(card, mode="json"),
        status="refused",
        created_at=utc_now(),
        created_by=by,
    )


def _keep_weights(session: Session, model: Model, content: bytes, sealer: Sealer) -> None:
    row = queries.weights(session, model.id) or ModelWeights(model_id=model.id)
    row.sha256, row.n_bytes = hashlib.sha256(content).hexdigest(), len(content)
    row.sealed_weights = sealer.seal(content)
    session.add(row)
    session.flush()
