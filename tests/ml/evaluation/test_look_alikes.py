from dataclasses import replace

import numpy as np
import pytest

from ml.evaluation.look_alikes import margin_rows
from ml.evaluation.searches import Probes
from ml.evaluation.variants import PRODUCT, Searches, measure, rule_variants
from ml.types import FloatArray
from tests.ml.evaluation.crowd import RULE, make_card, make_searches
from tests.ml.factories import make_near


def make_confusable() -> Searches:
    """Two of twelve people look alike, and a photo of the first one looks like the second."""
    searches, _ = make_searches()
    gallery, mated = searches.gallery, searches.mated
    rows, vectors = gallery.person_rows, gallery.embeddings.copy()
    vectors[rows == 1] = [make_near(embedding=v, cosine=0.9, seed=60 + i) for i, v in enumerate(vectors[rows == 0])]
    centroids = np.array([_fused(vectors[rows == row]) for row in range(gallery.n_people)], dtype=np.float32)
    probes = mated.embeddings.copy()
    own = mated.own_rows[mated.photo_rows]
    probes[np.flatnonzero(own == 0)[0]] = make_near(embedding=centroids[1], cosine=0.99, seed=80)
    return Searches(
        replace(gallery, embeddings=vectors, centroids=centroids), replace(mated, embeddings=probes), searches.strangers
    )


def _fused(vectors: FloatArray) -> FloatArray:
    mean = vectors.mean(axis=0)
    return np.asarray(mean / np.linalg.norm(mean), dtype=np.float32)


def test_without_margins_photos_end_as_in_the_rest_of_the_report() -> None:
    searches, _ = make_searches()
    without, _ = margin_rows(searches, make_card())
    product = next(variant for variant in rule_variants(RULE) if variant.name == PRODUCT)
    result = measure(product, searches, seed=0).searches
    named = result.mated.scores >= without.threshold
    assert without.fnir.value == pytest.approx(1 - np.mean(named & result.mated.is_rank1))
    assert without.fpir.value == pytest.approx(np.mean(result.non_mated.scores >= without.threshold))


def test_where_nobody_is_alike_a_lead_changes_nothing() -> None:
    searches, _ = make_searches(n_people=1)
    without, with_lead = margin_rows(searches, make_card(margin=0.5))
    assert with_lead.n_pairs == 0
    assert replace(with_lead, margin=0.0) == without


def test_a_lead_between_look_alikes_turns_a_wrong_name_into_none() -> None:
    searches = make_confusable()
    free, strict = margin_rows(searches, make_card(margin=1.0))
    assert free.n_pairs == strict.n_pairs >= 1 and free.threshold == strict.threshold
    assert free.misidentified.value > 0.0
    assert strict.misidentified.value < free.misidentified.value
    assert strict.fnir.value >= free.fnir.value


def test_photos_without_a_face_are_missed() -> None:
    searches, _ = make_searches(n_people=3)
    nothing = np.empty((0, 0), dtype=np.float32)
    none = np.empty(0, dtype=np.int64)
    mated = Probes(nothing, none.astype(np.float32), none, searches.mated.people, searches.mated.own_rows)
    without, with_lead = margin_rows(Searches(searches.gallery, mated, searches.strangers), make_card())
    assert without.fnir.value == with_lead.fnir.value == 1.0
    assert without.misidentified.value == 0.0


def test_an_empty_gallery_names_nobody() -> None:
    searches, _ = make_searches(n_people=3)
    empty = searches.gallery.only(np.empty(0, dtype=np.int64))
    mated = replace(searches.mated, own_rows=np.full(searches.mated.n_photos, -1))
    without, _ = margin_rows(Searches(empty, mated, searches.strangers), make_card())
    assert (without.fpir.value, without.fnir.value, without.misidentified.value) == (0.0, 1.0, 0.0)
