"""Protocol and networks -> everything the report shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from ml.backbones import load_backbone
from ml.detection import load_detector
from ml.evaluation.enrolment import NOBODY, Enrolment, Rows, Seen, enrol
from ml.evaluation.fusion import Crowd, FusionTable, compare_fusions, frames_of
from ml.evaluation.fusion_ways import LeftOut
from ml.evaluation.look_alikes import MarginRow, margin_rows
from ml.evaluation.networks import Network
from ml.evaluation.pooling import PoolingTable, compare_pooling, stand_ins
from ml.evaluation.prior import People, fit_prior
from ml.evaluation.protocol import LabelledPhoto, Protocol, build_protocol, load_protocol
from ml.evaluation.samples import Analyzed, OnProgress, PhotoReader, main_face
from ml.evaluation.searches import Acquisition, make_probes
from ml.evaluation.sizes import (
    CalibrationRow,
    Calibrator,
    SizeRow,
    calibrated,
    calibration_rows,
    card_alone,
    draw_galleries,
    size_rows,
)
from ml.evaluation.strategies import Contest, StrategyTable, compare_strategies
from ml.evaluation.strategies_learned import Base, FacePhotos, Lessons
from ml.evaluation.variants import (
    PRODUCT,
    EffectRow,
    Searches,
    VariantResult,
    customary_variant,
    effect,
    measure,
    rule_variants,
)
from ml.plan import default_plan
from ml.priors import ScorePrior

CARD_ALONE: Final = "model card alone"
ON_GALLERY: Final = "calibrated on the gallery"


@dataclass(frozen=True, slots=True)
class Options:
    """What to measure. `max_strangers` takes the first ones of the protocol; the last three look at the cohort."""

    seed: int = 0
    max_strangers: int | None = None
    is_plain_measured: bool = False
    is_prior_fitted: bool = False
    is_fusion_compared: bool = False
    is_strategy_compared: bool = False

    @property
    def is_cohort_seen(self) -> bool:
        return self.is_prior_fitted or self.is_fusion_compared or self.is_strategy_compared


@dataclass(frozen=True, slots=True)
class Machine:
    """What the networks run on and with, in the words of `FaceEngine.load`."""

    detector: str
    device: str
    models_dir: Path | None
    min_face_px: int


@dataclass(frozen=True, slots=True, eq=False)
class BackboneNetworks:
    """One backbone: as the service runs it, and plain where that is needed; `machine` is what it was loaded for."""

    mirrored: Network
    plain: Network | None
    machine: Machine

    @property
    def all(self) -> list[Network]:
        return [network for network in (self.mirrored, self.plain) if network is not None]


@dataclass(frozen=True, slots=True, eq=False)
class ModelResult:
    """Everything measured of one model word; sizes, calibration, margins and prior are those of the product's rule.

    `effect` is how much more it misses than the same backbone as the service runs it; empty for that one itself.
    `fusion` and `strategies` are told of that one alone, where they were asked for.
    """

    model: str
    backbone: str
    is_mirrored: bool
    enrolment: Enrolment
    mated: Acquisition
    strangers: Acquisition
    variants: Sequence[VariantResult]
    sizes: Sequence[SizeRow]
    calibration: Sequence[CalibrationRow]
    margins: Sequence[MarginRow]
    card_prior: ScorePrior
    fitted_prior: ScorePrior | None
    effect: Sequence[EffectRow] = ()
    fusion: FusionTable | None = None
    strategies: StrategyTable | None = None

    @property
    def product(self) -> VariantResult:
        """The result of the product's rule."""
        return next(each for each in self.variants if each.variant.name == PRODUCT)


def load_backbones(names: Sequence[str], machine: Machine, options: Options) -> list[BackboneNetworks]:
    """Load networks by name, each once, all on the same detector.

    Raises:
        ModelError: an unknown name, a missing or altered file, or a device that is not there.
    """
    plan = default_plan(machine.device)
    detector = load_detector(
        machine.detector,
        models_dir=machine.models_dir,
        device=machine.device,
        min_face_px=machine.min_face_px,
        plan=plan,
    )
    loaded = []
    for name in dict.fromkeys(names):
        backbone = load_backbone(name, models_dir=machine.models_dir, device=machine.device, plan=plan)
        # A customary rule compares plain vectors, so these are wanted even where nobody asked for them.
        is_plain_needed = options.is_plain_measured or customary_variant(backbone.card.name) is not None
        plain = Network.plain(detector, backbone) if is_plain_needed else None
        loaded.append(BackboneNetworks(Network.mirrored(detector, backbone), plain, machine))
    return loaded


