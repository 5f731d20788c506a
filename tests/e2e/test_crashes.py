"""`kill -9` in the middle of enrolments: what was acknowledged is there, and nothing is half there."""

import random
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import httpx
import pytest

from tests.app import photos
from tests.server import Server, enroll, identify, running_server

N_KILLS = 4
N_WRITERS = 3
# Long enough for a dozen enrolments; each takes about 50 ms.
LONGEST_WAIT_S = 0.5
PHOTOS = {
    "G": [photos.grace(variant=variant) for variant in range(6)],
    "E": [photos.eileen(variant=variant) for variant in range(6)],
}


@dataclass
class Record:
    """What the clients know: every code that was sent, and the answers that they have read to the end."""

    sent: list[str] = field(default_factory=list)
    acknowledged: dict[str, dict[str, Any]] = field(default_factory=dict)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("crashes") / "data") as server:
        yield server


def send(client: httpx.Client, code: str) -> httpx.Response:
    """Two of the twelve photos; which ones depends on the code alone."""
    start = sum(code.encode())
    pictures = [PHOTOS[code[0]][(start + i) % 6] for i in range(2)]
    return enroll(client, code, *pictures, name="Somebody", on_duplicate="allow", idempotency_key=f"upload-{code}")


def write_until_it_dies(server: Server, key: str, writer: str, record: Record) -> None:
    with server.client(key) as client:
        for number in count():
            code = f"{'GE'[number % 2]}-{writer}-{number}"
            record.sent.append(code)
            try:
                answer = send(client, code)
            except httpx.TransportError:
                return
            assert answer.status_code == 201, answer.text
            record.acknowledged[code] = answer.json()


def kill_while_enrolling(server: Server, key: str, record: Record, after_s: float, round_name: str) -> None:
    """Kill the server `after_s` after the first answer of this round."""
    n_before = len(record.acknowledged)
    writers = [
        threading.Thread(target=write_until_it_dies, args=(server, key, f"{round_name}{writer}", record))
        for writer in range(N_WRITERS)
    ]
    for writer in writers:
        writer.start()
    deadline = monotonic() + 60
    while len(record.acknowledged) == n_before and monotonic() < deadline:
        sleep(0.01)
    sleep(after_s)
    server.kill()
    for writer in writers:
        writer.join()
    assert len(record.acknowledged) > n_before


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return connection.execute(query).fetchall()


def assert_whole(path: Path) -> None:
    """The file is sound, every enrolment has its templates, and the gallery's log speaks of exactly those."""
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]
    assert rows(path, "PRAGMA foreign_key_check") == []
    without_templates = "SELECT id FROM enrolments WHERE id NOT IN (SELECT enrolment_id FROM templates)"
    assert rows(path, without_templates) == []
    assert rows(path, "SELECT id FROM people WHERE id NOT IN (SELECT person_id FROM enrolments)") == []
    templates = rows(path, "SELECT id, person_id FROM templates ORDER BY id")
    logged = rows(path, "SELECT template_id, person_id FROM gallery_changes WHERE kind = 'add' ORDER BY template_id")
    assert templates == logged
    revisions = [revision for (revision,) in rows(path, "SELECT DISTINCT revision FROM gallery_changes ORDER BY 1")]
    assert revisions == list(range(1, len(revisions) + 1))
    assert rows(path, "SELECT revision FROM gallery_state") == [(len(revisions),)]


def assert_kept(client: httpx.Client, record: Record) -> None:
    for answer in record.acknowledged.values():
        stored = client.get(f"/v1/enrolments/{answer['id']}").json()
        assert stored["status"] == "done"
        assert stored["templates"] == answer["templates"] != []
        assert stored["person"] == answer["person"]


def assert_searchable(client: httpx.Client, record: Record, path: Path) -> None:
    [(n_templates,)] = rows(path, "SELECT count(*) FROM templates")
    for letter in {code[0] for code in record.acknowledged}:
        answer = identify(client, PHOTOS[letter][0]).json()
        assert answer["gallery"]["n_templates"] == n_templates
        assert answer["faces"][0]["candidates"][0]["person"]["employee_code"].startswith(letter)


def test_what_was_acknowledged_survives_kill_9_and_nothing_is_half_there(server: Server) -> None:
    record, moments = Record(), random.Random(20261121)
    key = server.printed_keys[0]
    with server.client(key) as client:
        for number in range(N_KILLS):
            kill_while_enrolling(server, key, record, moments.uniform(0, LONGEST_WAIT_S), f"k{number}w")
            server.start()
            assert_whole(server.database_path)
            assert_kept(client, record)
            assert_searchable(client, record, server.database_path)


def test_who_got_no_answer_may_ask_again_and_is_enrolled_once(server: Server) -> None:
    record, key = Record(), server.printed_keys[0]
    kill_while_enrolling(server, key, record, 0.1, "again")
    unanswered = [code for code in record.sent if code not in record.acknowledged]
    assert unanswered
    server.start()
    with server.client(key) as client:
        for code in record.sent:
            answer = send(client, code)
            assert answer.status_code == 201
            assert answer.json()["id"] == record.acknowledged.get(code, answer.json())["id"]
            assert answer.json()["person"]["n_templates"] == len(answer.json()["templates"])
    assert_whole(server.database_path)
    several = "SELECT employee_code FROM people JOIN enrolments ON person_id = people.id GROUP BY 1 HAVING count(*) > 1"
    assert rows(server.database_path, several) == []
