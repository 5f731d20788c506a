import pytest

from app.jobs.handlers import built_in, by_queue, of_queues, queue_of
from tests.app.jobs.factories import make_kinds

KINDS = {**make_kinds("enroll", "track", queue="video"), **make_kinds("purge", queue="upkeep")}


def test_every_kind_waits_in_one_queue() -> None:
    assert by_queue(KINDS) == {"upkeep": ["purge"], "video": ["enroll", "track"]}
    assert {queue_of(kind) for kind in built_in()} == set(by_queue(built_in()))


def test_a_kind_of_another_release_waits_in_a_queue_that_is_not_known() -> None:
    assert queue_of("alchemy") is None


@pytest.mark.parametrize(
    ("names", "kinds"),
    [
        (None, {"enroll", "track", "purge"}),
        ("video", {"enroll", "track"}),
        ("upkeep, video", {"enroll", "track", "purge"}),
    ],
)
def test_a_worker_knows_the_kinds_of_its_queues_only(names: str | None, kinds: set[str]) -> None:
    assert set(of_queues(KINDS, names)) == kinds


@pytest.mark.parametrize("names", ["vidoe", "video,vidoe", "", "video,"])
def test_a_queue_that_there_is_not_is_refused_with_those_that_there_are(names: str) -> None:
    with pytest.raises(ValueError, match=r"^there is no queue `(vidoe)?`; the queues are: upkeep, video$"):
        of_queues(KINDS, names)
