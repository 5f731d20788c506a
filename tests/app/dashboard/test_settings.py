"""The pages of settings, as the server writes them."""

import re
from pathlib import Path
from typing import Any

import pytest
from babel import Locale
from pydantic import SecretStr
from starlette.testclient import TestClient

from app.dashboard.frame.taste import LANGUAGES
from app.dashboard.settings import GROUPS, shown_groups
from app.dashboard.sites import months_of
from app.db.engine import Database
from app.db.tables import WebhookDelivery
from app.db.types import utc_now
from app.settings import Settings
from tests.app.dashboard.visitors import sign_in
from tests.app.factories import make_person

PAGES = ("/settings", "/settings/sites", "/settings/shifts", "/settings/webhooks")
NIGHT = {"name": "Night", "starts": "22:00", "ends": "06:00", "breaks": [{"starts": "01:00", "ends": "01:30"}]}
HOOK = {"url": "https://hr.example.com/hooks"}


@pytest.fixture
def csrf(client: TestClient, database: Database) -> dict[str, str]:
    return sign_in(client=client, database=database)


def test_every_setting_is_in_one_group_of_the_page() -> None:
    names = [name for _, group in GROUPS for name in group]
    assert sorted(names) == sorted(Settings.model_fields)


def test_a_secret_is_never_shown_and_what_differs_from_the_default_is_marked(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, secret_key=SecretStr("do-not-show-this-key"))
    shown = {row.variable: row for _, rows in shown_groups(settings, "en") for row in rows}
    assert (shown["ROLLCALL_SECRET_KEY"].kind, shown["ROLLCALL_SECRET_KEY"].value) == ("secret", None)
    assert not shown["ROLLCALL_SECRET_KEY"].is_default
    assert shown["ROLLCALL_TIMEZONE"].is_default
    assert "do-not-show" not in str(shown)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("path", PAGES)
def test_each_page_is_shown_in_each_language_while_there_is_nothing_yet(
    client: TestClient, database: Database, path: str, language: str
) -> None:
    sign_in(client=client, database=database, language=language)
    page = client.get(path)
    assert page.status_code == 200
    assert f'lang="{language}"' in page.text
    assert 'style="' not in page.text


@pytest.mark.parametrize("path", [*PAGES, "/settings/shifts/shf_1", "/settings/webhooks/whk_1"])
def test_operators_see_no_settings(client: TestClient, database: Database, path: str) -> None:
    sign_in(client=client, database=database, role="operator")
    assert client.get(path).status_code == 403


def test_the_overview_says_how_long_the_faces_of_each_site_are_kept(
    client: TestClient, csrf: dict[str, str], database: Database
) -> None:
    client.post("/v1/sites", json={"name": "Hà Nội", "unknown_days": 4}, headers=csrf)
    text = _text(client.get("/settings"))
    assert re.search(r"Unknown faces at Hà Nội\s+4 days", text)
    assert re.search(r"Decisions\s+7 days", text)
    assert "&lt;data_dir&gt;" in text
    assert "SQLite" in text if database.engine.dialect.name == "sqlite" else "PostgreSQL" in text


def test_a_year_shows_its_holidays_and_those_of_another_year_are_not_in_it(
    client: TestClient, csrf: dict[str, str]
) -> None:
    site = client.post("/v1/sites", json={"name": "Berlin"}, headers=csrf).json()
    for day, name in (("2026-12-25", "Christmas"), ("2027-05-01", "Labour Day")):
        added = client.post("/v1/holidays", json={"date": day, "name": name, "site_id": site["id"]}, headers=csrf)
        assert added.status_code == 201
    text = _text(client.get("/settings/sites?year=2026"))
    assert re.search(r"Dec 25, 2026\s+Christmas\s+Berlin", text)
    assert "Labour Day" not in text.replace("2026-05-01 Labour Day", "")


def test_months_begin_their_weeks_on_monday() -> None:
    name, weeks = months_of(2026, Locale("en"))[1]
    assert (name, [len(week) for week in weeks]) == ("February", [7, 7, 7, 7, 7])
    assert [day.day if day else None for day in weeks[0]] == [None] * 6 + [1]


def test_a_shift_over_midnight_says_so_and_names_who_works_it(
    client: TestClient, csrf: dict[str, str], database: Database
) -> None:
    shift = client.post("/v1/shifts", json=NIGHT, headers=csrf).json()
    with database.write() as session:
        usual = make_person(session=session, name="Ada Byron").id
        other = make_person(session=session, name="Grace Hopper").id
    client.patch(f"/v1/people/{usual}", json={"shift_id": shift["id"]}, headers=csrf)
    days = {"person_id": other, "shift_id": shift["id"], "first_date": "2030-03-01", "last_date": "2030-03-05"}
    assert client.post("/v1/roster", json=days, headers=csrf).status_code == 201
    listed = _text(client.get("/settings/shifts"))
    assert "on the next day" in listed and "Night shift" in listed and "2 people" in listed
    text = _text(client.get(f"/settings/shifts/{shift['id']}"))
    assert re.search(r"Ada Byron\s.*Usual shift", text, re.DOTALL)
    assert re.search(r"Grace Hopper\s.*Mar 1, 2030 – Mar 5, 2030", text, re.DOTALL)


def test_a_retired_shift_is_listed_apart(client: TestClient, csrf: dict[str, str]) -> None:
    shift = client.post("/v1/shifts", json=NIGHT, headers=csrf).json()
    assert client.delete(f"/v1/shifts/{shift['id']}", headers=csrf).status_code == 204
    assert shift["id"] not in client.get("/settings/shifts").text
    assert shift["id"] in client.get("/settings/shifts?retired=true").text
    assert "retired" in _text(client.get(f"/settings/shifts/{shift['id']}"))


def test_a_webhook_shows_its_messages_by_state_and_never_its_secret(
    client: TestClient, csrf: dict[str, str], database: Database
) -> None:
    webhook = client.post("/v1/webhooks", json=HOOK, headers=csrf).json()
    with database.write() as session:
        session.add(_delivery(webhook["id"], status="dead", last_error="HTTP 500", last_status=500))
        session.add(_delivery(webhook["id"], status="delivered", last_status=204, delivered_at=utc_now()))
    assert "Some were given up" in _text(client.get("/settings/webhooks"))
    page = client.get(f"/settings/webhooks/{webhook['id']}")
    assert "HTTP 500" in page.text and "Delivered" in page.text
    assert webhook["secret"] not in page.text
    given_up = client.get(f"/settings/webhooks/{webhook['id']}?status=dead").text
    assert 'data-trouble="HTTP 500"' in given_up and '<td data-label="Last answer">204' not in given_up


def test_a_message_is_counted_no_further_than_asked(client: TestClient, csrf: dict[str, str]) -> None:
    webhook = client.post("/v1/webhooks", json=HOOK, headers=csrf).json()
    assert re.search(r"Given up\s+0", _text(client.get(f"/settings/webhooks/{webhook['id']}")))


def _delivery(webhook_id: str, **columns: Any) -> WebhookDelivery:
    basics = {"topic": "event.created", "payload": {}, "n_attempts": 3, "due_at": utc_now(), "created_at": utc_now()}
    return WebhookDelivery(webhook_id=webhook_id, **basics | columns)


def _text(page: Any) -> str:
    """What somebody reads, without the marks."""
    assert page.status_code == 200, page.text
    return re.sub(r"\n\s*\n+", "\n", re.sub(r"<[^>]+>", " ", page.text.replace("&nbsp;", " ")))
