"""How the status of a day is shown: a word, a letter for small places, and a colour."""

from dataclasses import dataclass, replace
from typing import Final

from app.dashboard.frame.messages import translate
from app.dashboard.frame.navigation import N_


@dataclass(frozen=True, slots=True)
class Look:
    """`kind` is a colour of the style sheet: good, warn, bad, accent or none. Words and letters are translated."""

    word: str
    letter: str
    kind: str = ""


# Those of the rules, and of days without events what was planned: `off`, `free` (a holiday), `none`, `future`.
LOOKS: Final = {
    "present": Look(N_("Present"), "✓", "good"),
    "late": Look(N_("Late"), N_("L"), "warn"),
    "half_day": Look(N_("Half day"), "½", "warn"),
    "absent": Look(N_("Absent"), N_("A"), "bad"),
    "missing_out": Look(N_("Check-out missing"), "?", "bad"),
    "missing_in": Look(N_("Check-in missing"), "?", "bad"),
    "day_off": Look(N_("Worked on a day off"), "+", "accent"),
    "holiday": Look(N_("Worked on a holiday"), "+", "accent"),
    "open": Look(N_("Not over yet"), "…", "accent"),
    "off": Look(N_("Day off"), "–"),
    "free": Look(N_("Holiday"), N_("H")),
    "none": Look(N_("Nothing recorded"), ""),
    "future": Look(N_("Still to come"), ""),
}
_WORKED: Final = N_("%(hours)s worked")
_EARLY: Final = N_("left early")
_APPROVALS: Final = {"current": N_("approved"), "changed": N_("changed after it was approved")}
METHODS: Final = {"face": N_("Face"), "pin": N_("PIN"), "badge": N_("Badge"), "manual": N_("By hand")}


def span(seconds: int) -> str:
    """Hours and whole minutes, as the explanations count them: what is left over of a minute is not told."""
    minutes = seconds // 60
    return f"{minutes // 60}:{minutes % 60:02}"


class Speaker:
    """Says what days were, in one language: a grid has hundreds of them, so each word is looked up once."""

    def __init__(self, language: str) -> None:
        self.looks = {
            name: replace(look, word=translate(language, look.word), letter=translate(language, look.letter))
            for name, look in LOOKS.items()
        }
        self._worked = translate(language, _WORKED)
        self._early = translate(language, _EARLY)
        self._approvals = {name: translate(language, words) for name, words in _APPROVALS.items()}

    def words(self, status: str, *, holiday: str | None, worked_s: int, is_early: bool, approval: str) -> str:
        """Everything that a cell shows by letters, colours and seals."""
        word = self.looks[status].word
        found = [f"{word}: {holiday}" if holiday else word]
        if worked_s:
            found.append(self._worked % {"hours": span(worked_s)})
        if is_early:
            found.append(self._early)
        if approval:
            found.append(self._approvals[approval])
        return ", ".join(found)
