from typing import Any

import pytest
from starlette.testclient import TestClient

from app.audit.service import record
from app.db.engine import Database


@pytest.fixture(autouse=True)
def entries(database: Database) -> None:
    with database.write() as session:
        for n in range(5):
            record(session, "cli", "thing.done" if n % 2 else "thing.undone", f"thing_{n}", {"n": n})


def get(client: TestClient, headers: dict[str, str], **params: Any) -> Any:
    return client.get("/v1/audit", params=params, headers=headers)


def test_the_newest_entry_comes_first_and_a_walk_shows_each_once(client: TestClient, admin: dict[str, str]) -> None:
    first = get(client, admin, limit=3).json()
    rest = get(client, admin, limit=3, cursor=first["next_cursor"]).json()
    actions = [item["detail"].get("n", item["action"]) for item in first["items"] + rest["items"]]
    assert actions == [4, 3, 2, 1, 0, "threshold.set"]  # the first is the service's own, when it started
    assert rest["next_cursor"] is None
    assert first["items"][0]["actor"] == "cli"


def test_entries_can_be_found_by_action_and_target(client: TestClient, admin: dict[str, str]) -> None:
    assert [item["target"] for item in get(client, admin, action="thing.done").json()["items"]] == [
        "thing_3",
        "thing_1",
    ]
    assert len(get(client, admin, target="thing_2").json()["items"]) == 1


def test_only_admins_may_read_it(client: TestClient, operator: dict[str, str]) -> None:
    assert get(client, operator).json()["code"] == "scope_insufficient"


@pytest.mark.parametrize("cursor", ["x", "LTE", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5"], ids=["junk", "negative", "too large"])
def test_a_cursor_that_was_never_given_is_refused(client: TestClient, admin: dict[str, str], cursor: str) -> None:
    assert get(client, admin, cursor=cursor).json()["code"] == "cursor_invalid"
