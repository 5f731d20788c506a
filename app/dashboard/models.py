"""Models: the networks in use, those that could take their place and how they were judged, and training new ones."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Self

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy.orm import Session
from starlette.responses import HTMLResponse

from app.dashboard.frame.actors import actor_names
from app.dashboard.frame.messages import translate
from app.dashboard.frame.navigation import N_
from app.dashboard.frame.pages import render
from app.dashboard.frame.plotly import style_ids
from app.dashboard.frame.visitor import VisitorDep
from app.gallery import service as gallery_service
from app.gallery.dependencies import ReplicaDep
from app.http.dependencies import DatabaseDep, SettingsDep
from app.http.pagination import PageRequest
from app.inference.dependencies import InferenceDep
from app.jobs import service as jobs
from app.jobs.schemas import Job
from app.models import queries, registry, routes, schemas, service
from app.operating_points.schemas import Interval
from app.settings import Settings
from ml.backbones.card import ModelCard
from ml.backbones.cards import all_cards
from ml.backbones.weights import weights_path

router = APIRouter(include_in_schema=False)

GROUNDS: Final = {
    "set": N_("set by whoever runs the service"),
    "measured": N_("the fastest of those measured on this machine"),
    "assumed": N_("assumed; nothing was measured yet"),
}
NETWORKS: Final = {"backbone": N_("Recognition"), "detector": N_("Detection")}
KINDS: Final = {
    "backbone": N_("Network as published"),
    "projection": N_("Small head on a network"),
    "finetune": N_("Last layers trained further"),
    "scratch": N_("Trained from nothing"),
}
STATUSES: Final = {
    "challenger": N_("Better, not in use"),
    "refused": N_("Not known to be better"),
    "retired": N_("Was in use"),
}
STRATEGIES: Final = {
    "projection": (
        N_("Small head"),
        N_("Learns how to read the embeddings of the network in use. Minutes, no pictures needed; the usual choice."),
    ),
    "finetune": (
        N_("Last layers too"),
        N_("Trains the end of the network further. Needs kept pictures of many people, and hours without a GPU."),
    ),
    "scratch": (
        N_("From nothing"),
        N_("A small network of your own. Only worth it with a folder of many thousands of photos."),
    ),
}
POLICIES: Final = {
    "ask": (N_("Get it ready and ask"), N_("It embeds everybody in the background; you decide on this page.")),
    "auto": (N_("Use it at once"), N_("It takes over by itself, without downtime. You can go back at any time.")),
    "never": (N_("Only keep it"), N_("Nothing else happens. You can use it later.")),
}
WORK: Final = {
    service.TRAINING: N_("Training a new model"),
    service.MEASURING: N_("Measuring another network"),
    registry.PROMOTION: N_("Putting a model to use"),
}
# What these jobs say of themselves, its numbers as {a}, {b} and so on: models-work.js looks them up so.
MESSAGES: Final = (
    N_("reading templates: {a}"),
    N_("looking at confirmed captures: {a} of {b}"),
    N_("looking at the folder of photos: {a} of {b}"),
    N_("looking at the faces, {a} of {b}"),
    N_("embedding faces"),
    N_("round {a} of at most {b}"),
    N_("part {a} of {b}, round {c} of at most {d}"),
    N_("embedding the kept faces: {a} of {b}"),
    N_("finding the threshold"),
    N_("waiting for every replica to load the model"),
    N_("switching"),
)
# Of the pictures of rates: where both are tiny, they are drawn tiny.
_LEAST_SCALE: Final = 0.005
_SHOWN: Final = 20


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore")


class Side(_Part):
    """What one model did at the target FPIR."""

    fnir: Interval
    rank1: Interval


class Here(_Part):
    """What a model would do with the gallery that there is."""

    threshold: float
    target_fpir: float
    expected_fpir: Interval
    expected_fnir: Interval
    n_people: int
    n_templates: int


class Measured(_Part):
    """A model's report, as far as the page shows it."""

    target_fpir: float | None = None
    champion: Side | None = None
    challenger: Side | None = None
    difference: Interval | None = None
    n_people: int | None = None
    n_mated: int | None = None
    n_non_mated: int | None = None
    n_train_people: int | None = None
    seconds: float | None = None
    curves: schemas.Curves | None = None
    here: Here | None = None

    @classmethod
    def of(cls, report: dict[str, Any] | None) -> Self:
        """What can be read of it: another release may have written it otherwise."""
        try:
            return cls.model_validate(report or {})
        except ValidationError:
            return cls()