def narrowed(protocol: Protocol, options: Options) -> Protocol:
    """The protocol without the photos that these options do not look at."""
    return replace(
        protocol,
        cohort=protocol.cohort if options.is_cohort_seen else (),
        strangers=protocol.strangers[: options.max_strangers],
    )


def choose_protocol(folder: Path, file: Path | None, options: Options) -> Protocol:
    """The protocol in `file`, or else in the folder, or else made from the photos there are; narrowed.

    Raises:
        ProtocolError: none can be made of them.
    """
    inside = folder / "protocol.json"
    given = file or (inside if inside.is_file() else None)
    protocol = build_protocol(folder, options.seed) if given is None else load_protocol(folder, given)
    return narrowed(protocol, options)


def photos_of(protocol: Protocol) -> list[Path]:
    """Every photo of a protocol, once."""
    known = [path for person in protocol.known for path in (*person.gallery, *person.probes)]
    labelled = [photo.path for photo in (*protocol.cohort, *protocol.strangers)]
    return list(dict.fromkeys([*known, *labelled]))


def evaluate(
    protocol: Protocol,
    backbones: Sequence[BackboneNetworks],
    reader: PhotoReader,
    options: Options,
    on_progress: OnProgress,
) -> list[ModelResult]:
    """Look at every photo and measure every backbone; `protocol` as `narrowed` returns it."""
    seen = reader.read(photos_of(protocol), on_progress)
    return [result for backbone in backbones for result in _measure_backbone(protocol, backbone, seen, options)]


def _measure_backbone(
    protocol: Protocol, backbone: BackboneNetworks, seen: Mapping[str, Mapping[Path, Analyzed]], options: Options
) -> list[ModelResult]:
    prepared = [_prepare(protocol, network, seen[network.model]) for network in backbone.all]
    results = [_measure_model(prepared[0], options)]
    if options.is_plain_measured:
        plain = _measure_model(prepared[-1], options)
        results.append(replace(plain, effect=effect(plain.product, results[0].product, options.seed)))
    if options.is_fusion_compared:
        results[0] = replace(results[0], fusion=_compare_fusions(prepared[0], options.seed))
    if options.is_strategy_compared:
        plain_searches = prepared[-1].searches if backbone.plain is not None else None
        contest = _contest(prepared[0], plain_searches, backbone.machine)
        results[0] = replace(results[0], strategies=compare_strategies(contest, options.seed))
    customary = customary_variant(backbone.mirrored.card.name)
    if customary is not None:
        results[0] = replace(
            results[0], variants=[measure(customary, prepared[-1].searches, options.seed), *results[0].variants]
        )
    return results


@dataclass(frozen=True, slots=True, eq=False)
class _Prepared:
    """One network's gallery and probes."""

    network: Network
    protocol: Protocol
    seen: Seen
    enrolment: Enrolment
    searches: Searches
    mated: Acquisition
    strangers: Acquisition


def _prepare(protocol: Protocol, network: Network, seen: Seen) -> _Prepared:
    card = network.card
    enrolment = enrol([person.gallery for person in protocol.known], seen, card.pair_bounds, card.dim)
    probes = [path for person in protocol.known for path in person.probes]
    people = np.repeat(np.arange(len(protocol.known)), [len(person.probes) for person in protocol.known])
    mated, acquired = make_probes(probes, seen, people, enrolment.rows[people])
    strange_people = _numbers(protocol.strangers)
    nobody = np.full(len(strange_people), NOBODY)
    strangers, also_acquired = make_probes([photo.path for photo in protocol.strangers], seen, strange_people, nobody)
    searches = Searches(enrolment.people, mated, strangers)
    return _Prepared(network, protocol, seen, enrolment, searches, acquired, also_acquired)


