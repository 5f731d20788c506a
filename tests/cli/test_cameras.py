"""`rollcall cameras` as a person uses it: on a database of its own."""

import re
from pathlib import Path

from app.auth.service import authenticate
from app.db.engine import Database, open_database
from app.settings import Settings
from tests.cli.here import run_here


def key_of(database: Database, secret: str) -> str | None:
    """The camera that a key is of."""
    return authenticate(database, secret).camera_id


def test_a_camera_is_added_listed_and_given_another_key(tmp_path: Path) -> None:
    made = run_here(tmp_path, "cameras", "create", "front [door]", "--direction", "in")
    assert made.status == 0, made
    first = made.out.strip()
    assert made.out == f"{first}\n"
    listed = run_here(tmp_path, "cameras", "list").out
    found = re.search(r"^(cam_\w+)  in  front \[door]  site_default  UTC\n  never seen$", listed, re.MULTILINE)
    assert found is not None, listed
    camera_id = found.group(1)
    rotated = run_here(tmp_path, "cameras", "rotate-key", camera_id, "--grace", "60")
    assert rotated.status == 0, rotated
    second = rotated.out.strip()
    database = open_database(Settings(data_dir=tmp_path, database_url=None))
    assert key_of(database, first) == key_of(database, second) == camera_id
    database.dispose()
    assert first not in listed
    assert first not in rotated.out + rotated.err


def test_what_a_camera_cannot_be_is_told_in_one_line(tmp_path: Path) -> None:
    run_here(tmp_path, "cameras", "create", "door")
    for command, told in (
        (("create", " "), "name: "),
        (("create", "gate", "--site", "site_none"), "no such site"),
        (("rotate-key", "cam_none"), "`rollcall cameras list` shows them"),
    ):
        refused = run_here(tmp_path, "cameras", *command)
        assert (refused.status, refused.out) == (1, ""), refused
        assert told in refused.err
        assert refused.err.count("\n") == 1
