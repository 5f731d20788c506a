"""Known-bad challengers must be refused, a known-good one taken, and too little evidence called so."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from ml.errors import TrainingError
from ml.training.judge import MIN_PEOPLE, Side, Verdict, judge
from ml.training.types import Rows
from ml.types import FloatArray, ScoreRule

TARGET = 0.02
RULE = ScoreRule(centroid_weight=2 / 3, runner_up_weight=0.5, runner_up_floor=0.4)
N_IDENTITY, N_NUISANCE = 16, 16


def make_faces(
    *, n_people: int = 150, n_faces: int = 4, n_strangers: int = 120, seed: int = 0
) -> tuple[Rows, FloatArray]:
    """People as points in some directions; what changes from photo to photo lies mostly in the others."""
    random = np.random.default_rng(seed)
    people = np.r_[np.repeat(np.arange(n_people), n_faces), n_people + np.arange(n_strangers)].astype(np.int64)
    middles = random.normal(size=(n_people + n_strangers, N_IDENTITY))
    own = middles[people] + 0.35 * random.normal(size=(len(people), N_IDENTITY))
    nuisance = 1.1 * random.normal(size=(len(people), N_NUISANCE))
    return people, unit(np.hstack([own, nuisance]))


def unit(vectors: np.ndarray) -> FloatArray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def overfitted(people: Rows, embeddings: FloatArray) -> FloatArray:
    """A projection that names ten people's photos exactly, with nothing to hold it back."""
    learned = np.flatnonzero(people < 10)
    names = np.eye(10)[people[learned]]
    weights = np.linalg.pinv(embeddings[learned].astype(np.float64)) @ names
    return unit(embeddings @ weights)


def verdict_on(challenger: FloatArray, *, people: Rows, embeddings: FloatArray, rule: ScoreRule = RULE) -> Verdict:
    unseen = np.flatnonzero(people >= 10)
    times = np.full(len(people), np.nan)
    return judge(Side(embeddings, RULE), Side(challenger, rule), people, times, unseen, TARGET, seed=0)


@pytest.fixture(scope="module")
def faces() -> tuple[Rows, FloatArray]:
    return make_faces()


def test_a_model_without_the_nuisance_is_taken(faces: tuple[Rows, FloatArray]) -> None:
    people, embeddings = faces
    verdict = verdict_on(unit(embeddings[:, :N_IDENTITY]), people=people, embeddings=embeddings)
    assert verdict.is_better and "is beyond chance" in verdict.reason and "worse" not in verdict.reason
    assert verdict.champion and verdict.challenger and verdict.difference
    assert verdict.difference.high < 0
    assert verdict.challenger.fnir.value < verdict.champion.fnir.value
    assert verdict.difference.value == pytest.approx(verdict.challenger.fnir.value - verdict.champion.fnir.value)
    assert max(verdict.challenger.fpir, verdict.champion.fpir) <= TARGET
    assert (verdict.n_people, verdict.n_mated, verdict.n_non_mated) == (140, 280, 120)


def test_the_champion_is_not_better_than_itself(faces: tuple[Rows, FloatArray]) -> None:
    people, embeddings = faces
    verdict = verdict_on(embeddings, people=people, embeddings=embeddings)
    assert not verdict.is_better and verdict.difference is not None
    assert (verdict.difference.low, verdict.difference.value, verdict.difference.high) == (0.0, 0.0, 0.0)
    assert "may be chance" in verdict.reason


def test_a_random_projection_is_refused(faces: tuple[Rows, FloatArray]) -> None:
    people, embeddings = faces
    random = np.random.default_rng(1).normal(size=(embeddings.shape[1], 8))
    verdict = verdict_on(unit(embeddings @ random), people=people, embeddings=embeddings)
    assert not verdict.is_better and "for the worse" in verdict.reason


def test_a_head_overfitted_to_ten_people_is_refused(faces: tuple[Rows, FloatArray]) -> None:
    people, embeddings = faces
    challenger = overfitted(people, embeddings)
    known = np.flatnonzero(people < 10)
    cosines = challenger[known] @ challenger[known].T
    is_own = people[known][:, None] == people[known][None]
    assert cosines[is_own].min() > cosines[~is_own].max()  # on whom it learned from, it is perfect
    verdict = verdict_on(challenger, people=people, embeddings=embeddings)
    assert not verdict.is_better and "for the worse" in verdict.reason


def test_noise_is_refused(faces: tuple[Rows, FloatArray]) -> None:
    people, embeddings = faces
    noise = unit(np.random.default_rng(2).normal(size=embeddings.shape))
    assert not verdict_on(noise, people=people, embeddings=embeddings).is_better


def test_a_collapsed_model_is_refused(faces: tuple[Rows, FloatArray]) -> None:
    people, embeddings = faces
    same = np.tile(embeddings[:1], (len(embeddings), 1))
    assert not verdict_on(same, people=people, embeddings=embeddings).is_better


def test_a_little_luck_is_not_enough() -> None:
    """Models that differ by noise alone: hardly one in forty may pass."""
    people, embeddings = make_faces(n_people=60, n_strangers=60)
    random = np.random.default_rng(3)
    taken = 0
    for _ in range(20):
        other = unit(embeddings + 0.02 * random.normal(size=embeddings.shape))
        taken += verdict_on(other, people=people, embeddings=embeddings).is_better
    assert taken <= 2


