"""The rules of attendance: punches and a plan in, days that say why out. Pure: no clock, no database.

    punches ─► presences ─► slots: a shift on a date ─► INs and OUTs ─► worked time ─► days
            presences.py    placing.py, shift_times.py   directions.py  judging.py   adding_up.py
    and what of it can be told in words: explaining.py

Nothing depends on the order in which punches arrive, and nothing on what is far away, so that a ledger can be kept up
by working out a few days at a time. With u the UTC date of a punch that was added, moved or taken away:

- only days, and events of days, from u - REACH_DAYS to u + REACH_DAYS can differ;
- the punches from CONTEXT_DAYS before it to CONTEXT_DAYS after it are enough to work those days out.

What is assigned on a date, or a holiday on it, reaches no farther either.

Why these numbers: a presence lasts less than two pieces (24 h) and may hang together with what comes a repeat window
(1 h) later, so a punch changes presences from 24 h before to 25 h after it. Windows are no longer than a day, so such a
presence changes where those less than a day from it belong, and these belong to dates up to another day away. With
14 h for the wall clocks of the world that is 24 + 48 + 14 h back and 25 + 48 + 14 h on: 4 dates. To get a date right
takes the presences two days to each side of it, thus up to 7 dates from u, and to get those right takes 14 h for the
clock and 48 h for where a row of punches begins: 10 days.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from typing import Final

from app.attendance.adding_up import day_of
from app.attendance.directions import directions
from app.attendance.explaining import part_words, presence_words, repeat_words
from app.attendance.judging import Stay, figures_of, part_of, status_of, stay_of
from app.attendance.placing import Slot, Timetable, placed
from app.attendance.plan import Direction, JudgedPunch, Ledger, Plan, Punch, ShiftPart, WorkedDay
from app.attendance.presences import Presence, order_of, presences_of
from app.attendance.shift_limits import refuse_impossible
from app.attendance.shift_times import Interval

__all__ = ["CONTEXT_DAYS", "REACH_DAYS", "expected_day", "refuse_impossible", "work_out"]

CONTEXT_DAYS: Final = 10
REACH_DAYS: Final = 4

_Members = Sequence[tuple[Presence, Slot]]


def work_out(punches: Sequence[Punch], plan: Plan) -> Ledger:
    """Judge one person's punches, in whatever order they come, and the days that have one.

    Raises:
        ValueError: two different punches have the same id.
    """
    timetable = Timetable(plan)
    by_date: dict[date, list[tuple[Presence, Slot]]] = defaultdict(list)
    for presence, slot in placed(presences_of(punches), timetable):
        by_date[slot.local_date].append((presence, slot))
    days = [work_out_day(local_date, by_date[local_date], timetable) for local_date in sorted(by_date)]
    order = {punch.id: order_of(punch) for punch in punches}
    judged = sorted((one for _, of_day in days for one in of_day), key=lambda one: order[one.id])
    return Ledger(tuple(judged), tuple(day for day, _ in days))


def expected_day(local_date: date, plan: Plan) -> WorkedDay:
    """A day on which nobody was seen: absent, a day off or a holiday."""
    return work_out_day(local_date, [], Timetable(plan))[0]


def work_out_day(local_date: date, members: _Members, timetable: Timetable) -> tuple[WorkedDay, list[JudgedPunch]]:
    """`members` are the presences of the date, in order, with their slots. The wall clock is that of the first one."""
    plan = timetable.plan
    zone = members[0][1].zone if members else plan.home_zone
    counted: list[Interval] = []
    parts: list[ShiftPart] = []
    judged: list[JudgedPunch] = []
    slots = slots_of(local_date, zone, members, timetable)
    for slot in slots:
        presences = [presence for presence, its_slot in members if its_slot.key == slot.key]
        found = directions(presences, slot)
        stay = stay_of(slot, presences, found, counted)
        counted += stay.worked
        parts.append(judged_part(stay, plan))
        judged += judged_punches(slot, presences, found)
    date_slot = timetable.date_slot(local_date, zone)
    # Who goes on working in another zone still has that one's time.
    closing = [slot.times.closes_at for slot in (*slots, *(slot for _, slot in members))]
    closes_at = max(closing, default=date_slot.times.closes_at)
    return day_of(date_slot, parts, closes_at, len(members), plan.holidays.get(local_date)), judged


def slots_of(local_date: date, zone: str, members: _Members, timetable: Timetable) -> list[Slot]:
    """The shifts of a date that somebody came to, or should have; then the date itself, for what is outside of them.

    Each is seen in the zone of the first presence in it.
    """
    used = {slot.key: slot for _, slot in reversed(members)}
    due = [slot for slot in timetable.slots(local_date, zone) if slot.expectation == "expected"]
    found = {slot.key: slot for slot in due} | used
    return sorted(found.values(), key=lambda slot: (slot.shift is None, *slot.order))


def judged_part(stay: Stay, plan: Plan) -> ShiftPart:
    figures = figures_of(stay)
    status = status_of(stay, figures)
    holiday = plan.holidays.get(stay.slot.local_date)
    return part_of(stay, figures, status, part_words(stay, figures, status, holiday))


def judged_punches(slot: Slot, presences: Sequence[Presence], found: Sequence[Direction | None]) -> list[JudgedPunch]:
    """The first punch of each presence says why it is what it is; the others say what they repeat."""
    ats = [presence.at for presence in presences]
    shift_id = slot.shift.id if slot.shift else None
    judged = []
    for position, (presence, direction) in enumerate(zip(presences, found, strict=True)):
        first, *repeats = presence.punches
        words = presence_words(slot, ats, found, position, first.zone)
        judged.append(JudgedPunch(first.id, slot.local_date, shift_id, direction, None, words))
        for repeat in repeats:
            words = repeat_words(first.at, first.zone)
            judged.append(JudgedPunch(repeat.id, slot.local_date, shift_id, direction, first.id, words))
    return judged
