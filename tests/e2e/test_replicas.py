"""Two replicas and a worker on one PostgreSQL, all of which are killed at random: nothing acknowledged is lost.

The faces are real ones where they lie beside the repository, else the two people whom packages carry, enrolled again
and again. ROLLCALL_TEST_CALLS=2000 is the full length.
"""

import json
import os
import random
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from tests.app import clips, photos
from tests.postgres import Cluster, running_cluster
from tests.server import ROLLCALL, STOP_S, Server, environment, identify, run_rollcall

N_CALLS = int(os.environ.get("ROLLCALL_TEST_CALLS", "160"))
N_CALLERS = 16
N_CLIPS = max(2, N_CALLS // 200)
FEWEST_KILLS = 2
# A replica needs some five seconds to start, and is to do some work between two deaths.
KILL_EVERY_S = (6.0, 14.0)
# How long the database is away when it is restarted, and how long its clients may take to notice that it is back.
DOWN_S, RECOVERY_S = 2.0, 8.0
PATIENCE_S = 180.0
# A photo that shows two people; and an erasure whose first answer was lost.
UNFIT = 422
# Nothing was done, and the caller comes again: another request with this key is on its way, or a busy machine.
TRY_AGAIN = {"idempotency_in_progress", "overloaded"}
EXPECTED = {("enroll", UNFIT), ("erase", 404)}
FACES = Path(os.environ.get("ROLLCALL_TEST_DATA", Path(__file__).parents[3] / "shared" / "data")) / "faces"

pytestmark = pytest.mark.timeout(300 + N_CALLS)


@dataclass
class Deployment:
    """Two replicas, a worker and their database."""

    cluster: Cluster
    replicas: list[Server]
    key: str
    worker: subprocess.Popen[bytes] | None = None
    ending: threading.Event = field(default_factory=threading.Event)
    database_down: list[tuple[float, float]] = field(default_factory=list)
    n_killed: Counter[str] = field(default_factory=Counter)

    def start_worker(self) -> None:
        settings = self.replicas[0].settings
        with self.replicas[0].log_path.open("ab") as log:
            env = environment(self.replicas[0].data_dir, **settings)
            self.worker = subprocess.Popen([ROLLCALL, "worker"], env=env, stdout=log, stderr=log)

    def kill_worker(self) -> None:
        if self.worker is not None:
            self.worker.send_signal(signal.SIGKILL)
            self.worker.wait(STOP_S)

    def client(self, number: int) -> httpx.Client:
        return self.replicas[number].client(self.key)

    def stop(self) -> None:
        self.kill_worker()
        for replica in self.replicas:
            replica.kill()


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("replicas")
    with running_cluster() as cluster:
        with psycopg.connect(cluster.url(), autocommit=True) as connection:
            connection.execute("CREATE DATABASE rollcall")
        settings = {
            "ROLLCALL_DATABASE_URL": cluster.url("rollcall"),
            "ROLLCALL_WORKERS": "0",
            "ROLLCALL_WORKER_TIMEOUT_S": "3",
        }
        replicas = [Server(folder / "data", **settings) for _ in range(2)]
        made = run_rollcall(folder / "data", "keys", "create", "test", "--scope", "admin", **settings)
        deployment = Deployment(cluster, replicas, made.out.strip())
        try:
            with ThreadPoolExecutor() as pool:
                list(pool.map(Server.start, replicas))
            deployment.start_worker()
            yield deployment
        finally:
            deployment.ending.set()
            deployment.stop()


@dataclass(frozen=True)
class Face:
    """Somebody who can be enrolled: the photo, and whether nobody else has the same face."""

    name: str
    photo: bytes
    is_unique: bool


@pytest.fixture(scope="module")
def faces() -> list[Face]:
    if (FACES / "protocol.json").exists():
        known = json.loads((FACES / "protocol.json").read_text())["known"]
        first = {name: FACES / "images" / name / files["gallery"][0] for name, files in sorted(known.items())}
        return [Face(name, path.read_bytes(), True) for name, path in first.items()]
    makers = (photos.grace, photos.eileen)
    return [Face(f"{n}", makers[n % 2](variant=n // 2), False) for n in range(12)]


@dataclass
class Ledger:
    """What the callers were told, and so may rely on."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    alive: dict[str, Face] = field(default_factory=dict)
    gone: dict[str, Face] = field(default_factory=dict)
    clips: list[str] = field(default_factory=list)
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    unavailable: list[tuple[float, str]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


class Caller:
    """A client as it should be: it sends the same request again until it is answered, by whichever replica."""

    def __init__(self, deployment: Deployment, ledger: Ledger, seed: int) -> None:
        self._deployment = deployment
        self._ledger = ledger
        self._random = random.Random(seed)
        self._clients = [deployment.client(number) for number in range(2)]
        self._mine: list[str] = []
        self._highest_seen = [0, 0]

    def close(self) -> None:
        for client in self._clients:
            client.close()

    def enrol(self, face: Face) -> None:
        form = {"employee_code": f"{face.name}-{uuid4().hex[:8]}", "name": face.name, "consent": "true"}
        form["on_duplicate"] = "allow"
        answer = self._send("enroll", "POST", "/v1/enroll", data=form, files={"files": ("a.jpg", face.photo)})
        if answer.status_code == UNFIT:
            return
        person_id = answer.json()["person"]["id"]
        with self._ledger.lock:
            self._ledger.alive[person_id] = face
        self._mine.append(person_id)
        self._expect_read_own_write(person_id, face, answer.json()["gallery_revision"])

    def erase_one(self) -> None:
        if not self._mine:
            return
        person_id = self._mine.pop(self._random.randrange(len(self._mine)))
        with self._ledger.lock:
            face = self._ledger.alive.pop(person_id)
        self._send("erase", "DELETE", f"/v1/people/{person_id}")  # 404: the try before was carried out
        with self._ledger.lock:
            self._ledger.gone[person_id] = face

    def identify(self, face: Face) -> None:
        self._send("identify", "POST", "/v1/identify", files={"image": ("a.jpg", face.photo)})

    def send_clip(self, clip: bytes) -> None:
        form = {"employee_code": f"clip-{uuid4().hex[:8]}", "name": "Clip", "consent": "true", "on_duplicate": "allow"}
        answer = self._send("clip", "POST", "/v1/enroll", data=form, files={"files": ("e.mp4", clip)})
        with self._ledger.lock:
            self._ledger.clips.append(answer.json()["id"])

    def _expect_read_own_write(self, person_id: str, face: Face, revision: int) -> None:
        """Enrolled on one replica, identified on any that has reached the revision of the answer."""
        headers = {"X-Min-Gallery-Revision": str(revision)}
        found = self._send(
            "identify", "POST", "/v1/identify?top_k=50", files={"image": ("a.jpg", face.photo)}, headers=headers
        ).json()
        if person_id not in candidates(found):
            self._ledger.failures.append(f"{person_id} was not found at revision {revision}: {found['gallery']}")

    def _send(self, kind: str, method: str, path: str, **request: Any) -> httpx.Response:
        headers = {"Idempotency-Key": uuid4().hex, **request.pop("headers", {})}
        until = monotonic() + PATIENCE_S
        while monotonic() < until:
            number = self._random.randrange(2)
            try:
                answer = self._clients[number].request(method, path, headers=headers, **request)
            except httpx.TransportError:
                sleep(0.1)
                continue
            self._note(kind, answer)
            if answer.status_code < 400 or (kind, answer.status_code) in EXPECTED:
                return answer
            sleep(0.2)
        raise AssertionError(f"{kind} was not answered in {PATIENCE_S} s")

    def _note(self, kind: str, answer: httpx.Response) -> None:
        with self._ledger.lock:
            self._ledger.answers[kind, answer.status_code] += 1
            if answer.status_code == 503:
                self._ledger.unavailable.append((monotonic(), answer.json()["code"]))
            elif answer.status_code >= 400 and not is_expected(kind, answer):
                self._ledger.failures.append(f"{kind} {answer.status_code}: {answer.text}")


def is_expected(kind: str, answer: httpx.Response) -> bool:
    return (kind, answer.status_code) in EXPECTED or answer.json().get("code") in TRY_AGAIN


def candidates(identified: dict[str, Any]) -> set[str]:
    return {candidate["person"]["id"] for face in identified["faces"] for candidate in face["candidates"]}


def keep_killing(deployment: Deployment, seed: int) -> None:
    """Ends one of the processes between two instructions, now and then."""
    chance = random.Random(seed)
    while not deployment.ending.wait(chance.uniform(*KILL_EVERY_S)):
        victim = chance.choice(["first replica", "second replica", "worker"])
        deployment.n_killed[victim] += 1
        if victim == "worker":
            deployment.kill_worker()
        else:
            deployment.replicas[victim == "second replica"].kill()


def keep_running(deployment: Deployment) -> list[threading.Thread]:
    """Starts again whatever has ended, be it killed or because the database was away, as an init system would."""
    threads = [threading.Thread(target=_keep_replica, args=(deployment, each)) for each in deployment.replicas]
    threads.append(threading.Thread(target=_keep_worker, args=(deployment,)))
    for thread in threads:
        thread.start()
    return threads


def _keep_replica(deployment: Deployment, replica: Server) -> None:
    while not deployment.ending.wait(0.2):
        if replica.has_ended:
            with suppress(RuntimeError):  # killed again before it was ready
                replica.start()


def _keep_worker(deployment: Deployment) -> None:
    while not deployment.ending.wait(0.2):
        if deployment.worker is None or deployment.worker.poll() is not None:
            deployment.start_worker()


def bring_up(deployment: Deployment) -> None:
    """All of them run, and stay."""
    for replica in deployment.replicas:
        if replica.has_ended:
            replica.start()
    if deployment.worker is None or deployment.worker.poll() is not None:
        deployment.start_worker()


def restart_database(deployment: Deployment) -> None:
    began = monotonic()
    deployment.cluster.stop("immediate")
    sleep(DOWN_S)
    deployment.cluster.start()
    deployment.database_down.append((began, monotonic() + RECOVERY_S))


def work(deployment: Deployment, ledger: Ledger, faces: list[Face], clip: bytes, number: int) -> None:
    """One caller's share of the calls, and more until enough has been killed: how long that takes is the machine's."""
    caller, chance = Caller(deployment, ledger, number), random.Random(1000 + number)
    own = faces[number::N_CALLERS] or faces
    try:
        for call in count():
            if call >= N_CALLS // N_CALLERS and deployment.n_killed.total() >= FEWEST_KILLS:
                break
            if call == 0 and number < N_CLIPS:
                caller.send_clip(clip)
            what = chance.choices(["enrol", "erase", "identify"], [0.3, 0.2, 0.5])[0]
            if what == "enrol":
                caller.enrol(chance.choice(own))
            elif what == "erase":
                caller.erase_one()
            else:
                caller.identify(chance.choice(faces))
    except Exception as error:  # told by the test's own thread
        ledger.failures.append(f"caller {number}: {error!r}")
    finally:
        caller.close()


def test_nothing_acknowledged_is_lost_whoever_dies(deployment: Deployment, faces: list[Face], tmp_path: Path) -> None:
    ledger, clip = Ledger(), clips.eileen(tmp_path / "e.mp4").read_bytes()
    callers = [
        threading.Thread(target=work, args=(deployment, ledger, faces, clip, number)) for number in range(N_CALLERS)
    ]
    others = [*keep_running(deployment), threading.Thread(target=keep_killing, args=(deployment, 1))]
    for thread in [*callers, others[-1]]:
        thread.start()
    sleep(6.0)
    restart_database(deployment)
    for thread in callers:
        thread.join()
    deployment.ending.set()
    for thread in others:
        thread.join()
    bring_up(deployment)
    print(f"\nkilled {dict(deployment.n_killed)}, answers {sorted(ledger.answers.items())}")
    assert ledger.failures == []
    expect_no_refusal_while_the_database_was_there(deployment, ledger)
    expect_every_clip_to_be_over(deployment, ledger)
    expect_everybody_found_and_nobody_who_is_gone(deployment, ledger)
    expect_clean_audits(deployment)
    assert deployment.n_killed.total() >= FEWEST_KILLS and ledger.alive and ledger.gone


def expect_no_refusal_while_the_database_was_there(deployment: Deployment, ledger: Ledger) -> None:
    ((began, over),) = deployment.database_down
    beyond = [(at - began, code) for at, code in ledger.unavailable if not began <= at <= over]
    assert beyond == []


def expect_every_clip_to_be_over(deployment: Deployment, ledger: Ledger) -> None:
    until = monotonic() + PATIENCE_S
    with deployment.client(0) as client:
        for enrolment_id in ledger.clips:
            while (enrolment := client.get(f"/v1/enrolments/{enrolment_id}").json())["status"] != "done":
                assert enrolment["status"] != "failed", enrolment
                assert monotonic() < until, enrolment
                sleep(0.2)
            assert enrolment["templates"]


def expect_everybody_found_and_nobody_who_is_gone(deployment: Deployment, ledger: Ledger) -> None:
    everybody = [(person_id, face, True) for person_id, face in ledger.alive.items()]
    everybody += [(person_id, face, False) for person_id, face in ledger.gone.items()]
    for number in range(2):
        with deployment.client(number) as client:
            revision = client.get("/v1/gallery").json()["revision"]
            client.headers["X-Min-Gallery-Revision"] = str(revision)
            for person_id, face, is_alive in everybody:
                answer = client.post("/v1/identify?top_k=50", files={"image": ("a.jpg", face.photo)}).json()
                assert (person_id in candidates(answer)) == is_alive, (number, person_id, answer["gallery"])
                assert client.get(f"/v1/people/{person_id}").status_code == (200 if is_alive else 404)


def expect_clean_audits(deployment: Deployment) -> None:
    for replica in deployment.replicas:
        settings = {"ROLLCALL_API_KEY": deployment.key, "ROLLCALL_URL": replica.url}
        audit = run_rollcall(replica.data_dir, "gallery", "audit", **settings)
        assert audit.status == 0, audit
        assert "clean" in audit.out
    print(audit.out)


def test_what_is_enrolled_on_one_replica_is_found_on_the_other(deployment: Deployment) -> None:
    with deployment.client(0) as first, deployment.client(1) as second:
        for number in range(12):
            photo = photos.eileen(variant=number % 6)
            form = {"employee_code": f"ryw-{number}", "name": "Eileen", "consent": "true", "on_duplicate": "allow"}
            enrolled = first.post("/v1/enroll", data=form, files={"files": ("a.jpg", photo)}).json()
            headers = {"X-Min-Gallery-Revision": str(enrolled["gallery_revision"])}
            found = second.post("/v1/identify?top_k=50", files={"image": ("a.jpg", photo)}, headers=headers)
            assert found.status_code == 200, found.text
            assert enrolled["person"]["id"] in candidates(found.json())
            erased = second.delete(f"/v1/people/{enrolled['person']['id']}").json()
            first.headers["X-Min-Gallery-Revision"] = str(erased["gallery_revision"])
            assert enrolled["person"]["id"] not in candidates(identify(first, photo).json())


def test_the_same_request_to_both_replicas_is_carried_out_once(deployment: Deployment) -> None:
    form = {"employee_code": "once", "name": "Grace", "consent": "true", "on_duplicate": "allow"}
    headers, answers = {"Idempotency-Key": uuid4().hex}, list[httpx.Response]()

    def send(number: int) -> None:
        with deployment.client(number) as client:
            for _ in range(4):
                photo = {"files": ("a.jpg", photos.grace())}
                answers.append(client.post("/v1/enroll", data=form, files=photo, headers=headers))

    with ThreadPoolExecutor() as pool:
        list(pool.map(send, range(2)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    deployment.replicas[0].kill()
    deployment.replicas[0].start()
    send(0)
    assert len({answer.json()["id"] for answer in answers}) == 1
