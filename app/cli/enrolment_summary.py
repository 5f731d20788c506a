"""What became of many people who were enrolled one after the other, and how that is told."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from app.cli.client import RefusedError


@dataclass
class Outcome:
    """What became of one person, in one call or in several."""

    n_templates: int = 0
    is_known: bool = False
    refusals: list[str] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: "Outcome") -> "Outcome":
        return Outcome(
            self.n_templates + other.n_templates,
            self.is_known or other.is_known,
            self.refusals + other.refusals,
            self.reasons + other.reasons,
        )


@dataclass
class Summary:
    """What became of everybody."""

    n_people: int = 0
    n_templates: int = 0
    n_known: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, name: str, outcome: Outcome) -> None:
        self.n_people += bool(outcome.n_templates)
        self.n_known += outcome.is_known and not outcome.n_templates
        self.n_templates += outcome.n_templates
        self.reasons += outcome.reasons
        self.refused.extend((name, why) for why in outcome.refusals)

    @property
    def is_anybody(self) -> bool:
        """Whether somebody is enrolled, now or before."""
        return self.n_people + self.n_known > 0


def outcome_of(enrolment: dict[str, Any]) -> Outcome:
    reasons = Counter(rejection["reason"] for rejection in enrolment["rejected"])
    return Outcome(n_templates=len(enrolment["templates"]), reasons=reasons)


def outcome_of_refusal(refusal: RefusedError) -> Outcome:
    reasons = Counter(error["msg"].partition(":")[0] for error in refusal.problem.get("errors") or [])
    # Of photos that contradict each other none is kept; only then can a repeat be one of this call.
    if "duplicate_frame" in reasons and "identity_conflict" not in reasons:
        return Outcome(is_known=True)  # nothing was left to enrol because the good photos are enrolled already
    if refusal.code == "nothing_to_enroll":
        return Outcome(refusals=[f"{refusal.code}: {counted(reasons)}"])
    return Outcome(refusals=[str(refusal)])


def counted(reasons: Counter[str]) -> str:
    return ", ".join(f"{reason} {n}" for reason, n in reasons.most_common())


def report(console: Console, summary: Summary) -> None:
    console.print(f"Enrolled {summary.n_people} people with {summary.n_templates} photos.")
    if summary.n_known:
        console.print(f"Nothing new for {summary.n_known} people: their photos are enrolled already.")
    if summary.reasons:
        console.print(f"Photos left out: {counted(summary.reasons)}.")
    report_refused(console, summary.refused, "were not enrolled")


def report_refused(console: Console, refused: list[tuple[str, str]], what: str) -> None:
    """Who could not be enrolled or, where several calls are needed, not with all photos."""
    if not refused:
        return
    n_people = len({name for name, _ in refused})
    table = Table(Column("person", overflow="fold"), "why not", title=f"{n_people} people {what}")
    for name, why in refused:
        table.add_row(escape(printable(name)), escape(printable(why)))
    console.print(table)


def printable(text: str) -> str:
    """Names come from elsewhere: an escape sequence in one must not reach the terminal."""
    return "".join(char if char.isprintable() else "�" for char in text)
