"""`kill -9` in the middle of captures: what was acknowledged is in the ledger, once, and the days follow from it."""

import base64
import json
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from time import monotonic, sleep
from typing import Any

import httpx
import pytest
from sqlalchemy import URL, func, select

from app.db.engine import Database, make_engine
from app.db.tables import Capture, Event
from app.db.types import utc_now
from tests.app import photos
from tests.app.attendance.factories import refuse_difference
from tests.server import Server, enroll, running_server

N_KILLS = 3
N_CAMERAS = 3
# Long enough for a dozen captures; each takes about 100 ms.
LONGEST_WAIT_S = 1.5
PHOTOS = [photos.grace(variant=variant) for variant in range(6)] + [photos.two_people()]


@dataclass
class Sent:
    """One capture as a camera keeps it until it is delivered."""

    key: str
    photo: bytes
    captured_at: datetime
    answer: dict[str, Any] | None = None


@dataclass
class Spool:
    """What one camera has sent."""

    captures: list[Sent] = field(default_factory=list)


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("attendance") / "data"
    with running_server(folder, ROLLCALL_TIMEZONE="Europe/Berlin", ROLLCALL_WORKERS="0") as server:
        yield server


def deliver(client: httpx.Client, sent: Sent) -> None:
    form = {"captured_at": sent.captured_at.isoformat()}
    answer = client.post(
        "/v1/captures", data=form, files={"image": ("a.jpg", sent.photo)}, headers={"Idempotency-Key": sent.key}
    )
    assert answer.status_code == 200, answer.text
    sent.answer = answer.json()


def stand_at_the_door(server: Server, key: str, name: str, spool: Spool) -> None:
    """Send captures of the last days, in any order, until the server dies."""
    rng = random.Random(name)
    with server.client(key) as client:
        for number in count():
            captured_at = utc_now() - timedelta(hours=rng.uniform(0.1, 70))
            spool.captures.append(Sent(f"{name}-{number}", rng.choice(PHOTOS), captured_at))
            try:
                deliver(client, spool.captures[-1])
            except httpx.TransportError:
                return


def test_what_was_acknowledged_is_in_the_ledger_once(server: Server) -> None:
    key, rng = server.printed_keys[0], random.Random(1)
    with server.client(key) as client:
        people = [
            enroll(client, "G1", *PHOTOS[:3], name="Grace").json()["person"]["id"],
            enroll(client, "E1", photos.eileen(), photos.eileen(variant=1), name="Eileen").json()["person"]["id"],
        ]
    spools = []
    for kill in range(N_KILLS):
        spools += (now := [Spool() for _ in range(N_CAMERAS)])
        threads = [
            threading.Thread(target=stand_at_the_door, args=(server, key, f"{kill}-{n}", spool))
            for n, spool in enumerate(now)
        ]
        for thread in threads:
            thread.start()
        sleep(rng.uniform(0.4, LONGEST_WAIT_S))
        server.kill()
        for thread in threads:
            thread.join()
        refuse_loss(server, spools, people)
        server.start()
    with server.client(key) as client:
        for sent in everything(spools):
            deliver(client, sent)
    server.stop()
    refuse_loss(server, spools, people)
    database = opened(server)
    with database.read() as session:
        assert session.scalars(select(func.count()).select_from(Capture)).one() == len(everything(spools))
    database.dispose()


def refuse_loss(server: Server, spools: list[Spool], people: list[str]) -> None:
    """Fails where an answer is not what is stored, or a day does not follow from the events."""
    answers = [sent.answer for sent in everything(spools) if sent.answer]
    database = opened(server)
    with database.read() as session:
        events = set(session.scalars(select(Event.id)))
        captures = set(session.scalars(select(Capture.id)))
    assert {answer["capture"]["id"] for answer in answers} <= captures
    assert {event["id"] for answer in answers for event in answer["events"]} <= events
    refuse_difference(database=database, people=people)
    database.dispose()


def everything(spools: list[Spool]) -> list[Sent]:
    return [sent for spool in spools for sent in spool.captures]


def opened(server: Server) -> Database:
    return Database(make_engine(URL.create("sqlite", database=str(server.database_path))))


def test_a_batch_that_is_cut_off_and_sent_again_is_recorded_once(server: Server) -> None:
    lines = [batch_line(f"b{number}", PHOTOS[number % 6], hours=number + 1) for number in range(12)]
    headers = {"Content-Type": "application/x-ndjson"}
    body = "\n".join(lines)
    with server.client(server.printed_keys[0]) as client:
        enroll(client, "G1", *PHOTOS[:3], name="Grace")
    for _ in range(4):  # more than there are places for batches: each is given back
        until = monotonic() + 60
        with server.client(server.printed_keys[0]) as client:
            while not cut_off(client, body, headers) and monotonic() < until:
                sleep(0.1)
    with server.client(server.printed_keys[0]) as client:
        answer = client.post("/v1/captures/batch", content=body, headers=headers)
        *answers, end = [json.loads(line) for line in answer.text.splitlines()]
        events = client.get("/v1/events", params={"limit": 100}).json()["items"]
    assert end["summary"]["lines"] == end["summary"]["recorded"] + end["summary"]["already_recorded"] == 12
    assert end["summary"]["already_recorded"] >= 1
    assert {event["id"] for each in answers for event in each["events"]} == {event["id"] for event in events}
    assert len(events) == 12


def cut_off(client: httpx.Client, body: str, headers: dict[str, str]) -> bool:
    """Send a batch and leave after its first answer; False where there was no place for it yet."""
    with client.stream("POST", "/v1/captures/batch", content=body, headers=headers) as answer:
        if answer.status_code == 429:
            return False
        assert json.loads(next(answer.iter_lines()))["line"] == 1
    return True


def batch_line(key: str, photo: bytes, hours: float) -> str:
    captured_at = (utc_now() - timedelta(hours=hours)).isoformat()
    image = base64.b64encode(photo).decode()
    return json.dumps({"captured_at": captured_at, "image_base64": image, "idempotency_key": key})