def _measure_model(prepared: _Prepared, options: Options) -> ModelResult:
    network, card = prepared.network, prepared.network.card
    drawn = draw_galleries(prepared.searches, prepared.enrolment.rows, card.score_rule, options.seed)
    calibrators: dict[str, Calibrator] = {
        CARD_ALONE: card_alone(card.prior),
        ON_GALLERY: calibrated(card.prior, card.score_rule),
    }
    return ModelResult(
        model=network.model,
        backbone=card.name,
        is_mirrored=network.keeper is None,
        enrolment=prepared.enrolment,
        mated=prepared.mated,
        strangers=prepared.strangers,
        variants=[measure(variant, prepared.searches, options.seed) for variant in rule_variants(card.score_rule)],
        sizes=size_rows(drawn, card.prior),
        calibration=calibration_rows(drawn, calibrators, network.model),
        margins=margin_rows(prepared.searches, card),
        card_prior=card.prior,
        fitted_prior=_fit_prior(prepared, options.seed) if options.is_prior_fitted else None,
    )


def _fit_prior(prepared: _Prepared, seed: int) -> ScorePrior:
    """Measure the prior, on one face per search: a bystander in the photo would be a second one.

    The cohort is enrolled with all photos of a person, and searched with the main face in the first of everybody else.
    """
    card, photos = prepared.network.card, _cohort_photos(prepared.protocol)
    enrolment = enrol(photos, prepared.seen, card.pair_bounds, card.dim)
    numbers = np.arange(len(photos))
    firsts = [paths[0] for paths in photos]
    mains = {path: main_face(prepared.seen[path]) for path in firsts}
    probes, _ = make_probes(firsts, mains, numbers, np.full(len(numbers), NOBODY))
    known = People(prepared.enrolment, prepared.searches.mated)
    return fit_prior(People(enrolment, probes), known, card.score_rule, seed)


def _compare_fusions(prepared: _Prepared, seed: int) -> FusionTable:
    """Compare on the gallery as enrolled; the cohort is enrolled by the same rules, to be learned from."""
    card, seen = prepared.network.card, prepared.seen
    cohort = enrol(_cohort_photos(prepared.protocol), seen, card.pair_bounds, card.dim).people
    crowd = Crowd(prepared.searches, people=frames_of(prepared.enrolment.people), cohort=frames_of(cohort))
    table, pooling = compare_fusions(crowd, card.score_rule, seed), _compare_pooling(prepared, seed)
    if isinstance(pooling, PoolingTable):
        return replace(table, pooling=pooling)
    return replace(table, left_out=(*table.left_out, pooling))


def _compare_pooling(prepared: _Prepared, seed: int) -> PoolingTable | LeftOut:
    """Compare on further photos of the enrolled people, and on the cohort as strangers."""
    known, cohort, seen = prepared.protocol.known, _cohort_photos(prepared.protocol), prepared.seen
    mated = stand_ins([person.probes for person in known], prepared.enrolment.rows, seen)
    strangers = stand_ins(cohort, np.full(len(cohort), NOBODY), seen)
    return compare_pooling(prepared.searches, mated, strangers, prepared.network.card, seed)


def _contest(prepared: _Prepared, plain: Searches | None, machine: Machine) -> Contest:
    """What strategies are compared on: of the cohort the main face of every photo is learned from."""
    photos, seen = prepared.protocol.cohort, prepared.seen
    mains = [(number, main_face(seen[photo.path])) for number, photo in zip(_numbers(photos), photos, strict=True)]
    faces = [(number, main.photo.samples[0].embedding) for number, main in mains if main.photo.samples]
    network = prepared.network
    return Contest(
        searches=prepared.searches,
        plain=plain,
        cohort=Lessons(
            np.array([embedding for _, embedding in faces], dtype=np.float32),
            np.array([number for number, _ in faces], dtype=np.int64),
        ),
        photos=FacePhotos(seen),
        base=Base(network.card, network.model, machine.models_dir, machine.device),
    )


def _cohort_photos(protocol: Protocol) -> list[list[Path]]:
    """The cohort's photos, person by person."""
    by_person: dict[str, list[Path]] = {}
    for photo in protocol.cohort:
        by_person.setdefault(photo.person, []).append(photo.path)
    return list(by_person.values())


def _numbers(photos: Sequence[LabelledPhoto]) -> Rows:
    return np.unique([photo.person for photo in photos], return_inverse=True)[1].astype(np.int64)
