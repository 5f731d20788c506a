"""What the service is told of the device's clock: the error that a capture's time has, not that of the moment."""

from datetime import timedelta

from app.camera.captures import device_time
from app.camera.clock import read_clocks
from tests.app.camera.factories import MORNING, make_capture, make_stamp


def test_a_capture_that_waited_is_told_by_the_clock_it_was_stamped_with() -> None:
    """The wall clock was an hour slow, and was put right while the capture waited for ten minutes."""
    capture = make_capture(stamp=make_stamp(wall=MORNING, up_s=100.0))
    now = make_stamp(wall=MORNING + timedelta(minutes=70), up_s=700.0)
    assert device_time(capture, now) == MORNING + timedelta(minutes=10)


def test_the_clock_put_back_makes_no_difference_either() -> None:
    capture = make_capture(stamp=make_stamp(wall=MORNING, up_s=100.0))
    assert device_time(capture, make_stamp(wall=MORNING - timedelta(days=1), up_s=130.0)) == MORNING + timedelta(
        seconds=30
    )


def test_after_a_restart_of_the_device_nothing_is_told() -> None:
    capture = make_capture(stamp=make_stamp(boot_id="before"))
    assert device_time(capture, make_stamp(boot_id="after", up_s=5000.0)) is None


def test_the_clocks_go_on_together() -> None:
    first, second = read_clocks(), read_clocks()
    assert first.boot_id == second.boot_id and first.up_s <= second.up_s
    assert first.wall.utcoffset() == timedelta(0)
    carried_on = first.carried_on(second)
    assert carried_on is not None and abs(carried_on - second.wall) < timedelta(seconds=1)
