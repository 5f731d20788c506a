from app.operating_points.recalibrator import Waiting, is_due


def waiting(*, first: float = 100.0, last: float = 100.0, ended: float = 0.0, took: float = 0.0) -> Waiting:
    return Waiting(first_change_s=first, last_change_s=last, last_end_s=ended, last_took_s=took)


def test_changes_are_waited_out() -> None:
    assert not is_due(100.5, waiting())
    assert is_due(101.0, waiting())


def test_changes_that_never_end_are_not_waited_for() -> None:
    assert not is_due(109.0, waiting(last=108.9))
    assert is_due(110.0, waiting(last=109.9))


def test_a_slow_calibration_is_followed_by_a_rest_ten_times_as_long() -> None:
    assert not is_due(149.0, waiting(ended=100.0, took=5.0))
    assert is_due(150.0, waiting(ended=100.0, took=5.0))
