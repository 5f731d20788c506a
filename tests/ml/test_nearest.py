"""Codes only propose: with them, a search answers what it answers without, or they are not used."""

import threading
from contextlib import nullcontext

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.gallery import Gallery, PersonHits
from ml.nearest import NearestIndex, SearchPlan
from ml.types import FloatArray
from tests.ml.factories import MODEL, make_embeddings, make_near

DIM = 16
AT_ONCE = SearchPlan(flat_up_to_bytes=0, n_wanted=10, n_reranked=(200,), n_probes=20)
BLIND = SearchPlan(flat_up_to_bytes=0, n_wanted=10, n_reranked=(1,), n_probes=20)


def never() -> bool:
    return False


def make_index(*, n: int, plan: SearchPlan = AT_ONCE, seed: int = 0, is_built: bool = True) -> NearestIndex:
    index = NearestIndex(DIM, plan)
    index.put(list(range(n)), make_embeddings(n=n, seed=seed))
    if is_built:
        index.build_codes(nullcontext(), never)
    return index


def make_gallery(*, n_people: int, plan: SearchPlan = AT_ONCE) -> Gallery:
    """Three templates each, near each other."""
    gallery = Gallery(model=MODEL, dim=DIM, plan=plan)
    centres = make_embeddings(n=n_people)
    near = [make_near(embedding=centres[i // 3], cosine=0.9, seed=1000 + i) for i in range(3 * n_people)]
    gallery.add(list(range(3 * n_people)), [f"p{i // 3}" for i in range(3 * n_people)], np.array(near), MODEL)
    return gallery


def brute_force(held: dict[int, FloatArray], probe: FloatArray, k: int) -> list[int]:
    """Keys by falling score; scores that a rounding error tells apart do not occur here."""
    return sorted(held, key=lambda key: -float(held[key] @ probe))[:k]


def code_bytes(index: NearestIndex) -> bytes:
    """All memory that codes occupy."""
    assert index._codes is not None
    codes = index._codes._levels.codes
    return bytes(faiss.rev_swig_ptr(codes.get(), codes.size()))


def coded_anew(index: NearestIndex) -> bytes:
    """The same for the rows as they are, coded at once and in order."""
    assert index._codes is not None
    codes = index._codes
    fresh = faiss.clone_index(codes._levels)
    fresh.reset()
    fresh.add(codes._rotation.apply(np.array(index.all()[1])))
    return bytes(faiss.rev_swig_ptr(fresh.codes.get(), fresh.codes.size()))


def assert_same(before: list[PersonHits], after: list[PersonHits]) -> None:
    """To the last bit."""
    for one, other in zip(before, after, strict=True):
        assert one.person_ids == other.person_ids
        np.testing.assert_array_equal(one.template_ids, other.template_ids)
        np.testing.assert_array_equal(one.centroid_scores, other.centroid_scores)
        np.testing.assert_array_equal(one.best_scores, other.best_scores)


def test_answers_are_the_same_to_the_last_bit_before_and_after_codes_are_built() -> None:
    gallery, probes = make_gallery(n_people=300), make_embeddings(n=30, seed=5)
    before = gallery.search(probes, 5)
    assert (gallery.wants_codes, gallery.indexes.templates.kind) == (True, "flat")
    gallery.build_codes(threading.Lock())
    assert (gallery.wants_codes, gallery.indexes.templates.kind, gallery.indexes.people.kind) == (
        False,
        "coded",
        "coded",
    )
    assert_same(before, gallery.search(probes, 5))
    assert_same(before, [gallery.search(probe[None], 5)[0] for probe in probes])


def test_only_proposals_are_looked_at() -> None:
    """As it must be when codes are in use: one proposed, one found, which need not be the nearest."""
    index = make_index(n=400, plan=SearchPlan(0, 0.0, 10, (1,), 5))
    probes = make_embeddings(n=200, seed=3)
    held = dict(zip(*index.all(), strict=True))
    found = [near[0] for near in index.search(probes, 1)]
    assert index.state.n_reranked == 2
    assert 0 < sum(key != brute_force(held, probe, 1)[0] for key, probe in zip(found, probes, strict=True)) < 150


Step = tuple[str, int]
STEPS = st.lists(st.tuples(st.sampled_from(["put", "put", "remove", "build"]), st.integers(0, 120)), max_size=40)


@settings(deadline=None, max_examples=40)
@given(STEPS)
def test_whatever_comes_goes_and_is_built_between_the_answer_is_that_of_brute_force(steps: list[Step]) -> None:
    index, vectors = make_index(n=40), make_embeddings(n=200, seed=7)
    held = dict(zip(*index.all(), strict=True))
    held = {key: vector.copy() for key, vector in held.items()}
    for number, (what, key) in enumerate(steps):
        if what == "put":  # a new one, or another vector for one that is there
            held[key] = vectors[number]
            index.put([key], vectors[[number]])
        elif what == "remove" and key in held:
            del held[key]
            index.remove([key])
        elif what == "build":
            index.build_codes(nullcontext(), never)
    probe = vectors[199]
    assert index.state.kind == "coded"
    assert index.search(probe[None], 5)[0] == brute_force(held, probe, 5)
    assert code_bytes(index).rstrip(b"\0") == coded_anew(index).rstrip(b"\0")


def test_many_at_once_come_and_go_across_blocks() -> None:
    index = make_index(n=300)
    index.put(list(range(250, 400)), make_embeddings(n=150, seed=1))
    index.remove([*range(0, 100), 399])
    assert len(index) == 299
    assert code_bytes(index).rstrip(b"\0") == coded_anew(index).rstrip(b"\0")
    index.remove(list(range(100, 399)))
    assert not any(code_bytes(index))
    assert index.search(make_embeddings(n=2), 3) == [[], []]
    index.put([7], make_embeddings(n=1))
    assert (index.search(make_embeddings(n=1), 3), index.all()[0]) == ([[7]], [7])


def test_an_erased_vector_leaves_no_trace_in_memory() -> None:
    index = make_index(n=100)
    before, (_, rows) = code_bytes(index), index.all()
    gone = rows[99].copy()
    memory = faiss.rev_swig_ptr(index._index.get_xb(), 100 * DIM)
    index.remove([99])
    assert index.search(gone[None], 10)[0].count(99) == 0
    assert gone.tobytes() not in memory.tobytes()
    after = code_bytes(index)
    assert len(after) == len(before) and after != before
    assert after.rstrip(b"\0") == coded_anew(index).rstrip(b"\0")
    with pytest.raises(KeyError):
        index.get([99])
    with pytest.raises(RuntimeError):
        index._index.reconstruct(99)


def test_an_erased_person_is_found_no_more_and_one_who_comes_is_found_at_once() -> None:
    gallery = make_gallery(n_people=60)
    gallery.build_codes(threading.Lock())
    probe = gallery.embeddings_of("p7")[:1]
    gallery.remove([21, 22, 23])
    assert "p7" not in gallery.search(probe, 5)[0].person_ids
    gallery.add([1000], ["back"], probe, MODEL)
    assert gallery.search(probe, 1)[0].person_ids[0] == "back"
    assert (gallery.indexes.templates.kind, gallery.n_misfused()) == ("coded", 0)


def test_codes_that_find_too_little_are_not_used_and_it_says_what_they_found() -> None:
    gallery, probes = make_gallery(n_people=300, plan=BLIND), make_embeddings(n=20, seed=5)
    before = gallery.search(probes, 5)
    gallery.build_codes(threading.Lock())
    templates = gallery.indexes.templates
    assert (templates.kind, templates.n_reranked, templates.n_built) == ("flat", 0, 900)
    assert templates.recall is not None and templates.recall.least < BLIND.min_recall
    assert not gallery.wants_codes  # not again before the gallery is another one
    assert_same(before, gallery.search(probes, 5))


def test_effort_is_raised_until_enough_is_found_and_then_doubled() -> None:
    index = make_index(n=900, plan=SearchPlan(0, 0.999, 10, (1, 2, 300, 900), 30))
    assert (index.state.kind, index.state.n_reranked) == ("coded", 600)
    assert index.state.recall is not None and index.state.recall.least >= 0.999
    assert index.state.measured_at is not None


def test_codes_that_once_were_enough_are_dropped_when_they_are_no_more() -> None:
    index = make_index(n=60, plan=SearchPlan(0, 0.999, 10, (50,), 30))
    assert index.state.kind == "coded"
    alike = [make_near(embedding=make_embeddings(n=1)[0], cosine=0.99999, seed=i) for i in range(1, 601)]
    index.put(list(range(60, 660)), np.array(alike))
    assert index.wants_codes
    index.build_codes(nullcontext(), never)
    assert (index.state.kind, index.state.n_built, index._codes) == ("flat", 660, None)


def test_more_than_was_measured_for_is_searched_exactly() -> None:
    index = make_index(n=400, plan=SearchPlan(0, 0.0, 10, (1,), 5))
    held, probe = dict(zip(*index.all(), strict=True)), make_embeddings(n=1, seed=3)[0]
    assert index.search(probe[None], 11)[0] == brute_force(held, probe, 11)


def test_a_small_gallery_stays_flat_and_one_that_outgrows_the_budget_does_not() -> None:
    plan = SearchPlan(flat_up_to_bytes=4 * DIM * 50, n_wanted=10, n_reranked=(200,), n_probes=5)
    index = make_index(n=50, plan=plan, is_built=False)
    assert not index.wants_codes
    index.put([50], make_embeddings(n=1, seed=4))
    assert index.wants_codes
    index.build_codes(nullcontext(), never)
    assert not index.wants_codes
    index.put(list(range(51, 101)), make_embeddings(n=50, seed=5))
    assert not index.wants_codes
    index.put([101], make_embeddings(n=1, seed=6))  # now it has doubled
    assert index.wants_codes


def test_too_few_to_learn_from_are_left_as_they_are() -> None:
    index = make_index(n=15)
    assert (index.wants_codes, index.state.recall) == (False, None)


def test_the_same_vectors_give_the_same_codes() -> None:
    assert code_bytes(make_index(n=300)) == code_bytes(make_index(n=300))


def test_half_a_byte_per_number_and_no_more() -> None:
    index = make_index(n=4096)
    assert len(code_bytes(index)) == 4096 * DIM // 2


@pytest.mark.parametrize("when", range(5))
def test_a_build_that_is_cancelled_leaves_everything_as_it_was(when: int) -> None:
    index, answers = make_index(n=9000, is_built=False), iter([False] * when)
    index.build_codes(nullcontext(), lambda: next(answers, True))
    assert (index.state.kind, index._codes, index._on_trial, index._outdated) == ("flat", None, None, None)
    index.put([9000], make_embeddings(n=1, seed=8))
    assert len(index) == 9001


def test_searches_and_changes_go_on_while_codes_are_built() -> None:
    gallery, lock, is_built = make_gallery(n_people=700), threading.Lock(), threading.Event()
    probe, failures, n_searches = gallery.embeddings_of("p0")[:1], list[BaseException](), list[int]()

    def search() -> None:
        while not is_built.is_set():
            with lock:
                hits = gallery.search(probe, 3)[0]
            n_searches.append(1)
            assert hits.person_ids[0] == "p0" and hits.best_scores[0] == pytest.approx(1, abs=1e-5)

    def change() -> None:
        new = make_embeddings(n=4000, seed=11)
        for number in range(4000):
            if is_built.is_set():
                return
            with lock:
                gallery.add([10_000 + number], [f"n{number}"], new[[number]], MODEL)
                assert gallery.search(new[[number]], 1)[0].person_ids[0] == f"n{number}"
                gallery.remove([3 + number % 2000] if number % 3 else [10_000 + number])

    def guarded(job: object) -> None:
        try:
            job()  # type: ignore[operator]
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(job,)) for job in (search, search, change)]
    for thread in threads:
        thread.start()
    try:
        gallery.build_codes(lock)
    finally:
        is_built.set()
        for thread in threads:
            thread.join()
    assert not failures and n_searches
    assert gallery.indexes.templates.kind == gallery.indexes.people.kind == "coded"
    for index in (gallery._templates, gallery._centroids):
        assert code_bytes(index).rstrip(b"\0") == coded_anew(index).rstrip(b"\0")


def test_no_search_starts_threads_of_its_own() -> None:
    seen = list[int]()

    def search() -> None:
        faiss.omp_set_num_threads(4)
        make_index(n=100).search(make_embeddings(n=3), 2)
        seen.append(faiss.omp_get_max_threads())

    thread = threading.Thread(target=search)
    thread.start()
    thread.join()
    assert seen == [1]