@dataclass(frozen=True, slots=True)
class Scale:
    """Where rates are drawn, in percent of a picture that begins at 0 and ends at `most`."""

    most: float

    @classmethod
    def of(cls, *rates: Interval) -> "Scale":
        return cls(1.05 * max(_LEAST_SCALE, *(rate.high for rate in rates)))

    def x(self, rate: float) -> float:
        return round(100 * rate / self.most, 2)


@dataclass(frozen=True, slots=True)
class Shown:
    """One of the models, and what was measured of it."""

    model: schemas.Model
    measured: Measured
    scale: Scale | None

    @classmethod
    def of(cls, model: schemas.Model) -> "Shown":
        measured = Measured.of(model.report)
        sides = [side.fnir for side in (measured.champion, measured.challenger) if side is not None]
        return cls(model, measured, Scale.of(*sides) if sides else None)


@dataclass(frozen=True, slots=True)
class Registered:
    """What the database knows of models, and the unfinished work on them."""

    champion: Shown | None
    champion_card: ModelCard | None
    standby: schemas.Model | None
    others: list[Shown]
    next_cursor: str | None
    work: list[Job]
    names: dict[str, str]


@router.get("/models")
def models_page(
    request: Request,
    visitor: VisitorDep,
    database: DatabaseDep,
    settings: SettingsDep,
    inference: InferenceDep,
    replica: ReplicaDep,
    cursor: Annotated[str | None, Query(max_length=500)] = None,
) -> HTMLResponse:
    page = routes.list_models(database, PageRequest(_SHOWN, cursor), visitor.principal)
    with database.read() as session:
        gallery = gallery_service.state(session, replica.indexes)
        registered = _registered(session, page)
    # The database's word counts: this process follows a switch a moment later.
    card = registered.champion_card or inference.card
    in_use = [card, *(each for each in all_cards() if each.name == inference.info.detector)]
    others = [each for each in all_cards() if each.name not in {card.name for card in in_use}]
    return render(
        request,
        visitor,
        "models.html",
        info=inference.info,
        in_use=in_use,
        word_in_use=inference.info.model if registered.champion is None else registered.champion.model.model,
        others=others,
        ready={each.name for each in others if is_here(each, settings.models_path)},
        measurable=_measurable(registered.champion, settings),
        gallery=gallery,
        version_here=replica.version(),
        registered=registered,
        style_ids=style_ids(),
        chosen={"strategy": settings.retrain_strategy, "policy": settings.retrain_policy},
        unavailable=set() if settings.training_data else {"scratch"},
        told=lambda words: translate(visitor.taste.language, words),
        **_WORDS,
    )


_WORDS: Final[dict[str, Any]] = {
    "grounds": GROUNDS,
    "networks": NETWORKS,
    "kinds": KINDS,
    "statuses": STATUSES,
    "strategies": STRATEGIES,
    "policies": POLICIES,
    "work_words": WORK,
}


def is_here(card: ModelCard, models_dir: Path) -> bool:
    """Whether the network could be used at once: its file is there, or needs none."""
    return card.weights is None or weights_path(card, models_dir).exists()


def _measurable(champion: Shown | None, settings: Settings) -> list[ModelCard]:
    """Backbones that could be measured at once, and are not in use themselves."""
    model = None if champion is None else champion.model
    in_use = model.backbone if model is not None and model.kind == "backbone" else None
    return [
        card
        for card in all_cards()
        if card.kind == "backbone" and card.name != in_use and is_here(card, settings.models_path)
    ]


def _registered(session: Session, page: schemas.ModelList) -> Registered:
    row, standby = queries.model_with_status(session, "champion"), registry.standby(session)
    used = {view.id: view for view in service.views(session, [each for each in (row, standby) if each is not None])}
    others = [Shown.of(model) for model in page.items if model.status != "champion"]
    work = jobs.views(session, queries.unfinished_jobs(session, list(WORK)))
    actors = {shown.model.created_by for shown in others} | {job.created_by for job in work}
    return Registered(
        champion=Shown.of(used[row.id]) if row else None,
        champion_card=registry.stored_card(row) if row else None,
        standby=used[standby.id] if standby else None,
        others=others,
        next_cursor=page.next_cursor,
        work=work,
        names=actor_names(session, actors),
    )
