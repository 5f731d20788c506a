from dataclasses import replace

import numpy as np
import pytest

from ml.evaluation.enrolment import NOBODY
from ml.evaluation.prior import FNIR_LEVELS, FPIR_LEVELS, People, as_source, fit_prior, largest_difference
from ml.evaluation.searches import search
from ml.metrics import MetricsError
from ml.priors import DLIB_RESNET_PRIOR, ScorePrior
from ml.types import ScoreRule
from tests.ml.evaluation.crowd import make_enrolment, make_searches

RULE = ScoreRule(centroid_weight=2 / 3, runner_up_weight=0.5, runner_up_floor=0.3)


def make_people(*, n_people: int, seed: int) -> People:
    searches, enrolment = make_searches(n_people=n_people, seed=seed)
    return People(enrolment, searches.mated)


@pytest.fixture(scope="module")
def prior() -> ScorePrior:
    return fit_prior(make_people(n_people=30, seed=10), make_people(n_people=12, seed=20), RULE, seed=0)


def test_tables_have_the_shape_of_a_prior(prior: ScorePrior) -> None:
    assert prior.gallery_sizes == (1, 2, 3, 5, 10, 20)  # smaller than the cohort
    assert prior.fpir_levels == FPIR_LEVELS and set(prior.fnir_levels) <= set(FNIR_LEVELS)
    assert np.array(prior.non_mated).shape == (6, len(FPIR_LEVELS))
    assert np.array(prior.mated).shape == (6, len(prior.fnir_levels))
    assert prior.n_people == 30
    assert (np.diff(prior.non_mated, axis=1) >= 0).all() and (np.diff(prior.mated, axis=1) >= 0).all()
    assert DLIB_RESNET_PRIOR.fpir_levels == FPIR_LEVELS and DLIB_RESNET_PRIOR.fnir_levels == FNIR_LEVELS


def test_levels_are_the_shares_that_they_say() -> None:
    """One known person and two in the cohort: every gallery and search can be listed."""
    cohort, known = make_people(n_people=2, seed=1), make_people(n_people=1, seed=2)
    prior = fit_prior(cohort, known, RULE, seed=0)
    assert prior.gallery_sizes == (1,)
    own = search(known.probes, known.enrolment.people, RULE).scores
    best = [own[known.probes.photo_rows == photo].max() for photo in range(2)]
    assert prior.fnir_levels[0] == 0.02 and prior.mated[0][0] == pytest.approx(min(best), abs=1e-4)
    assert prior.mated[0][-1] == pytest.approx(max(best), abs=1e-4)


def test_the_searched_person_is_never_in_the_gallery() -> None:
    """Were they, half of the searches in a cohort of two would find themselves."""
    cohort = make_people(n_people=2, seed=1)
    prior = fit_prior(cohort, make_people(n_people=1, seed=2), RULE, seed=0)
    own = search(cohort.probes, cohort.enrolment.people, RULE).scores.max()
    assert max(prior.non_mated[0]) < own


def test_too_few_people_are_refused() -> None:
    one = make_people(n_people=1, seed=0)
    nobody = People(replace(one.enrolment, rows=np.array([NOBODY])), one.probes)
    with pytest.raises(MetricsError, match="could be enrolled"):
        fit_prior(one, one, RULE, seed=0)
    with pytest.raises(MetricsError, match="could be enrolled"):
        fit_prior(make_people(n_people=3, seed=0), nobody, RULE, seed=0)


def test_the_printed_prior_is_python_that_makes_it_again(prior: ScorePrior) -> None:
    source = as_source(prior)
    assert eval(source, {"ScorePrior": ScorePrior}) == prior
    assert source.count("\n        (") == len(prior.non_mated) + len(prior.mated)


def test_the_difference_is_the_largest_of_each_table(prior: ScorePrior) -> None:
    assert largest_difference(prior, prior) == (0.0, 0.0)
    moved = replace(prior, non_mated=tuple(tuple(x + 0.25 for x in row) for row in prior.non_mated))
    difference = largest_difference(moved, prior)
    assert difference is not None and difference == (pytest.approx(0.25), 0.0)
    assert largest_difference(prior, DLIB_RESNET_PRIOR) is None


def test_a_level_at_which_searches_fail_whatever_the_threshold_is_left_out() -> None:
    """One of ten photos shows nobody's face: 10 % are missed at any threshold, so 2, 3 and 5 % are never reached."""
    known = make_people(n_people=5, seed=3)
    probes = replace(known.probes, own_rows=known.probes.own_rows.copy(), embeddings=known.probes.embeddings.copy())
    probes.embeddings[probes.photo_rows == 0] = -known.enrolment.people.centroids[0]
    prior = fit_prior(make_people(n_people=3, seed=4), People(known.enrolment, probes), RULE, seed=0)
    assert np.isfinite(prior.mated).all() and np.isfinite(prior.non_mated).all()
    assert prior.fnir_levels[0] >= 0.1 and len(prior.mated[0]) == len(prior.fnir_levels)


def test_a_prior_is_not_made_where_hardly_anybody_is_recognised() -> None:
    known = make_people(n_people=6, seed=3)
    others = make_enrolment(n_people=6, seed=99)[0]  # other people's templates under their names
    with pytest.raises(MetricsError, match="fail at every threshold"):
        fit_prior(make_people(n_people=8, seed=4), People(others, known.probes), RULE, seed=0)
