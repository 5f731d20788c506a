"""Which picture of a visitor is sent, when, and whether another one is."""

import pytest

from app.camera.visits import View, Visit
from ml.types import Outcome
from tests.app.camera.factories import make_view


def seen(visit: Visit, *views: View) -> list[View]:
    """Offer views as they come; what is sent meanwhile."""
    sent = []
    for view in views:
        visit.look()
        if visit.wants(view.worth):
            visit.offer(view)
        if (due := visit.due(view.time_s, is_gone=False)) is not None:
            sent.append(due)
    return sent


def stay(*, first_s: float, n: int, worth: float = 0.5, is_good: bool = True) -> list[View]:
    return [make_view(time_s=first_s + 0.1 * number, worth=worth, is_good=is_good) for number in range(n)]


def test_a_good_picture_is_sent_when_it_was_not_beaten_for_most_of_a_second() -> None:
    sent = seen(Visit(), *stay(first_s=0.0, n=3, worth=0.3), *stay(first_s=0.3, n=9, worth=0.6))
    assert [view.time_s for view in sent] == [pytest.approx(0.3)]


def test_whoever_comes_nearer_all_the_time_is_sent_after_two_seconds() -> None:
    views = [make_view(time_s=0.1 * step, worth=0.1 * 1.1**step) for step in range(25)]
    sent = seen(Visit(), *views)
    assert [view.time_s for view in sent] == [pytest.approx(2.0)]


def test_a_poor_picture_waits_for_a_better_one_but_not_for_ever() -> None:
    sent = seen(Visit(), *stay(first_s=0.0, n=30, is_good=False))
    assert len(sent) == 1


def test_the_best_picture_is_sent_when_the_visitor_leaves() -> None:
    visit = Visit()
    assert (
        seen(visit, *stay(first_s=0.0, n=2, worth=0.2), make_view(time_s=0.2, worth=0.4), *stay(first_s=0.3, n=1)) == []
    )
    due = visit.due(1.4, is_gone=True)
    assert due is not None and due.worth == 0.5
    assert visit.due(1.5, is_gone=True) is None


def test_a_glitch_of_the_detector_is_not_sent() -> None:
    visit = Visit()
    assert seen(visit, *stay(first_s=0.0, n=2)) == []
    assert visit.due(3.0, is_gone=True) is None


def test_somebody_who_never_came_near_enough_is_not_sent() -> None:
    visit = Visit()
    for _ in range(50):
        visit.look()
    assert visit.due(5.0, is_gone=True) is None


def test_whoever_was_named_is_not_sent_again() -> None:
    visit = Visit()
    assert len(seen(visit, *stay(first_s=0.0, n=10))) == 1
    visit.answered(Outcome.IDENTIFIED)
    assert seen(visit, *stay(first_s=1.0, n=50, worth=1.0)) == []


def test_nothing_more_is_sent_before_there_is_an_answer() -> None:
    visit = Visit()
    assert len(seen(visit, *stay(first_s=0.0, n=10))) == 1
    assert seen(visit, *stay(first_s=1.0, n=50, worth=1.0)) == []


@pytest.mark.parametrize(
    ("outcome", "worth", "n_more"),
    [
        (Outcome.UNKNOWN, 0.55, 0),
        (Outcome.UNKNOWN, 0.8, 1),
        (Outcome.LOW_QUALITY, 0.55, 0),
        (Outcome.LOW_QUALITY, 0.65, 1),
        (Outcome.ATTACK_SUSPECTED, 1.0, 0),
        (None, 1.0, 0),
    ],
)
def test_another_picture_is_sent_if_it_is_clearly_better(outcome: Outcome | None, worth: float, n_more: int) -> None:
    visit = Visit()
    assert len(seen(visit, *stay(first_s=0.0, n=10, worth=0.5))) == 1
    visit.answered(outcome)
    assert len(seen(visit, *stay(first_s=1.0, n=20, worth=worth))) == n_more


def test_there_are_three_pictures_of_one_visitor_at_most() -> None:
    visit, n_sent = Visit(), 0
    for number in range(6):
        n_sent += len(seen(visit, *stay(first_s=2.0 * number, n=10, worth=0.01 * 2**number)))
        visit.answered(Outcome.LOW_QUALITY)
    assert n_sent == 3


@pytest.mark.parametrize(
    ("is_good_sent", "is_good", "worth", "is_sent"),
    [
        (False, True, 0.8, True),
        (False, True, 0.7, False),
        (False, False, 0.8, False),
        (True, True, 0.8, False),
    ],
)
def test_whoever_leaves_before_an_answer_is_sent_again_only_if_a_poor_picture_waits_and_there_is_a_good_one(
    is_good_sent: bool, is_good: bool, worth: float, is_sent: bool
) -> None:
    visit = Visit()
    assert len(seen(visit, *stay(first_s=0.0, n=22, worth=0.5, is_good=is_good_sent))) == 1
    assert seen(visit, *stay(first_s=3.0, n=5, worth=worth, is_good=is_good)) == []
    due = visit.due(4.0, is_gone=True)
    assert (due is not None) is is_sent
    assert visit.due(4.1, is_gone=True) is None


def test_of_whoever_was_named_no_more_pictures_are_wanted() -> None:
    visit = Visit()
    assert len(seen(visit, *stay(first_s=0.0, n=10))) == 1
    assert visit.wants(0.9)
    visit.answered(Outcome.IDENTIFIED)
    assert not visit.wants(0.9)
