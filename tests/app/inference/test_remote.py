"""Batches sent to workers on real ports: what a worker does wrong costs the caller time at most, never an answer."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from time import monotonic
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from app.inference.admission import InferenceBusyError
from app.inference.away import InferenceAwayError, InferenceFailedError
from app.inference.batched import BatchedInference
from app.inference.port import Ask, EngineInfo, Inference, Lane
from app.inference.remote import BLIP_S, RemoteRunner, connect
from app.inference.workers import FAILURES_TO_OPEN, Circuit
from ml.errors import ModelError
from tests.app.inference.fakes import make_ask
from tests.app.inference.served import QuickRunner, ServedWorker, SharedRunner, make_settings, served, wait_until
from tests.ml.faces import astronaut, grace_hopper, three_sizes_of_one_face

# Long enough for a busy machine, short enough to be waited for.
PATIENT = {"inference_timeout_s": 20.0}
HURRIED = {"inference_timeout_s": 0.5}


@contextmanager
def connected(*workers: ServedWorker, wait_s: float = 0.0, **changes: Any) -> Iterator[RemoteRunner]:
    settings = make_settings(*(worker.url for worker in workers), **{**PATIENT, **changes})
    runner = connect(settings, wait_s)
    try:
        yield runner
    finally:
        runner.close()


@pytest.fixture
def pair() -> Iterator[list[ServedWorker]]:
    with served(QuickRunner(), QuickRunner()) as workers:
        yield workers


def ask(remote: RemoteRunner, number: int = 7, lane: Lane = Lane.INTERACTIVE) -> float:
    """Send one image and return the number that comes back with the answer: its own."""
    (analysis,) = remote.run([make_ask(number=number)], lane)
    return analysis.embed_s


def circuits(remote: RemoteRunner, *workers: ServedWorker) -> list[Circuit]:
    found = {each.url: each.breaker.circuit for each in remote.workers.snapshot()}
    return [found[worker.url] for worker in workers]


def test_the_faces_are_those_that_the_networks_find_here(inference: Inference) -> None:
    local = SharedRunner(inference)
    images = [grace_hopper(), np.zeros((60, 50, 3), np.uint8), three_sizes_of_one_face(), astronaut()]
    with served(local) as workers, connected(*workers) as remote:
        expected = local.run([Ask(images[:3], max_faces=2), Ask(images[3:])], Lane.INTERACTIVE)
        got = remote.run([Ask(images[:3], max_faces=2), Ask(images[3:])], Lane.INTERACTIVE)
    assert [[len(found) for found in each.samples] for each in got] == [[1, 0, 2], [1]]
    for theirs, ours in zip(got, expected, strict=True):
        assert min(theirs.detect_s, theirs.embed_s) > 0
        for sample, same in zip(sum(theirs.samples, []), sum(ours.samples, []), strict=True):
            assert sample.model == same.model == remote.info.model
            assert sample.quality.score == pytest.approx(same.quality.score, abs=0.02)
            np.testing.assert_allclose(sample.face.box_xyxy, same.face.box_xyxy, atol=0.1)
            np.testing.assert_allclose(sample.face.landmarks, same.face.landmarks, atol=0.1)
            np.testing.assert_allclose(sample.embedding, same.embedding, atol=1e-3)


def test_several_callers_are_run_together() -> None:
    quick = QuickRunner(holds=True)
    with (
        served(quick) as (worker,),
        connected(worker) as one,
        connected(worker) as other,
        ThreadPoolExecutor() as callers,
    ):
        first = callers.submit(ask, one, 1)
        running = quick.begun()
        rest = [callers.submit(ask, remote, number) for number, remote in ((2, one), (3, other), (4, other))]
        wait_until(lambda: 'rollcall_inference_waiting{lane="interactive"} 3.0' in worker.metrics)
        running.may_end.set()
        assert sorted(quick.end_next()) == [2, 3, 4]
        assert [first.result(), *(each.result() for each in rest)] == [1, 2, 3, 4]


def test_work_is_shared_by_all_workers(pair: list[ServedWorker]) -> None:
    with connected(*pair) as remote:
        assert [ask(remote, number) for number in range(6)] == [0, 1, 2, 3, 4, 5]
    assert [worker.n_asked for worker in pair] == [3, 3]


def test_a_batch_that_is_too_large_for_one_request_goes_in_several(pair: list[ServedWorker]) -> None:
    for worker in pair:
        worker.app.state.facts = worker.app.state.facts.model_copy(update={"max_images": 2})
    asks = [make_ask(number=1, n_images=3), make_ask(number=2), make_ask(number=3)]
    with connected(*pair) as remote:
        assert [len(each.samples) for each in remote.run(asks, Lane.BULK)] == [3, 1, 1]
    assert sum(worker.n_asked for worker in pair) == 3


@pytest.mark.parametrize("mood", ["unready", "broken", "garbage", "endless", "cut", "busy"])
def test_what_one_worker_fails_at_is_done_by_another(pair: list[ServedWorker], mood: str) -> None:
    pair[0].mood = mood
    with connected(*pair) as remote:
        assert [ask(remote, number) for number in range(8)] == list(range(8))
    assert pair[0].n_asked >= 1 and pair[1].n_asked >= 8


def test_a_worker_that_hangs_makes_one_caller_wait_and_no_other(pair: list[ServedWorker]) -> None:
    with connected(*pair, **HURRIED) as remote:
        pair[0].mood = "hang"
        began_s = monotonic()
        assert [ask(remote, number) for number in range(8)] == list(range(8))
        assert monotonic() - began_s >= 0.5
        assert circuits(remote, *pair)[1] is Circuit.CLOSED
        assert circuits(remote, pair[0])[0] is not Circuit.CLOSED
        pair[0].mood = None
        wait_until(lambda: circuits(remote, pair[0]) == [Circuit.CLOSED])


def test_workers_that_are_gone_are_told_and_used_when_they_are_back(pair: list[ServedWorker]) -> None:
    with connected(*pair) as remote:
        for worker in pair:
            worker.stop()
        with pytest.raises(InferenceAwayError) as told:
            ask(remote)
        assert (told.value.status_code, told.value.code) == (503, "inference_unavailable")
        assert int(told.value.headers["Retry-After"]) > 0  # type: ignore[index]
        assert circuits(remote, *pair) != [Circuit.CLOSED, Circuit.CLOSED]
        pair[1].start()
        wait_until(lambda: circuits(remote, pair[1]) == [Circuit.CLOSED])
        assert ask(remote, 5) == 5


def test_a_caller_does_not_notice_a_moment_without_workers_and_is_told_of_an_outage_at_once() -> None:
    with served(QuickRunner()) as (worker,), connected(worker) as remote:
        worker.mood = "unready"
        with ThreadPoolExecutor() as callers:
            waiting = callers.submit(ask, remote, 6)
            wait_until(lambda: circuits(remote, worker) != [Circuit.CLOSED])
            worker.mood = None
            assert waiting.result() == 6
        worker.mood = "unready"
        with pytest.raises(InferenceAwayError):
            ask(remote)
        away_s = remote.workers.away_s()
        assert away_s is not None and away_s >= BLIP_S
        n_asked = worker.n_asked
        with pytest.raises(InferenceAwayError):
            ask(remote)
        assert worker.n_asked - n_asked <= 1  # that one was a probe


def test_a_job_waits_for_a_worker_to_come_back(pair: list[ServedWorker]) -> None:
    with connected(*pair) as remote, ThreadPoolExecutor() as callers:
        for worker in pair:
            worker.stop()
        waiting = callers.submit(ask, remote, 9, Lane.BULK)
        wait_until(lambda: Circuit.CLOSED not in circuits(remote, *pair))
        assert not waiting.done()
        pair[0].start()
        assert waiting.result() == 9


def test_when_all_queues_are_full_callers_are_told_to_come_back(pair: list[ServedWorker]) -> None:
    with connected(*pair) as remote:
        for worker in pair:
            worker.mood = "busy"
        with pytest.raises(InferenceBusyError):
            ask(remote)
        assert circuits(remote, *pair) == [Circuit.CLOSED, Circuit.CLOSED]


def test_a_batch_that_workers_break_over_is_not_offered_for_ever(pair: list[ServedWorker]) -> None:
    with connected(*pair) as remote:
        for worker in pair:
            worker.mood = "cut"
        with pytest.raises(InferenceFailedError):
            ask(remote)
        assert sum(worker.n_asked for worker in pair) == FAILURES_TO_OPEN


def test_answers_of_networks_that_were_changed_are_refused(pair: list[ServedWorker]) -> None:
    with connected(*pair) as remote:
        changed = pair[0].app.state
        changed.facts = changed.facts.model_copy(update={"word": "dlib-resnet/2 mtcnn 40"})
        assert [ask(remote, number) for number in range(4)] == [0, 1, 2, 3]
        assert pair[0].n_asked >= 1
        assert circuits(remote, *pair)[0] is not Circuit.CLOSED


class OtherRunner(QuickRunner):
    info = EngineInfo("dlib-resnet/1-plain", "mtcnn", "cpu", "torch/float32/1", "set")


@pytest.mark.parametrize(
    ("ours", "said"),
    [
        ({"mirrored_embedding": False}, "dlib-resnet/1 and not dlib-resnet/1-plain.*ROLLCALL_MIRRORED_EMBEDDING"),
        ({"backbone": "sface"}, "dlib-resnet/1 and not sface/1.*ROLLCALL_BACKBONE"),
        ({"backbone": "onnx:/models/mine.onnx"}, "dlib-resnet/1 and not onnx:/models/mine.onnx"),
        ({"detector": "yunet"}, "mtcnn and not yunet.*ROLLCALL_DETECTOR"),
        ({"min_face_px": 20}, "40 and not 20.*ROLLCALL_MIN_FACE_PX"),
        ({"max_image_pixels": 90_000_000}, "ROLLCALL_MAX_IMAGE_PIXELS"),
        ({"token": "another-secret-altogether"}, "ROLLCALL_INFERENCE_TOKEN"),
        ({"token": None}, "ROLLCALL_INFERENCE_TOKEN"),
    ],
)
def test_a_worker_of_other_settings_is_refused_when_the_service_starts(
    pair: list[ServedWorker], ours: dict[str, Any], said: str
) -> None:
    with pytest.raises(ModelError, match=said), connected(pair[0], **ours):
        pass


def test_one_wrong_worker_among_several_is_refused_too() -> None:
    with (
        served(QuickRunner(), OtherRunner()) as (right, wrong),
        pytest.raises(ModelError, match=f"{wrong.url}.*1-plain"),
        connected(right, wrong),
    ):
        pass


def test_something_else_at_the_address_is_told() -> None:
    with served(QuickRunner()) as workers:
        settings = make_settings(f"{workers[0].url}/wrong/path")
        with pytest.raises(ModelError, match="404"):
            connect(settings, wait_s=0.0)


def test_the_service_waits_for_its_first_worker_and_says_which_it_could_not_reach() -> None:
    worker = ServedWorker(QuickRunner())
    with pytest.raises(InferenceAwayError, match=worker.url), connected(worker, wait_s=0.1):
        pass
    with ThreadPoolExecutor() as callers:
        starting = callers.submit(connect, make_settings(worker.url), 30.0)
        worker.start()
        remote = starting.result()
    try:
        assert ask(remote, 3) == 3
    finally:
        remote.close()
        worker.stop()


def test_a_worker_that_comes_later_is_used_from_then_on() -> None:
    early, late = ServedWorker(QuickRunner()).start(), ServedWorker(QuickRunner())
    try:
        with connected(early, late) as remote:
            assert [ask(remote, number) for number in range(3)] == [0, 1, 2]
            late.start()
            wait_until(lambda: circuits(remote, late) == [Circuit.CLOSED])
            n_probes = late.n_asked
            assert [ask(remote, number) for number in range(4)] == [0, 1, 2, 3]
            assert late.n_asked - n_probes == 2
    finally:
        early.stop()
        late.stop()


@pytest.mark.parametrize(
    "urls", ["gpu-1:8100", "ftp://gpu-1", "http://", "http://a,b", "http://key@gpu-1", "http://a?b"]
)
def test_an_address_that_is_none_is_refused(urls: str) -> None:
    with pytest.raises(ValidationError, match="inference_urls"):
        make_settings(urls)


def test_addresses_are_taken_apart() -> None:
    settings = make_settings("http://gpu-1:8100/", " https://gpu-2/rollcall", "http://gpu-1:8100")
    assert settings.inference_addresses == ["http://gpu-1:8100", "https://gpu-2/rollcall"]
    assert make_settings().inference_addresses == []


def test_no_proxy_of_the_environment_gets_to_see_faces(
    pair: list[ServedWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with connected(*pair) as remote:
        assert ask(remote, 4) == 4


def test_what_really_runs_is_told(pair: list[ServedWorker]) -> None:
    with connected(*pair) as remote:
        assert remote.info == EngineInfo("dlib-resnet/1", "mtcnn", "remote (cpu)", "torch/float32/1", "set")
        assert (remote.card.name, remote.n_at_once) == ("dlib-resnet", 8)
        assert remote.limits.max_images == QuickRunner().limits.max_images


def test_the_queue_before_the_workers_refuses_what_all_of_them_refuse(pair: list[ServedWorker]) -> None:
    with connected(*pair) as remote:
        inference = BatchedInference(remote)
        for worker in pair:
            worker.mood = "busy"
        with pytest.raises(InferenceBusyError):
            inference.analyze(make_ask().images)
        inference.close()


def test_prometheus_hears_which_worker_answers_and_which_is_gone() -> None:
    with served(QuickRunner()) as [good], served(QuickRunner()) as [gone], connected(good, gone) as remote:
        gone.stop()
        for number in range(8):
            ask(remote, number)
        figures = {
            (sample.name, sample.labels["worker"], sample.labels.get("outcome")): sample.value
            for metric in remote.collect()
            for sample in metric.samples
        }
    assert figures["rollcall_inference_worker_up", good.url, None] == 1
    assert figures["rollcall_inference_worker_answers_total", good.url, "answered"] >= 4
    assert figures["rollcall_inference_worker_answers_total", gone.url, "answered"] == 0
    assert figures["rollcall_inference_worker_answers_total", gone.url, "failed"] >= 1
    assert figures["rollcall_inference_worker_batches", good.url, None] == 0
