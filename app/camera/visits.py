"""One visitor in front of the camera: the best view so far, when to send it, and when to send another. Pure.

Whoever is named is not looked at again. Whoever is not gets another chance only with a clearly better picture: for a
picture too poor to decide on that is soon, for a stranger late, because each answer about a stranger is an entry.
Whoever leaves while the service is away gets it only if the picture that waits is poor and the other one good.
"""

from dataclasses import dataclass
from typing import Final

from app.camera.clock import Stamp
from app.camera.pictures import Picture
from ml.types import Outcome

# A detector is rarely wrong three times in the same place (ml.tracking).
_FEWEST_LOOKS: Final = 3
# A good picture is sent when it was not beaten for so long: people walk up, look, and stand.
_SETTLED_S: Final = 0.7
# Nobody waits longer than this for an answer at the door.
_LATEST_S: Final = 2.0
_MOST_SENT: Final = 3
# Less than this is the detector's jitter, and would put the sending off again and again.
_IMPROVEMENT: Final = 1.05
# How much better the next picture must be, by what was said of the last one.
_BETTER: Final = {Outcome.LOW_QUALITY: 1.2, Outcome.UNKNOWN: 1.5}
# Of whoever leaves before anything was said: enough for what may be called unknown.
_BETTER_UNHEARD: Final = max(_BETTER.values())


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One picture of a visitor, seen at `captured` (as `Capture.captured_at`) and `time_s` of the source's clock."""

    time_s: float
    stamp: Stamp
    picture: Picture
    worth: float
    is_good: bool


class Visit:
    """What is known of one visitor."""

    def __init__(self) -> None:
        self.n_looks = 0
        self._best: View | None = None
        self._improved_s = 0.0
        self._first_s: float | None = None
        self._n_sent = 0
        self._sent_worth = 0.0
        self._is_good_sent = False
        self._is_awaited = False
        self._said: Outcome | None = None

    def wants(self, worth: float) -> bool:
        """Whether a view of this worth is of any use: whoever asks can spare itself the picture."""
        return not self._is_done and (self._best is None or worth > self._best.worth)

    def look(self) -> None:
        """Seen once more, whether or not the picture is of any use."""
        self.n_looks += 1

    def offer(self, view: View) -> None:
        """A picture large enough to be sent."""
        if self._first_s is None:
            self._first_s = view.time_s
        if self._best is None or view.worth > _IMPROVEMENT * self._best.worth:
            self._improved_s = view.time_s
        if self.wants(view.worth):
            self._best = view

    def due(self, time_s: float, *, is_gone: bool) -> View | None:
        """The picture to send now, if any; it counts as sent."""
        view = self._best
        if view is None or self.n_looks < _FEWEST_LOOKS or not self._is_time(view, time_s, is_gone):
            return None
        self._n_sent += 1
        self._sent_worth = view.worth
        self._is_good_sent = view.is_good
        self._is_awaited = True
        self._best = None
        return view

    def answered(self, outcome: Outcome | None) -> None:
        """What the service said of the last picture; None: nothing that another picture could change."""
        self._is_awaited = False
        self._said = outcome
        if self._is_done:
            self._best = None

    @property
    def _is_done(self) -> bool:
        """Whether no other picture will be sent, whatever it shows."""
        is_heard = self._n_sent > 0 and not self._is_awaited
        return self._n_sent >= _MOST_SENT or (is_heard and self._said not in _BETTER)

    def _is_time(self, view: View, time_s: float, is_gone: bool) -> bool:
        is_settled = is_gone or (view.is_good and time_s - self._improved_s >= _SETTLED_S)
        if self._n_sent == 0:
            return is_settled or time_s - (self._first_s or 0.0) >= _LATEST_S
        if self._is_done or not is_settled:
            return False
        if self._is_awaited:
            is_rescue = is_gone and view.is_good and not self._is_good_sent
            return is_rescue and view.worth >= _BETTER_UNHEARD * self._sent_worth
        return self._said in _BETTER and view.worth >= _BETTER[self._said] * self._sent_worth