def test_a_rule_for_another_scale_is_the_challengers_own(faces: tuple[Rows, FloatArray]) -> None:
    people, embeddings = faces
    good = unit(embeddings[:, :N_IDENTITY])
    flattering = replace(RULE, centroid_weight=0.0)
    a, b = (verdict_on(good, people=people, embeddings=embeddings, rule=rule) for rule in (RULE, flattering))
    assert a.champion == b.champion and a.challenger != b.challenger


def test_people_stand_in_for_missing_strangers() -> None:
    people, embeddings = make_faces(n_people=70, n_strangers=0)
    verdict = verdict_on(unit(embeddings[:, :N_IDENTITY]), people=people, embeddings=embeddings)
    assert (verdict.n_people, verdict.n_mated, verdict.n_non_mated) == (60, 120, 120)
    assert verdict.champion is not None and verdict.champion.fnir.value < 1.0
    assert verdict.is_better


def test_who_is_left_out_of_the_gallery_is_not_found_in_it() -> None:
    """Everybody's photos are alike, and nobody's like another's: as strangers all of them must score low."""
    people = np.repeat(np.arange(60), 2).astype(np.int64)
    embeddings = np.repeat(np.eye(60, dtype=np.float32), 2, axis=0)
    side = Side(embeddings, RULE)
    verdict = judge(side, side, people, np.full(120, np.nan), np.arange(120), TARGET, seed=0)
    assert verdict.champion is not None
    assert verdict.champion.threshold < 0 and verdict.champion.fnir.value == 0.0 and verdict.champion.rank1.value == 1.0


def test_the_older_photos_are_enrolled() -> None:
    """The new photos of everybody show somebody else: rank 1 is wrong if and only if time decides."""
    people = np.repeat(np.arange(60), 2).astype(np.int64)
    turned = np.arange(120)
    turned[1::2] = (turned[1::2] + 2) % 120
    embeddings = np.eye(60, dtype=np.float32)[people[turned]]
    times = np.tile([1.0, 2.0], 60)
    side = Side(embeddings, RULE)
    verdict = judge(side, side, people, times, np.arange(120), TARGET, seed=0)
    assert verdict.champion is not None and verdict.champion.rank1.value == 0.0


def test_too_few_people_are_too_few() -> None:
    people, embeddings = make_faces(n_people=10 + MIN_PEOPLE - 1)
    verdict = verdict_on(unit(embeddings[:, :N_IDENTITY]), people=people, embeddings=embeddings)
    assert not verdict.is_better and f"{MIN_PEOPLE - 1} people" in verdict.reason
    assert verdict.champion is None and verdict.difference is None and verdict.n_people == MIN_PEOPLE - 1


def test_too_few_strangers_are_too_few() -> None:
    people, embeddings = make_faces(n_people=10 + MIN_PEOPLE, n_faces=2, n_strangers=10)
    verdict = verdict_on(unit(embeddings[:, :N_IDENTITY]), people=people, embeddings=embeddings)
    assert not verdict.is_better
    assert f"{MIN_PEOPLE + 10} searches" in verdict.reason and "50 at least" in verdict.reason


def test_nobody_to_judge_by() -> None:
    people, embeddings = make_faces(n_people=12)
    side = Side(embeddings, RULE)
    verdict = judge(side, side, people, np.full(len(people), np.nan), np.empty(0, np.int64), TARGET, seed=0)
    assert not verdict.is_better and verdict.n_people == 0


def test_a_verdict_is_json(faces: tuple[Rows, FloatArray]) -> None:
    people, embeddings = faces
    verdict = verdict_on(unit(embeddings[:, :N_IDENTITY]), people=people, embeddings=embeddings)
    again = json.loads(json.dumps(asdict(verdict), allow_nan=False))
    assert again["challenger"]["fnir"].keys() == {"value", "low", "high"}
    assert again["difference"]["high"] < 0


def test_the_same_seed_gives_the_same_verdict(faces: tuple[Rows, FloatArray]) -> None:
    people, embeddings = faces
    good = unit(embeddings[:, :N_IDENTITY])
    first, second = (verdict_on(good, people=people, embeddings=embeddings) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("damage", [np.nan, 3.0])
def test_damaged_embeddings_are_refused(faces: tuple[Rows, FloatArray], damage: float) -> None:
    people, embeddings = faces
    damaged = embeddings.copy()
    damaged[20, 0] = damage
    with pytest.raises(TrainingError, match="challenger.*unit"):
        verdict_on(damaged, people=people, embeddings=embeddings)
    with pytest.raises(TrainingError, match="one for each"):
        verdict_on(embeddings[1:], people=people, embeddings=embeddings)


def test_a_target_must_be_a_share(faces: tuple[Rows, FloatArray]) -> None:
    people, embeddings = faces
    side = Side(embeddings, RULE)
    with pytest.raises(TrainingError, match="share"):
        judge(side, side, people, np.full(len(people), np.nan), np.arange(9), 0.0, seed=0)
