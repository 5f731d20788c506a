"""The jobs that make and judge models: a training, and the measurement of another published network.

Either may run again after a crash: a training goes on from its last checkpoint, and what is left behind is one model,
written in one commit. What follows from a verdict is `app.models.switching`'s.
"""

from dataclasses import asdict, dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from app.errors import ProblemError
from app.jobs.context import JobContext
from app.models.gathered import Alignment, GatheredFaces, OnProgress, Wanted, embedded, embeddings_of
from app.models.judged import (
    EMBEDDED,
    GATHERED,
    READY,
    TRAINED,
    JudgedModel,
    Progress,
    different,
    equipment_of,
    result_of,
    store,
    stored_already,
    told,
)
from app.models.measuring import measure_backbone as measure_backbone
from app.models.training_data import Sources, gather
from app.models.training_networks import Networks, scoring_facts
from app.models.workshop import clear, workshop
from app.settings import Settings
from ml.backbones.card import ScoringFacts
from ml.backbones.small_cnn import SMALL_CNN
from ml.backbones.trained import trained_card
from ml.backbones.trained_file import TrainedWeights, to_bytes
from ml.errors import ModelError, TrainingError
from ml.plan import n_usable_cpus
from ml.training.checkpoints import FileCheckpoints
from ml.training.judge import MIN_PEOPLE as MIN_JUDGES
from ml.training.judge import Side, judge
from ml.training.projection import project
from ml.training.scoring import MIN_PEOPLE as MIN_MEASURED
from ml.training.scoring import measure_scoring
from ml.training.splits import SHARES, make_split
from ml.training.types import Kind, Rows, Split, Strategy, Trained, TrainingFaces, TrainingSettings
from ml.types import FloatArray

Policy = Literal["auto", "ask", "never"]

# Fewer who are learned from teach a network nothing about anybody else.
_MIN_LEARNED_FROM: Final = 20


def retrain(context: JobContext) -> dict[str, Any]:
    """Train a challenger, judge it on people it never saw, keep it with the verdict, and do what the policy says.

    The payload is `{strategy, policy, seed}`. Another seed than the champion was trained with favours the champion,
    who has learned from some of those who judge then.

    Raises:
        ProblemError: there is too little to learn from, or the network cannot be trained; says what to do.
    """
    asked = _Asked.of(context)
    model_id = stored_already(context)
    if model_id is None:
        with workshop(context) as folder:
            model_id = _train(context, asked, folder)
    else:
        clear(context.equipment.settings, context.job_id)
    return _follow(context, asked.policy, model_id)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What one training was asked to do."""

    strategy: Kind
    policy: Policy
    seed: int

    @classmethod
    def of(cls, context: JobContext) -> "_Asked":
        settings, payload = context.equipment.settings, context.payload
        strategy = payload.get("strategy") or settings.retrain_strategy
        return cls(strategy, payload.get("policy") or settings.retrain_policy, int(payload.get("seed") or 0))


def _train(context: JobContext, asked: _Asked, folder: Path) -> str:
    """Returns the id of the model that came out."""
    with told():
        return store(context, _trained(context, asked, folder))


def _trained(context: JobContext, asked: _Asked, folder: Path) -> JudgedModel:
    networks, sources, target_fpir = equipment_of(context)
    strategy = _strategy(asked.strategy, context.equipment.settings)
    progress = Progress(context)
    faces = _faces_to_learn_from(sources, networks, strategy, folder, progress.part(0.0, GATHERED))
    split = make_split(faces.people, asked.seed)
    _refuse_too_little(faces, split, strategy)
    base = _base_embeddings(faces, networks, progress.part(GATHERED, READY))
    lesson = TrainingFaces(faces.people, faces.times_s, base, _chips(faces, _alignment(strategy, networks), strategy))
    checkpoints = FileCheckpoints(folder / "checkpoint", sources.sealer.seal, sources.sealer.open)
    settings = _training_settings(context.equipment.settings, asked.seed)
    trained = strategy.train(lesson, split, networks.base_card, settings, checkpoints, progress.training)
    report = progress.part(TRAINED, EMBEDDED)
    return _judged(asked, trained, faces, base, split, networks, target_fpir, report)


def _judged(
    asked: _Asked,
    trained: Trained,
    faces: GatheredFaces,
    base: FloatArray,
    split: Split,
    networks: Networks,
    target_fpir: float,
    report: OnProgress,
) -> JudgedModel:
    """The verdict by those who were not learned from, and what the new network's cosines mean, as measured on them."""
    unseen = np.sort(np.concatenate([split.validation, split.test]))
    of, base = faces.take(unseen), base[unseen]
    weights = _weights(trained, networks, scoring_facts(networks.base_card))
    new = _new_embeddings(weights, of, base, networks, report)
    # Of this the judge takes two weights and a median over strangers only: nothing that fits the test people.
    weights = _weights(trained, networks, measure_scoring(new, of.people, of.times_s, scoring_facts(weights.card)))
    old = _old_embeddings(weights.kind, of, base, networks, report)
    sides = Side(old, networks.champion_facts.card.score_rule), Side(new, weights.card.score_rule)
    rows = np.searchsorted(unseen, split.test).astype(np.int64)
    verdict = judge(*sides, of.people, of.times_s, rows, target_fpir, asked.seed)
    more = {
        "curves": asdict(trained.curves),
        "seconds": round(trained.seconds, 2),
        "n_faces": len(faces),
        "n_gathered_people": len(np.unique(faces.people)),
        "n_train_people": len(np.unique(faces.people[split.train])),
    }
    word = weights.card.model + networks.suffix
    return JudgedModel(weights.kind, weights.backbone, word, weights.card, to_bytes(weights), verdict, more)


