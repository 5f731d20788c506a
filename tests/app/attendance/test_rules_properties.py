"""What holds of every ledger, whatever somebody punches: checked on plans and punches that nobody would think of."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from app.attendance.plan import Assignment, Ledger, Plan, Punch, WorkedDay
from app.attendance.rules import CONTEXT_DAYS, REACH_DAYS, work_out
from tests.app.attendance.plans import BERLIN, EVERY_DAY, make_plan, make_shift

SANTIAGO = "America/Santiago"
ZONES = [BERLIN, SANTIAGO, "Pacific/Kiritimati", "Pacific/Pago_Pago"]
# Mondays some weeks before a clock is changed in Berlin or Santiago.
BEGINNINGS = [datetime(2026, 3, 9, tzinfo=UTC), datetime(2026, 8, 17, tzinfo=UTC), datetime(2026, 10, 5, tzinfo=UTC)]
# The same for the plan and the punches of an example.
BEGINNING = st.shared(st.sampled_from(BEGINNINGS), key="beginning")
N_DAYS = 40

DAY = make_shift(hours="07:00-15:00", name="Day", breaks=["10:00-10:30"])
NIGHT = make_shift(hours="22:00-06:00", name="Night", days=EVERY_DAY)
DOOR = make_shift(hours="14:00-22:00", name="Door", first_last=True, days=EVERY_DAY)
MORNING = make_shift(hours="08:00-12:00", name="Morning")
AFTERNOON = make_shift(hours="13:00-17:00", name="Afternoon", half_day_below_s=3 * 3600, absent_below_s=3600)
# Windows as long as they may be, so that they reach as far as they can.
WATCH = make_shift(hours="08:00-08:00", name="Watch", days=EVERY_DAY, early_window_s=0, late_window_s=0)
LONG_EARLY = make_shift(hours="23:30-00:30", name="Early", days=EVERY_DAY, early_window_s=23 * 3600, late_window_s=0)
LONG_LATE = make_shift(hours="23:00-00:00", name="Latest", days=EVERY_DAY, early_window_s=0, late_window_s=23 * 3600)
SHIFTS = [DAY, NIGHT, DOOR, MORNING, AFTERNOON, WATCH, LONG_EARLY, LONG_LATE]


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    shifts = draw(st.lists(st.sampled_from(SHIFTS), unique=True, max_size=4))
    roster = [replace(one, is_standing=False) for one in draw(st.lists(assignments(), max_size=2))]
    off = draw(st.sets(st.integers(0, N_DAYS), max_size=3))
    begin = draw(BEGINNING).date()
    usual = tuple(Assignment(shift) for shift in shifts)
    return Plan((*usual, *roster), {begin + timedelta(days=n): "Holiday" for n in off}, BERLIN)


@st.composite
def assignments(draw: st.DrawFn) -> Assignment:
    first = draw(BEGINNING).date() + timedelta(days=draw(st.integers(0, N_DAYS)))
    return Assignment(draw(st.sampled_from(SHIFTS)), first, first + timedelta(days=draw(st.integers(0, 9))))


@st.composite
def punches(draw: st.DrawFn) -> list[Punch]:
    """Now and then as people do it, now and then in long rows, which are as far as one punch can matter."""
    begin = draw(BEGINNING)
    starts = draw(st.lists(st.integers(0, N_DAYS * 24 * 12), min_size=1, max_size=12))
    steps = [5 * start for start in starts]
    for start in draw(st.lists(st.integers(0, N_DAYS * 24), max_size=3)):
        every, times = draw(st.sampled_from([(1, 5), (20, 40), (60, 30), (59, 40)]))
        steps += [60 * start + every * n for n in range(times)]
    return [
        Punch(
            f"p{position:04}",
            begin + timedelta(minutes=minutes),
            draw(st.sampled_from(ZONES[:2] if position % 3 else ZONES)),
            draw(st.sampled_from([None, None, None, "in", "out"])),
            draw(st.sampled_from([0, 60, 120, 3600, 10**6])),
        )
        for position, minutes in enumerate(steps)
    ]


def one_day(punch: Punch) -> date:
    return punch.at.astimezone(UTC).date()


def far_from(day: date, other: date) -> bool:
    return abs((day - other).days) > REACH_DAYS


def days_of(ledger: Ledger) -> dict[date, WorkedDay]:
    return {day.local_date: day for day in ledger.days}


@given(said=punches(), plan=plans(), data=st.data())
def test_the_order_in_which_punches_arrive_does_not_matter(said: list[Punch], plan: Plan, data: st.DataObject) -> None:
    assert work_out(data.draw(st.permutations(said)), plan) == work_out(said, plan)


@given(said=punches(), plan=plans(), data=st.data())
def test_sending_punches_twice_does_not_change_a_day(said: list[Punch], plan: Plan, data: st.DataObject) -> None:
    again = data.draw(st.lists(st.sampled_from(said), max_size=10, unique_by=lambda punch: punch.id))
    copies = [replace(punch, id=f"copy of {punch.id}") for punch in again]

    assert work_out([*copies, *said, *again], plan).days == work_out(said, plan).days


@given(said=punches(), plan=plans(), data=st.data())
def test_looking_once_more_does_not_change_a_day(said: list[Punch], plan: Plan, data: st.DataObject) -> None:
    """As long as it does not make a bridge: what would come within a window of the second look alone is left out."""
    ordered = sorted(said, key=lambda punch: punch.at)
    looked = data.draw(st.sampled_from(ordered))
    delay_s = data.draw(st.integers(1, 120))
    again = replace(looked, id="again", at=looked.at + timedelta(seconds=delay_s), repeat_window_s=120)
    bridged = [
        punch
        for punch in ordered
        if punch.at >= looked.at and punch.id != looked.id and (punch.at - again.at).total_seconds() <= 3600
    ]
    kept = [punch for punch in ordered if punch not in bridged]

    assert work_out([*kept, again], plan).days == work_out(kept, plan).days


@given(said=punches(), plan=plans(), data=st.data())
def test_a_punch_changes_no_day_that_is_far_away(said: list[Punch], plan: Plan, data: st.DataObject) -> None:
    changed = data.draw(st.sampled_from(said))
    near = one_day(changed)

    with_it, without_it = work_out(said, plan), work_out([punch for punch in said if punch is not changed], plan)

    before, after = days_of(without_it), days_of(with_it)
    assert {day for day in before | after if before.get(day) != after.get(day) and far_from(day, near)} == set()
    old = {one.id: one for one in without_it.punches}
    moved = [(old[one.id], one) for one in with_it.punches if one.id in old and old[one.id] != one]
    assert not [one for pair in moved for one in pair if far_from(one.local_date, near)]


@given(said=punches(), plan=plans(), data=st.data())
def test_what_is_near_is_enough_to_work_out_what_is_near(said: list[Punch], plan: Plan, data: st.DataObject) -> None:
    """Just as a ledger does it that loads the punches around a change."""
    changed = data.draw(st.sampled_from(said))
    context = timedelta(days=CONTEXT_DAYS)
    loaded = [punch for punch in said if abs(punch.at - changed.at) <= context]

    everything, some = work_out(said, plan), work_out(loaded, plan)

    near = one_day(changed)
    assert within(everything, near) == within(some, near)


def within(ledger: Ledger, near: date) -> tuple[list[WorkedDay], list[object]]:
    return (
        [day for day in ledger.days if not far_from(day.local_date, near)],
        [one for one in ledger.punches if not far_from(one.local_date, near)],
    )


@given(said=punches(), plan=plans())
def test_every_punch_is_judged_once_and_counted_on_its_day(said: list[Punch], plan: Plan) -> None:
    ledger = work_out(said, plan)

    assert sorted(one.id for one in ledger.punches) == sorted(punch.id for punch in said)
    firsts = {one.id: one for one in ledger.punches if one.duplicate_of is None}
    for day in ledger.days:
        assert day.n_events == sum(one.local_date == day.local_date for one in firsts.values()) > 0
    for one in ledger.punches:
        if one.duplicate_of is not None:
            first = firsts[one.duplicate_of]
            assert (one.local_date, one.shift_id, one.direction) == (first.local_date, first.shift_id, first.direction)


@given(said=punches(), plan=plans())
def test_nobody_works_longer_than_they_were_there(said: list[Punch], plan: Plan) -> None:
    for day in work_out(said, plan).days:
        there_s = (day.last_out - day.first_in).total_seconds() if day.first_in and day.last_out else 0.0
        assert 0 <= day.worked_s <= max(there_s, 0)
        assert min(day.break_s, day.late_s, day.early_leave_s, day.overtime_s) >= 0
        assert day.first_in is None or day.first_in < day.closes_at


@given(said=punches(), plan=plans())
def test_a_day_is_the_sum_of_its_parts(said: list[Punch], plan: Plan) -> None:
    for day in work_out(said, plan).days:
        for name in ("worked_s", "break_s", "late_s", "early_leave_s", "overtime_s"):
            assert getattr(day, name) == sum(getattr(part, name) for part in day.parts)
        assert day.parts
        assert len({part.shift_id for part in day.parts}) == len(day.parts)


def test_a_ledger_that_is_kept_up_punch_by_punch_is_the_one_worked_out_at_once() -> None:
    plan = make_plan(DAY, NIGHT)
    ats = [datetime(2026, 3, 20, tzinfo=UTC) + timedelta(hours=7 * n + n * n % 5) for n in range(90)]
    late_first = [Punch(f"p{n:02}", at, BERLIN) for n, at in enumerate(ats)][::-1]
    kept: dict[date, WorkedDay] = {}

    for n, punch in enumerate(late_first, start=1):
        keep_up(kept, late_first[:n], punch, plan)

    assert kept == days_of(work_out(late_first, plan))


def keep_up(kept: dict[date, WorkedDay], said: Sequence[Punch], new: Punch, plan: Plan) -> None:
    loaded = [punch for punch in said if abs(punch.at - new.at) <= timedelta(days=CONTEXT_DAYS)]
    found = days_of(work_out(loaded, plan))
    for offset in range(-REACH_DAYS, REACH_DAYS + 1):
        day = one_day(new) + timedelta(days=offset)
        kept.pop(day, None)
        if day in found:
            kept[day] = found[day]
