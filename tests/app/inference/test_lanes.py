"""Whose turn it is, and who shares a batch."""

from app.inference.admission import NOTHING, Size
from app.inference.lanes import BULK_PATIENCE_S, Lanes, Waiting
from app.inference.port import Ask, BatchLimits, Lane
from tests.app.inference.fakes import make_ask

LIMITS = BatchLimits(max_images=4, max_pixels=100)


def wait_in(lanes: Lanes, *, lane: Lane = Lane.INTERACTIVE, since_s: float = 0.0, ask: Ask | None = None) -> Waiting:
    waiting = Waiting(ask or make_ask(), lane, since_s)
    lanes.add(waiting)
    return waiting


def test_an_interactive_ask_goes_before_bulk_ones_that_came_first() -> None:
    lanes = Lanes(LIMITS)
    job = wait_in(lanes, lane=Lane.BULK)
    camera = wait_in(lanes, since_s=0.5)
    assert lanes.next_lane(1.0) is Lane.INTERACTIVE
    assert lanes.take(Lane.INTERACTIVE, 0.0) == [camera]
    assert lanes.next_lane(1.0) is Lane.BULK
    assert lanes.take(Lane.BULK, 0.0) == [job]
    assert lanes.next_lane(1.0) is None


def test_a_job_that_has_waited_long_enough_goes_first_once() -> None:
    lanes = Lanes(BatchLimits(max_images=1, max_pixels=100))
    for _ in range(2):  # a clip's frames come together
        wait_in(lanes, lane=Lane.BULK, since_s=0.0)
    wait_in(lanes)
    assert lanes.next_lane(BULK_PATIENCE_S - 0.01) is Lane.INTERACTIVE
    assert lanes.next_lane(BULK_PATIENCE_S) is Lane.BULK
    lanes.take(Lane.BULK, BULK_PATIENCE_S)
    assert lanes.next_lane(2 * BULK_PATIENCE_S - 0.01) is Lane.INTERACTIVE
    assert lanes.next_lane(2 * BULK_PATIENCE_S) is Lane.BULK
    assert lanes.next_lane(2 * BULK_PATIENCE_S, may_be_bulk=False) is Lane.INTERACTIVE


def test_a_batch_ends_where_the_next_one_no_longer_fits_and_nobody_is_overtaken() -> None:
    lanes = Lanes(LIMITS)
    small, large, last = (wait_in(lanes, ask=make_ask(height=side, width=10)) for side in (3, 8, 2))
    assert lanes.take(Lane.INTERACTIVE, 0.0) == [small]
    assert lanes.take(Lane.INTERACTIVE, 0.0) == [large, last]


def test_images_are_counted_and_not_asks_and_one_ask_is_never_split() -> None:
    lanes = Lanes(LIMITS)
    pair, three, nine = (wait_in(lanes, ask=make_ask(n_images=n)) for n in (2, 3, 9))
    assert lanes.take(Lane.INTERACTIVE, 0.0) == [pair]
    assert lanes.take(Lane.INTERACTIVE, 0.0) == [three]
    assert lanes.take(Lane.INTERACTIVE, 0.0) == [nine]


def test_who_cancelled_is_not_run() -> None:
    lanes = Lanes(LIMITS)
    gone, there = wait_in(lanes), wait_in(lanes)
    gone.future.cancel()
    assert lanes.take(Lane.INTERACTIVE, 0.0) == [there]
    assert there.future.running()


def test_sizes_follow_who_comes_and_goes() -> None:
    lanes = Lanes(LIMITS)
    first, second = (wait_in(lanes, ask=make_ask(n_images=n, height=2, width=3)) for n in (1, 2))
    assert lanes.size(Lane.INTERACTIVE) == Size(3, 18)
    lanes.remove(first.future)
    lanes.remove(first.future)
    assert lanes.size(Lane.INTERACTIVE) == Size(2, 12)
    wait_in(lanes, lane=Lane.BULK)
    assert lanes.clear()[0] is second
    assert lanes.size(Lane.INTERACTIVE) == lanes.size(Lane.BULK) == NOTHING


def test_a_batch_lingers_only_where_that_pays_and_only_while_there_is_room() -> None:
    eager, patient = Lanes(LIMITS), Lanes(BatchLimits(max_images=2, max_pixels=100, linger_s=0.01))
    wait_in(eager, since_s=5.0)
    assert eager.linger_s(Lane.INTERACTIVE, 5.0) == 0.0
    wait_in(patient, since_s=5.0)
    assert 0.003 < patient.linger_s(Lane.INTERACTIVE, 5.006) < 0.005
    assert patient.linger_s(Lane.INTERACTIVE, 5.02) == 0.0
    wait_in(patient, since_s=5.001)
    assert patient.linger_s(Lane.INTERACTIVE, 5.002) == 0.0


def test_a_batch_that_has_no_room_for_the_next_ask_does_not_linger() -> None:
    lanes = Lanes(BatchLimits(max_images=9, max_pixels=100, linger_s=0.01))
    wait_in(lanes, since_s=5.0, ask=make_ask(height=9, width=10))
    wait_in(lanes, since_s=5.0, ask=make_ask(height=9, width=10))
    assert lanes.linger_s(Lane.INTERACTIVE, 5.0) == 0.0
