from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from ml.evidence import GalleryEvidence, search_gallery
from ml.findings import LookAlikes, find_look_alikes, find_suspicious
from ml.gallery import Gallery
from ml.scoring import rank_candidates
from ml.types import FloatArray, ScoreRule
from tests.ml.factories import MODEL, make_embeddings, make_near

DIM = 32
RULE = ScoreRule(centroid_weight=2 / 3, runner_up_weight=0.5, runner_up_floor=0.3)
THRESHOLD, MARGIN = 0.45, 0.15
MIDDLES = make_embeddings(n=12, dim=DIM)


def make_photos(*, person: int, n: int = 3, first: int = 0) -> list[FloatArray]:
    """Photos `first`, `first + 1` … of a person."""
    return [make_near(embedding=MIDDLES[person], cosine=0.9, seed=900 + 10 * person + first + i) for i in range(n)]


def make_gallery(*, photos: Mapping[str, Sequence[FloatArray]]) -> Gallery:
    """Template ids are 0, 1, 2 … in the order given."""
    people = [person for person, own in photos.items() for _ in own]
    vectors = np.array([photo for own in photos.values() for photo in own])
    gallery = Gallery(model=MODEL, dim=DIM)
    gallery.add(list(range(len(people))), people, vectors, MODEL)
    return gallery


def make_clean(*, n_people: int = 8) -> dict[str, list[FloatArray]]:
    return {f"p{i}": make_photos(person=i) for i in range(n_people)}


def find(gallery: Gallery) -> GalleryEvidence:
    """Photos of a person are one enrolment."""
    snapshot = gallery.snapshot()
    return search_gallery(snapshot, snapshot.person_rows, RULE)


def pairs_of(found: Sequence[LookAlikes]) -> set[tuple[str, str]]:
    return {(each.person_a, each.person_b) for each in found}


def test_nothing_is_found_in_a_clean_gallery() -> None:
    evidence = find(make_gallery(photos=make_clean()))
    assert find_look_alikes(evidence, THRESHOLD) == ()
    assert find_suspicious(evidence, MARGIN) == ()


@pytest.mark.parametrize("n_people", [0, 1])
def test_nothing_is_found_where_there_is_nobody_to_confuse(n_people: int) -> None:
    gallery = Gallery(model=MODEL, dim=DIM) if not n_people else make_gallery(photos=make_clean(n_people=1))
    assert find_look_alikes(find(gallery), -1.0) == ()
    assert find_suspicious(find(gallery), -1.0) == ()


def test_two_people_with_close_templates_are_look_alikes_with_their_highest_score() -> None:
    photos = make_clean() | {"twin": make_photos(person=3, first=5)}
    evidence = find(make_gallery(photos=photos))
    [found] = find_look_alikes(evidence, THRESHOLD)
    assert {found.person_a, found.person_b} == {"p3", "twin"}
    theirs = np.isin(evidence.person_rows, [evidence.person_ids.index(p) for p in ("p3", "twin")])
    assert found.score == pytest.approx(evidence.non_mated[theirs].max())


def test_look_alikes_are_those_whom_the_service_would_take_for_each_other() -> None:
    """With one of the two erased, a photo of theirs is given the other's name."""
    gallery = make_gallery(photos=make_clean() | {"twin": make_photos(person=3, first=5)})
    [found] = find_look_alikes(find(gallery), THRESHOLD)
    probe = gallery.embeddings_of("p3")
    gallery.remove([9, 10, 11])
    named = [rank_candidates(hits, RULE, 1)[0] for hits in gallery.search(probe, 8)]
    assert {candidate.person_id for candidate in named} == {"twin"}
    assert max(candidate.score for candidate in named) <= found.score + 1e-5
    assert min(candidate.score for candidate in named) >= THRESHOLD


def test_the_most_alike_come_first_and_each_pair_once() -> None:
    photos = make_clean()
    for person, cosine in ((1, 0.97), (4, 0.9), (6, 0.8)):
        photos[f"like-p{person}"] = [
            make_near(embedding=MIDDLES[person], cosine=cosine, seed=3000 + 10 * person + i) for i in range(2)
        ]
    found = find_look_alikes(find(make_gallery(photos=photos)), 0.35)
    assert pairs_of(found) == {("p1", "like-p1"), ("p4", "like-p4"), ("p6", "like-p6")}
    assert [each.score for each in found] == sorted((each.score for each in found), reverse=True)


def test_a_score_equal_to_the_threshold_counts() -> None:
    evidence = find(make_gallery(photos=make_clean()))
    highest = float(evidence.non_mated.max())
    assert len(find_look_alikes(evidence, highest)) == 1
    assert find_look_alikes(evidence, highest + 1e-6) == ()


