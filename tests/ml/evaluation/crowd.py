"""A gallery and probes made of random vectors, as samples of photos that nobody took."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ml.backbones.card import ModelCard, ScoringFacts
from ml.backbones.cards import find_card
from ml.enrolling import Photo
from ml.evaluation.enrolment import NOBODY, Enrolment, enrol
from ml.evaluation.samples import Analyzed
from ml.evaluation.searches import Probes, make_probes
from ml.evaluation.variants import Searches
from ml.priors import assumed_prior
from ml.types import FloatArray, PairBounds, ScoreRule
from tests.ml.factories import make_embeddings, make_near, make_sample

DIM = 16
BOUNDS = PairBounds(different=0.3, same=0.5)
RULE = ScoreRule(centroid_weight=2 / 3, runner_up_weight=0.5, runner_up_floor=0.3)
PRIOR = assumed_prior(middle=0.2, spread=0.05, mated_middle=0.5)


def make_card(*, margin: float = 0.1) -> ModelCard:
    card = find_card("dlib-resnet")
    return replace(card, dim=DIM, scoring=ScoringFacts(RULE, BOUNDS, PRIOR, margin))


def make_seen(*, embeddings: Sequence[FloatArray], length: float = 1.0) -> Analyzed:
    """A photo of as many faces side by side as there are embeddings."""
    samples = [
        make_sample(embedding=vector, box_xyxy=(200 * i + 40, 40, 200 * i + 140, 160))
        for i, vector in enumerate(embeddings)
    ]
    return Analyzed(Photo(samples, (200 * max(1, len(samples)), 200)), (length,) * len(samples))


def make_enrolment(*, n_people: int = 12, seed: int = 0) -> tuple[Enrolment, FloatArray]:
    """People with three photos each, and the vectors that these are near to."""
    middles = make_embeddings(n=n_people, dim=DIM, seed=seed)
    photos, seen = [], {}
    for person, middle in enumerate(middles):
        own = [Path(f"{person}/{i}") for i in range(3)]
        photos.append(own)
        for i, path in enumerate(own):
            near = make_near(embedding=middle, cosine=0.85, seed=7000 + 100 * person + i)
            seen[path] = make_seen(embeddings=[near], length=1.2 + 0.05 * i)
    return enrol(photos, seen, BOUNDS, DIM), middles


def make_searches(*, n_people: int = 12, n_strangers: int = 60, seed: int = 0) -> tuple[Searches, Enrolment]:
    """Two further photos of everybody, the second with a bystander, and strangers."""
    enrolment, middles = make_enrolment(n_people=n_people, seed=seed)
    seen: dict[Path, Analyzed] = {}
    bystanders = make_embeddings(n=n_people, dim=DIM, seed=seed + 1)
    for person, middle in enumerate(middles):
        for i in range(2):
            near = make_near(embedding=middle, cosine=0.7, seed=90_000 + 10 * person + i)
            faces = [near, bystanders[person]][: i + 1]
            seen[Path(f"probe/{person}/{i}")] = make_seen(embeddings=faces, length=1.3)
    people = np.repeat(np.arange(n_people), 2)
    mated, _ = make_probes(list(seen), seen, people, enrolment.rows[people])
    return Searches(enrolment.people, mated, make_strangers(n=n_strangers, seed=seed + 2)), enrolment


def make_strangers(*, n: int, seed: int = 2) -> Probes:
    vectors = make_embeddings(n=n, dim=DIM, seed=seed)
    seen = {Path(f"stranger/{i}"): make_seen(embeddings=[vector], length=1.4) for i, vector in enumerate(vectors)}
    probes, _ = make_probes(list(seen), seen, np.arange(n), np.full(n, NOBODY))
    return probes
