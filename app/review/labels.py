"""What operators said of decisions, counted: the evidence of the live estimate."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.db.tables import DecisionRow, Event, EventCorrection
from app.db.types import utc_now
from app.operating_points import schemas
from app.review import queries
from app.review.estimate import NamedFaces, Rates, UnnamedFaces, Words, estimate, n_to_judge
from ml.types import Interval

WINDOW_DAYS: Final = 30
_DECIDED: Final = ("identified", "unknown")


Word: TypeAlias = tuple[datetime, str | None]
"""When something was said, to the microsecond, and by whom: all that follows from it bears that."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One decision of which somebody said what it should have been; `true_person_id`, if somebody said.

    What was said of a whole cluster, and follows for faces that join it later, is one `word`; None is one by itself.
    """

    at: datetime
    outcome: str
    is_correct: bool
    true_person_id: str | None
    word: Word | None = None


def live_estimate(session: Session, model: str, days: int = WINDOW_DAYS) -> schemas.LiveEstimate:
    """How often strangers were named and enrolled people missed of late, by what operators said.

    All faces that this backbone decided about in these days count, at whichever operating points were in force: these
    change with every enrolment, so that those of the present one alone would never be enough.
    """
    since = utc_now() - timedelta(days=days)
    sizes = _sizes(session, model, since)
    judged = _judged(session, model, since)
    people = queries.enrolled_since(session, {each.true_person_id for each in judged if each.true_person_id})
    named, unnamed = strata(sizes, judged, people)
    return _view(days, model, named, unnamed, estimate(named, unnamed))


def strata(
    sizes: dict[str, int], judged: Iterable[Judged], enrolled_since: dict[str, datetime]
) -> tuple[NamedFaces, UnnamedFaces]:
    """Count what was judged, by stratum, and of unnamed faces the words that this took.

    Somebody who was not enrolled when their face was looked for was a stranger then. Where nobody says who it was, "not
    this person" is taken for a stranger, and "not nobody" for somebody enrolled.
    """
    n_of: Counter[tuple[str, str]] = Counter()
    missed_of: dict[object, list[bool]] = {}
    for number, each in enumerate(judged):
        kind = _kind(each, enrolled_since)
        n_of[each.outcome, kind] += 1
        if each.outcome == "unknown":
            missed_of.setdefault(each.word or number, []).append(kind == "enrolled")
    named = NamedFaces(
        sizes.get("identified", 0),
        n_right=n_of["identified", "right"],
        n_stranger=n_of["identified", "stranger"],
        n_somebody_else=n_of["identified", "enrolled"],
    )
    strangers = n_of["unknown", "right"] + n_of["unknown", "stranger"]
    said_missed = sum(sum(missed) / len(missed) for missed in missed_of.values())
    unnamed = UnnamedFaces(
        sizes.get("unknown", 0),
        n_stranger=strangers,
        n_missed=n_of["unknown", "enrolled"],
        words=Words(stranger=len(missed_of) - said_missed, missed=said_missed),
    )
    return named, unnamed


def _kind(judged: Judged, enrolled_since: dict[str, datetime]) -> str:
    since = enrolled_since.get(judged.true_person_id) if judged.true_person_id else None
    was_enrolled = since is not None and since <= judged.at
    is_named_by_nobody = judged.true_person_id is None and judged.outcome == "unknown"
    return "right" if judged.is_correct else "enrolled" if was_enrolled or is_named_by_nobody else "stranger"


def _sizes(session: Session, model: str, since: datetime) -> dict[str, int]:
    of = select(DecisionRow.outcome, func.count()).where(DecisionRow.at >= since, DecisionRow.model == model)
    rows = session.execute(of.where(DecisionRow.outcome.in_(_DECIDED)).group_by(DecisionRow.outcome))
    return {outcome: n for outcome, n in rows}


def _judged(session: Session, model: str, since: datetime) -> list[Judged]:
    """What was said of decisions, and what was corrected in the ledger without a word about the decision."""
    columns = (
        DecisionRow.at,
        DecisionRow.outcome,
        DecisionRow.is_correct,
        DecisionRow.person_id,
        DecisionRow.true_person_id,
        DecisionRow.judged_at,
        DecisionRow.judged_by,
        Event.person_id.label("event_person_id"),
    )
    corrected = DecisionRow.id.in_(select(EventCorrection.event_id))
    of = (
        select(*columns)
        .outerjoin(Event, Event.id == DecisionRow.id)
        .where(DecisionRow.judged_at.is_not(None) | corrected)
    )
    of = of.where(DecisionRow.at >= since, DecisionRow.model == model, DecisionRow.outcome.in_(_DECIDED))
    found = []
    for row in session.execute(of):
        is_given_away = row.event_person_id is not None and row.event_person_id != row.person_id
        if row.is_correct is not None:
            word = (row.judged_at, row.judged_by)
            found.append(Judged(row.at, row.outcome, row.is_correct, row.true_person_id, word))
        elif is_given_away:
            found.append(Judged(row.at, row.outcome, False, row.event_person_id))
    return found


def _view(days: int, model: str, named: NamedFaces, unnamed: UnnamedFaces, rates: Rates) -> schemas.LiveEstimate:
    return schemas.LiveEstimate(
        days=days,
        model=model,
        n_identified=named.n,
        n_identified_judged=named.n_judged,
        n_unknown=unnamed.n,
        n_unknown_judged=unnamed.n_judged,
        fpir=_interval(rates.fpir),
        fnir=_interval(rates.fnir),
        misidentification=_interval(rates.misidentification),
        advice=_advice(named, unnamed),
        n_identified_wanted=_named_wanted(named),
        n_unknown_wanted=_unnamed_wanted(unnamed),
    )


def _interval(rate: Interval | None) -> schemas.Interval | None:
    return schemas.Interval.model_validate(rate) if rate is not None else None


def _advice(named: NamedFaces, unnamed: UnnamedFaces) -> str | None:
    """What has to be judged before there is an estimate; None when there is."""
    if not named.n + unnamed.n:
        return "No face was decided about in this time."
    wanted = []
    if n := _named_wanted(named):
        wanted.append(f"at least {n} more events that name somebody (POST /v1/events/{{id}}/feedback)")
    if n := _unnamed_wanted(unnamed):
        wanted.append(f"at least {n} more unknown faces (POST /v1/unknowns/{{id}}/assign or dismiss, or feedback)")
    return f"Judge {' and '.join(wanted)}, as they come and not only doubtful ones." if wanted else None


def _named_wanted(named: NamedFaces) -> int:
    return n_to_judge(named.n, named.n_judged, named.n_judged)


def _unnamed_wanted(unnamed: UnnamedFaces) -> int:
    return n_to_judge(unnamed.n, unnamed.n_judged, unnamed.said.n)