def test_a_photo_filed_under_somebody_else_is_found_with_whose_it_may_be() -> None:
    photos = make_clean()
    photos["p5"] = [*photos["p5"], *make_photos(person=2, n=1, first=5)]  # the 19th template
    [found] = find_suspicious(find(make_gallery(photos=photos)), MARGIN)
    assert (found.template_id, found.person_id, found.nearer_to) == (18, "p5", "p2")
    assert found.lead >= MARGIN


def test_the_lead_is_what_the_service_would_show_with_that_template_taken_out() -> None:
    photos = make_clean()
    wrong = make_photos(person=2, n=1, first=5)
    photos["p5"] = [*photos["p5"], *wrong]
    gallery = make_gallery(photos=photos)
    [found] = find_suspicious(find(gallery), MARGIN)
    gallery.remove([found.template_id])
    ranked = rank_candidates(gallery.search(np.array(wrong), 8)[0], RULE, 8)
    own = next(candidate for candidate in ranked if candidate.person_id == "p5")
    assert ranked[0].person_id == "p2"
    # The rival is set against p5 itself, whoever else comes between them.
    assert found.lead >= ranked[0].score - own.score - 1e-5
    assert found.lead == pytest.approx(ranked[0].score - own.score, abs=0.1)


def test_a_clip_under_the_wrong_name_is_found_frame_by_frame() -> None:
    """Its frames vouch for each other, until they are left out together."""
    photos = make_clean()
    photos["p5"] = [photos["p5"][0], *make_photos(person=2, first=5)]  # templates 15, and 16 to 18
    snapshot = make_gallery(photos=photos).snapshot()
    together = find_suspicious(search_gallery(snapshot, snapshot.person_rows, RULE), MARGIN)
    assert not {each.template_id for each in together} & {16, 17, 18}
    enrolments = snapshot.person_rows.copy()
    enrolments[16:19] = 99
    found = find_suspicious(search_gallery(snapshot, enrolments, RULE), MARGIN)
    assert {each.template_id for each in found if each.nearer_to == "p2"} == {16, 17, 18}
    assert [each.lead for each in found] == sorted((each.lead for each in found), reverse=True)


def test_twins_are_look_alikes_and_their_photos_not_mislabelled() -> None:
    photos = make_clean() | {"twin": make_photos(person=3, first=5)}
    evidence = find(make_gallery(photos=photos))
    assert len(find_look_alikes(evidence, THRESHOLD)) == 1
    assert find_suspicious(evidence, MARGIN) == ()


def test_a_persons_only_template_is_never_called_wrong() -> None:
    photos = make_clean()
    photos["single"] = make_photos(person=2, n=1, first=5)
    evidence = find(make_gallery(photos=photos))
    assert find_suspicious(evidence, MARGIN) == ()
    assert pairs_of(find_look_alikes(evidence, THRESHOLD)) == {("p2", "single")}


def test_people_who_left_the_gallery_are_in_no_finding() -> None:
    """Deactivated and erased people leave it."""
    photos = make_clean() | {"twin": make_photos(person=3, first=5)}
    photos["p5"] = [*photos["p5"], *make_photos(person=2, n=1, first=5)]
    gallery = make_gallery(photos=photos)
    assert len(find_look_alikes(find(gallery), THRESHOLD)) >= 1 and len(find_suspicious(find(gallery), MARGIN)) == 1
    gallery.remove([9, 10, 11, 6, 7, 8])  # p3 and p2
    evidence = find(gallery)
    assert not {"p2", "p3"} & set(evidence.person_ids)
    assert find_look_alikes(evidence, THRESHOLD) == ()
    assert {each.nearer_to for each in find_suspicious(evidence, -1.0)} <= set(evidence.person_ids)


def test_lists_are_long_enough_to_look_through_and_no_longer() -> None:
    n = 450
    evidence = GalleryEvidence(
        person_ids=tuple(f"p{i}" for i in range(n)),
        template_ids=np.arange(n),
        person_rows=np.arange(n),
        non_mated=np.linspace(0.5, 0.9, n, dtype=np.float32),
        rival_rows=(np.arange(n) + 1) % n,
        mated=np.full(n, 0.1, dtype=np.float32),
        lead=np.linspace(-0.1, -0.9, n, dtype=np.float32),
        n_left=np.ones(n, dtype=np.int64),
    )
    look_alikes, suspicious = find_look_alikes(evidence, THRESHOLD), find_suspicious(evidence, MARGIN)
    assert len(look_alikes) == len(suspicious) == 200
    assert look_alikes[0].score == pytest.approx(0.9) and suspicious[0].lead == pytest.approx(0.9)
