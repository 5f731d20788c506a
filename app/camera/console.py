"""What the client says: a line for each answer, and one when something goes wrong or right again.

Names are for people who look at a terminal. Where the output goes to a file or a journal there are none, only codes.
"""

import json
from contextlib import suppress
from datetime import datetime
from io import StringIO
from threading import Lock
from typing import Any, TextIO

from rich.console import Console as RichConsole
from rich.text import Text

from app.camera.answers import without_name

_STYLES = {"identified": "bold green", "unknown": "yellow", "low_quality": "dim", "attack_suspected": "bold red"}


class Console:
    """Prints lines for people, or with `is_json` one JSON object per line for machines. Safe to share.

    It never fails: whoever listens may be gone, and the disk that it goes to full.
    """

    def __init__(self, out: TextIO, *, is_json: bool) -> None:
        self._out = out
        self._rich = RichConsole(force_terminal=out.isatty(), highlight=False, soft_wrap=True)
        self._is_json = is_json
        self._has_names = out.isatty()
        self._problems: dict[str, str] = {}
        self._lock = Lock()

    def said(self, captured_at: datetime, answer: dict[str, Any], n_waiting: int) -> None:
        """What the service answered about a visitor; `answer` as `answers.summary` makes it."""
        if self._is_json:
            self._json("answer", captured_at=captured_at.isoformat(), waiting=n_waiting, **without_name(answer))
            return
        line = Text(f"{captured_at.astimezone():%H:%M:%S} ")
        line.append(self._in_words(answer), style=_STYLES.get(answer["outcome"], ""))
        if n_waiting:
            line.append(f"  (waiting: {n_waiting})", style="dim")
        self._print(line)

    def tell(self, what: str, text: str, **fields: Any) -> None:
        """Something worth a line: `what` is the word for machines."""
        if self._is_json:
            self._json(what, text=text, **fields)
        else:
            self._print(Text(text))

    def problem(self, what: str, text: str) -> None:
        """Something is wrong: told once, and again only when it is told otherwise or was right meanwhile."""
        with self._lock:
            if self._problems.get(what) == text:
                return
            self._problems[what] = text
        if self._is_json:
            self._json("problem", about=what, text=text)
        else:
            self._print(Text(text, style="red"))

    def solved(self, what: str, text: str) -> None:
        """It is right again; told only if a problem was, or if it is the first to be heard of it."""
        with self._lock:
            if what in self._problems and not self._problems[what]:
                return
            self._problems[what] = ""
        if self._is_json:
            self._json("solved", about=what, text=text)
        else:
            self._print(Text(text, style="green"))

    def over(self, what: str, text: str) -> None:
        """It is right again; told only if a problem was."""
        with self._lock:
            has_problem = bool(self._problems.get(what))
        if has_problem:
            self.solved(what, text)

    def _in_words(self, answer: dict[str, Any]) -> str:
        if answer["outcome"] == "identified":
            who = answer["name"] if self._has_names and answer["name"] else answer["employee_code"] or "somebody"
            direction = f"{answer['direction'].upper()} " if answer["direction"] else ""
            return f"{direction}{who} ({_certainty(answer)}){' again' if answer['duplicate_of'] else ''}"
        words = {
            "unknown": "unknown visitor",
            "low_quality": "no usable face",
            "attack_suspected": "a picture of a face, not a face",
        }
        reasons = f" ({', '.join(answer['reasons'])})" if answer["reasons"] else ""
        return words.get(answer["outcome"], str(answer["outcome"])) + reasons

    def _json(self, event: str, **fields: Any) -> None:
        self._print(Text(json.dumps({"event": event, **fields}, ensure_ascii=False)))

    def _print(self, line: Text) -> None:
        with self._lock:
            self._rich.file = shown = StringIO()
            self._rich.print(line)
            with suppress(OSError, ValueError):  # not by rich, which ends the process when nobody listens
                self._out.write(shown.getvalue())
                self._out.flush()


def _certainty(answer: dict[str, Any]) -> str:
    score = "" if answer["score"] is None else f"score {answer['score']:.3f}"
    return score if answer["odds"] is None else f"{score}, a stranger would reach it once in {answer['odds']:,.0f}"
