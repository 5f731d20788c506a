"""The job that judges another published network, from which nothing has to be trained."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import ProblemError
from app.jobs.context import JobContext
from app.models.gathered import Alignment, GatheredFaces, Wanted, embedded
from app.models.judged import (
    EMBEDDED,
    GATHERED,
    MIDDLE,
    JudgedModel,
    Progress,
    different,
    equipment_of,
    result_of,
    store,
    stored_already,
    told,
)
from app.models.training_data import gather
from app.models.training_networks import Champion, scoring_facts
from app.models.workshop import workshop
from ml.backbones.card import ModelCard, ScoringFacts
from ml.errors import TrainingError
from ml.training.judge import Side, judge
from ml.training.scoring import measure_scoring
from ml.training.splits import make_split
from ml.training.types import Rows
from ml.types import FloatArray


def measure_backbone(context: JobContext) -> dict[str, Any]:
    """Judge another published network on everybody whose crops are kept, and keep it with the verdict.

    The payload is `{backbone}`, a name for `ml.backbones.load_backbone`.

    Raises:
        ProblemError: the network cannot be loaded, or is in use.
    """
    backbone = str(context.payload["backbone"])
    model_id = stored_already(context)
    if model_id is None:
        with workshop(context) as folder:
            model_id = _measure(context, backbone, folder)
    return result_of(context, model_id)


def _measured(context: JobContext, backbone: str, folder: Path) -> JudgedModel:
    """Nothing was learned from anybody here, so that everybody judges whom the champion did not learn from either."""
    networks, sources, target_fpir = equipment_of(context)
    other, champion = networks.load(None, backbone), networks.champion_facts
    if other.model == champion.word:
        raise ProblemError(409, "model_is_champion", "This network is in use already.")
    progress, alignments = Progress(context), different(Alignment.of(other.card), Alignment.of(champion.card))
    wanted = Wanted({champion.word: champion.card.dim}, alignments, all_chips=True)
    faces = gather(sources, wanted, folder, progress.part(0.0, GATHERED))
    of = faces.take(faces.has_chip & _never_learned_from(faces.people, champion))
    new = embedded(of, Alignment.of(other.card), other.embed, progress.part(GATHERED, MIDDLE))
    old = embedded(of, Alignment.of(champion.card), networks.champion.embed, progress.part(MIDDLE, EMBEDDED))
    card = replace(other.card, scoring=_measured_scoring(new, of, other.card))
    sides, rows = (Side(old, champion.card.score_rule), Side(new, card.score_rule)), np.arange(len(of), dtype=np.int64)
    verdict = judge(*sides, of.people, of.times_s, rows, target_fpir, 0)
    n_without = int((~faces.has_chip).sum())
    if n_without:
        left_out = f"; {n_without} of {len(faces)} faces have no picture that is kept, and were left out"
        verdict = replace(verdict, reason=verdict.reason + left_out)
    more = {"n_faces": len(of), "n_gathered_people": len(np.unique(of.people)), "n_faces_without_picture": n_without}
    return JudgedModel("backbone", backbone, other.model, card, None, verdict, more)


def _measure(context: JobContext, backbone: str, folder: Path) -> str:
    with told():
        return store(context, _measured(context, backbone, folder))


def _never_learned_from(people: Rows, champion: Champion) -> NDArray[np.bool_]:
    """`(N,)`: whose faces the champion has not seen in its own training; all where it had none here."""
    if champion.kind == "backbone" or champion.seed is None:
        return np.ones(len(people), dtype=np.bool_)
    return np.isin(np.arange(len(people)), make_split(people, champion.seed).test)


def _measured_scoring(embeddings: FloatArray, of: GatheredFaces, card: ModelCard) -> ScoringFacts:
    """As published where there are too few people here."""
    try:
        return measure_scoring(embeddings, of.people, of.times_s, scoring_facts(card))
    except TrainingError:
        return scoring_facts(card)
