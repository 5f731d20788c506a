"""`rollcall users` beside a running service."""

from collections.abc import Iterator

import httpx
import pytest

from tests.cli.here import run_beside, run_here
from tests.server import Server, running_server

PASSWORD = "a long sentence to remember"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("users") / "data", ROLLCALL_WORKERS="0") as server:
        yield server


def sign_in(server: Server, username: str, password: str) -> int:
    form = {"username": username, "password": password}
    return httpx.post(f"{server.url}/login", data=form, trust_env=False).status_code


def test_a_user_is_made_locked_out_let_in_again_and_disabled(server: Server) -> None:
    made = run_beside(server, "users", "create", "Anna", "--role", "admin", "--password-stdin", typed=f"{PASSWORD}\n")
    assert (made.status, made.out, made.err) == (0, "anna can sign in now.\n", "")
    asked = run_beside(
        server, "users", "create", "ben", "--role", "operator", "--name", "Ben [x]", typed=f"{PASSWORD}\n{PASSWORD}\n"
    )
    assert asked.status == 0 and PASSWORD not in asked.out, asked
    assert [sign_in(server, name, PASSWORD) for name in ("anna", "ben")] == [303, 303]

    assert [sign_in(server, "ben", "wrong") for _ in range(6)] == [401] * 5 + [429]
    reset = run_beside(server, "users", "reset-password", "BEN", "--password-stdin", typed="another long sentence\n")
    assert reset.status == 0, reset
    assert [sign_in(server, "ben", word) for word in (PASSWORD, "another long sentence")] == [401, 303]

    assert run_beside(server, "users", "disable", "ben").out == "ben cannot sign in any more.\n"
    assert sign_in(server, "ben", "another long sentence") == 401
    listed = run_beside(server, "users", "list").out.splitlines()
    assert listed[0].startswith("anna  admin  Anna  last signed in ")
    assert listed[1].startswith("ben  operator  Ben [x]  disabled ")
    assert run_beside(server, "users", "enable", "ben").status == 0
    assert sign_in(server, "ben", "another long sentence") == 303

    last = run_beside(server, "users", "disable", "anna")
    assert (last.status, last.out) == (1, "")
    assert "last administrator" in last.err


@pytest.mark.parametrize(
    ("args", "typed", "words"),
    [
        (("create", "eve", "--role", "admin", "--password-stdin"), "short\n", "12 to 200 characters"),
        (("create", "two words", "--role", "admin", "--password-stdin"), f"{PASSWORD}\n", "without spaces"),
        (("disable", "nobody"), "", "rollcall users list"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(server: Server, args: tuple[str, ...], typed: str, words: str) -> None:
    told = run_beside(server, "users", *args, typed=typed)
    assert (told.status, told.out) == (1, "")
    assert words in told.err and told.err.count("\n") == 1


def test_asking_about_users_makes_no_database(server: Server) -> None:
    elsewhere = server.data_dir.with_name("elsewhere")
    told = run_here(elsewhere, "users", "list")
    assert told.status == 1 and "no database" in told.err
    assert not elsewhere.exists()