def _strategy(kind: Kind, settings: Settings) -> Strategy:
    """Imported where it is needed: torch takes seconds."""
    match kind:
        case "projection":
            from ml.training.projection import Projection

            return Projection()
        case "finetune":
            from ml.training.finetune import Finetune

            return Finetune(settings.models_path, mirrored=settings.mirrored_embedding)
        case "scratch":
            from ml.training.scratch import Scratch

            return Scratch(mirrored=settings.mirrored_embedding)


def _training_settings(settings: Settings, seed: int) -> TrainingSettings:
    """On half of the processors: the others go on recognising people meanwhile."""
    return TrainingSettings(seed=seed, device=settings.device, n_threads=max(1, n_usable_cpus() // 2))


def _faces_to_learn_from(
    sources: Sources, networks: Networks, strategy: Strategy, folder: Path, report: OnProgress
) -> GatheredFaces:
    """Everybody's of which there is what this strategy, and the comparison with the champion, need."""
    dims = {networks.base_word: networks.base_card.dim}
    champion = networks.champion_facts
    if not strategy.needs_chips and networks.projection is None:
        dims[champion.word] = champion.card.dim
    cards = networks.base_card, champion.card
    alignments = different(*(Alignment.of(card) for card in cards), _alignment(strategy, networks))
    faces = gather(sources, Wanted(dims, alignments, all_chips=strategy.needs_chips), folder, report)
    is_usable = np.ones(len(faces), dtype=np.bool_) if not strategy.needs_chips else faces.has_chip
    for word in dims:
        is_usable &= faces.has_embedding(word) | faces.has_chip
    return faces.take(is_usable)


def _alignment(strategy: Strategy, networks: Networks) -> Alignment:
    return Alignment.of(SMALL_CNN if strategy.kind == "scratch" else networks.base_card)


def _chips(faces: GatheredFaces, alignment: Alignment, strategy: Strategy) -> NDArray[np.uint8] | None:
    """One per face, in their order; mapped, where all that were cut are used."""
    if not strategy.needs_chips:
        return None
    chips = faces.chips[alignment]
    is_all = len(chips) == len(faces) and bool((faces.chip_rows == np.arange(len(faces))).all())
    return chips if is_all else chips[faces.chip_rows]


def _refuse_too_little(faces: GatheredFaces, split: Split, strategy: Strategy) -> None:
    """Before hours are spent on a model that nobody could judge."""
    n_train, n_unseen, n_test = (
        _n_with_two_faces(faces.people[rows])
        for rows in (split.train, np.concatenate([split.validation, split.test]), split.test)
    )
    if n_train >= _MIN_LEARNED_FROM and n_unseen >= MIN_MEASURED and n_test >= MIN_JUDGES:
        return
    n_needed = round(MIN_JUDGES / SHARES[2])
    n_people, with_two = len(np.unique(faces.people)), _n_with_two_faces(faces.people)
    pictures = "whose pictures are kept " if strategy.needs_chips else ""
    raise TrainingError(
        f"There are {len(faces)} faces of {n_people} people {pictures}who may be learned from, {with_two} of them with "
        f"two faces or more; about {n_needed} of those are needed, because some must judge who were not learned from. "
        "Enrol more people with several photos each, or name a folder of photos in ROLLCALL_TRAINING_DATA."
    )


def _n_with_two_faces(people: Rows) -> int:
    return int((np.unique(people, return_counts=True)[1] >= 2).sum())


def _base_embeddings(faces: GatheredFaces, networks: Networks, report: OnProgress) -> FloatArray:
    alignment = Alignment.of(networks.base_card)
    return embeddings_of(faces, networks.base_word, alignment, lambda: networks.base.embed, report)


def _weights(trained: Trained, networks: Networks, scoring: ScoringFacts) -> TrainedWeights:
    card = trained_card(trained.kind, networks.base_card, trained.tensors, scoring)
    is_scratch = trained.kind == "scratch"
    backbone, base_word = ("", "") if is_scratch else (networks.backbone, networks.base_word)
    return TrainedWeights(trained.kind, backbone, base_word, card, trained.tensors)


def _new_embeddings(
    weights: TrainedWeights, of: GatheredFaces, base: FloatArray, networks: Networks, report: OnProgress
) -> FloatArray:
    if weights.kind == "projection":
        return project(weights.tensors, base)
    return embedded(of, Alignment.of(weights.card), networks.load(weights, weights.backbone).embed, report)


def _old_embeddings(
    kind: Kind, of: GatheredFaces, base: FloatArray, networks: Networks, report: OnProgress
) -> FloatArray:
    """The champion's, made of what the challenger's were made of: of the whole photos, or of the crops that are kept.

    Those lost a little to the JPEG, and neither side shall have that alone.
    """
    champion = networks.champion_facts
    alignment = Alignment.of(champion.card)
    if kind != "projection":
        return embedded(of, alignment, networks.champion.embed, report)
    if champion.word == networks.base_word:
        return base
    if networks.projection is not None:
        return project(networks.projection.tensors, base)
    return embeddings_of(of, champion.word, alignment, lambda: networks.champion.embed, report)


def _follow(context: JobContext, policy: Policy, model_id: str) -> dict[str, Any]:
    """A challenger is made ready, or put to use; where that cannot be, it stays one, and the result says why."""
    if result_of(context, model_id)["status"] != "challenger" or policy == "never":
        return result_of(context, model_id)
    from app.models.switching import prepare, promote

    try:
        if policy == "ask":
            prepare(context, model_id)
        else:
            promote(context, model_id, accept_missing=False, reason="measured to be better; the policy is auto")
    except ProblemError as error:
        if error.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise
        return {**result_of(context, model_id), "held_up_by": error.detail}
    except ModelError as error:
        return {**result_of(context, model_id), "held_up_by": str(error)}
    return result_of(context, model_id)
