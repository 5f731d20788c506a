"""Who is still the same visitor, told by place and size alone."""

from collections.abc import Sequence

from app.camera.tracks import FaceTracks
from ml.types import FloatArray
from tests.app.camera.factories import make_box

FPS = 10.0


def follow(frames: Sequence[Sequence[FloatArray]]) -> list[list[int]]:
    tracks = FaceTracks()
    return [tracks.add(number / FPS, boxes)[0] for number, boxes in enumerate(frames)]


def test_somebody_who_walks_up_is_one_visitor() -> None:
    frames = [[make_box(x=300 + 8 * step, width=30 + 3 * step)] for step in range(20)]
    assert follow(frames) == [[0]] * 20


def test_a_face_lost_for_a_moment_is_the_same_visitor_and_after_a_second_a_new_one() -> None:
    tracks = FaceTracks()
    assert tracks.add(0.0, [make_box(x=100)]) == ([0], [])
    assert tracks.add(0.5, []) == ([], [])
    assert tracks.add(0.9, [make_box(x=110)]) == ([0], [])
    assert tracks.add(2.0, []) == ([], [0])
    assert tracks.add(2.1, [make_box(x=110)]) == ([1], [])
    assert tracks.end() == [1]
    assert tracks.end() == []


def test_two_side_by_side_keep_their_numbers_in_whatever_order_they_are_found() -> None:
    left, right = make_box(x=200), make_box(x=290)
    assert follow([[left, right], [right, left], [left, right]]) == [[0, 1], [1, 0], [0, 1]]


def test_a_jump_across_the_picture_or_in_size_is_somebody_else() -> None:
    assert follow([[make_box(x=100)], [make_box(x=400)]]) == [[0], [1]]
    assert follow([[make_box(x=100, width=40)], [make_box(x=100, width=100)]]) == [[0], [1]]


def test_two_who_cross_are_never_taken_for_each_other() -> None:
    """One behind the other for a few frames: whoever comes out is a new visitor, or still the old one."""
    truth: dict[int, set[str]] = {}
    tracks = FaceTracks()
    for step in range(41):
        a, b = make_box(x=100 + 10 * step), make_box(x=500 - 10 * step, width=56)
        is_hidden = abs((100 + 10 * step) - (500 - 10 * step)) < 40
        seen = [("a", a)] if is_hidden else [("a", a), ("b", b)]
        numbers, _ = tracks.add(step / FPS, [box for _, box in seen])
        for number, (who, _) in zip(numbers, seen, strict=True):
            truth.setdefault(number, set()).add(who)
    assert all(len(who) == 1 for who in truth.values())
    assert len(truth) <= 5


def test_two_who_turn_round_where_they_meet_are_never_taken_for_each_other() -> None:
    truth: dict[int, set[str]] = {}
    tracks = FaceTracks()
    for step in range(-20, 21):
        a, b = make_box(x=300 - 10 * abs(step)), make_box(x=305 + 10 * abs(step))
        numbers, _ = tracks.add((step + 20) / FPS, [a, b])
        for number, who in zip(numbers, "ab", strict=True):
            truth.setdefault(number, set()).add(who)
    assert all(len(who) == 1 for who in truth.values())
