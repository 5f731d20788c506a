import random
from datetime import timedelta

import pytest

from app.attendance.plan import Direction, Punch
from app.attendance.presences import in_order, is_mere_repeat, presences_of
from tests.app.attendance.plans import make_moment, make_punch


def said(*punches: Punch) -> list[str]:
    """The ids of each presence, in order."""
    return ["".join(one.id for one in presence.punches) for presence in presences_of(punches)]


def row(*, minutes: int, every: int, window_s: int = 120, at: str = "2026-03-02 01:00") -> list[Punch]:
    start = make_moment(text=at, zone="UTC")
    ats = (start + timedelta(minutes=n) for n in range(0, minutes + 1, every))
    return [Punch(f"{position:06}", at, "UTC", None, window_s) for position, at in enumerate(ats)]


@pytest.mark.parametrize(
    ("seconds", "groups"),
    [(0, ["ab"]), (119, ["ab"]), (120, ["ab"]), (121, ["a", "b"])],
)
def test_a_punch_within_the_window_of_the_one_before_is_a_repeat(seconds: int, groups: list[str]) -> None:
    first = make_punch(id="a", at="2026-03-02 09:00")
    second = Punch("b", first.at + timedelta(seconds=seconds), first.zone)

    assert said(first, second) == groups


def test_the_window_of_the_later_punch_counts() -> None:
    short = make_punch(id="a", at="2026-03-02 09:00", window_s=0)
    long = make_punch(id="b", at="2026-03-02 09:05", window_s=600)
    short_again = make_punch(id="c", at="2026-03-02 09:06", window_s=0)

    assert said(short, long, short_again) == ["ab", "c"]


def test_a_window_of_nothing_repeats_only_what_happened_at_once() -> None:
    assert said(*(make_punch(id=id, at="2026-03-02 09:00", window_s=0) for id in "ba")) == ["ab"]


def test_who_stands_there_for_an_hour_is_there_once() -> None:
    assert len(presences_of(row(minutes=60, every=2))) == 1


def test_another_direction_is_another_presence_however_soon_it_comes() -> None:
    came = make_punch(id="a", at="2026-03-02 09:00:00", given="in")
    unsaid = make_punch(id="b", at="2026-03-02 09:00:10")
    left = make_punch(id="c", at="2026-03-02 09:00:20", given="out")

    assert said(came, unsaid, left) == ["ab", "c"]
    assert [presence.given for presence in presences_of([left, unsaid, came])] == ["in", "out"]


def test_a_copy_of_an_in_that_happens_together_with_an_out_lies_next_to_the_in() -> None:
    at = "2026-03-02 09:00"
    came, again = (make_punch(id=id, at=at, given="in") for id in "az")
    left = make_punch(id="m", at=at, given="out")

    assert said(came, left, again) == ["az", "m"]


def test_a_copy_lies_next_to_its_punch_whatever_else_happens_at_that_moment() -> None:
    at = "2026-03-02 09:00"
    before = make_punch(id="b", at="2026-03-02 08:50")
    narrow, wide = make_punch(id="m", at=at, window_s=0), make_punch(id="n", at=at, window_s=3600)
    copy = make_punch(id="a", at=at, window_s=3600)

    assert said(before, narrow, wide) == ["bnm"]
    assert said(before, narrow, wide, copy) == ["banm"]


def test_the_same_punch_twice_is_one_punch() -> None:
    punch = make_punch(id="a", at="2026-03-02 09:00")

    assert said(punch, punch) == ["a"]


def test_two_punches_of_one_id_are_refused() -> None:
    punches = [make_punch(id="a", at="2026-03-02 09:00"), make_punch(id="a", at="2026-03-02 09:01")]

    with pytest.raises(ValueError, match="two different punches have the id 'a'"):
        presences_of(punches)


def test_a_row_of_punches_without_an_end_begins_anew_at_noon_and_at_midnight() -> None:
    presences = presences_of(row(minutes=3 * 24 * 60, every=2))

    # A whole piece, from 12:00 to 24:00, must have passed first.
    starts = [presence.at.strftime("%d %H:%M") for presence in presences]
    assert starts == ["02 01:00", "03 00:00", "03 12:00", "04 00:00", "04 12:00", "05 00:00"]


def test_where_a_long_row_begins_anew_does_not_depend_on_what_lies_two_pieces_back() -> None:
    whole = row(minutes=4 * 24 * 60, every=30, window_s=3600)
    late = presences_of(whole[50:])
    known = whole[50].at + timedelta(hours=24)

    assert [one for one in presences_of(whole) if one.at >= known] == [one for one in late if one.at >= known]


def test_a_working_day_before_a_camera_is_one_presence() -> None:
    assert len(presences_of(row(minutes=11 * 60, every=1, at="2026-03-02 07:00"))) == 1


def test_a_window_of_a_week_is_taken_to_be_an_hour() -> None:
    first = make_punch(id="a", at="2026-03-02 09:00")
    week_s = 7 * 24 * 3600
    near = make_punch(id="b", at="2026-03-02 10:00", window_s=week_s)
    far = make_punch(id="c", at="2026-03-02 11:00:01", window_s=week_s)

    assert said(first, near, far) == ["ab", "c"]


@pytest.mark.parametrize("seed", range(20))
def test_a_mere_repeat_joins_the_presence_before_it_and_leaves_all_others_as_they_are(seed: int) -> None:
    rng = random.Random(seed)
    start = make_moment(text="2026-03-02 11:30", zone="UTC")
    given: list[Direction | None] = [None, None, None, "in", "out"]
    ats = [start + timedelta(seconds=30 * rng.randrange(rng.choice((40, 300, 3000)))) for _ in range(30)]
    punches = in_order(
        Punch(str(n), at, "UTC", rng.choice(given), rng.choice([60, 120, 600])) for n, at in enumerate(ats)
    )
    for position, punch in enumerate(punches[1:], start=1):
        before, after = punches[position - 1], punches[position + 1] if position + 1 < len(punches) else None
        if not is_mere_repeat(punch, before, after):
            continue
        without = presences_of(one for one in punches if one is not punch)
        left = [(tuple(one for one in each.punches if one is not punch), each.given) for each in presences_of(punches)]
        assert left == [(each.punches, each.given) for each in without]
        assert any({punch, before} <= set(each.punches) for each in presences_of(punches))


def test_where_a_long_row_begins_anew_is_no_mere_repeat() -> None:
    whole = row(minutes=3 * 24 * 60, every=2)

    for presence in presences_of(whole)[1:]:
        place = whole.index(presence.first)
        assert not is_mere_repeat(whole[place], whole[place - 1], whole[place + 1])
