import json
from datetime import UTC, date, datetime

from app.db.tables import Day, Event
from app.webhooks.payloads import day_payload, event_payload, taken_away_payload

AT = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)  # half past two in Berlin, for the first time that night


def make_event() -> Event:
    return Event(
        id="evt_1",
        capture_id="cap_1",
        camera_id="cam_1",
        site_id="site_default",
        timezone="Europe/Berlin",
        repeat_window_s=120,
        method="face",
        outcome="identified",
        received_at=AT,
        created_by="key:key_1",
        person_id="per_1",
        occurred_at=AT,
        given_direction=None,
        is_deleted=False,
        direction="in",
        duplicate_of=None,
        local_date=date(2026, 10, 25),
        shift_id="shf_1",
        explanation="IN of Ada Byron's shift",
    )


def test_an_event_is_told_with_both_times_and_without_words() -> None:
    payload = event_payload(make_event(), "E1", 3)
    assert payload == {
        "event_id": "evt_1",
        "person_id": "per_1",
        "employee_code": "E1",
        "camera_id": "cam_1",
        "site_id": "site_default",
        "method": "face",
        "outcome": "identified",
        "direction": "in",
        "duplicate_of": None,
        "is_deleted": False,
        "occurred_at": "2026-10-25T00:30:00Z",
        "occurred_at_local": "2026-10-25T02:30:00+02:00",
        "timezone": "Europe/Berlin",
        "date": "2026-10-25",
        "shift_id": "shf_1",
        "version": 3,
    }
    assert json.loads(json.dumps(payload)) == payload


def test_whoever_an_event_is_taken_from_is_not_told_whose_it_is_now() -> None:
    payload = taken_away_payload(make_event(), 2)
    assert {name: payload[name] for name in ("event_id", "person_id", "employee_code", "outcome", "version")} == {
        "event_id": "evt_1",
        "person_id": None,
        "employee_code": None,
        "outcome": "unknown",
        "version": 2,
    }
    assert (payload["direction"], payload["shift_id"], payload["duplicate_of"]) == (None, None, None)
    assert "per_1" not in json.dumps(payload)


def test_a_day_is_told_with_its_seconds_and_its_version() -> None:
    day = Day(
        person_id="per_1",
        local_date=date(2026, 10, 25),
        timezone="Europe/Berlin",
        status="missing_out",
        first_in=AT,
        last_out=None,
        worked_s=0,
        break_s=0,
        late_s=60,
        early_leave_s=0,
        overtime_s=0,
        n_events=1,
        closes_at=AT,
        explanation="Ada Byron did not check out",
        parts=[],
        version=3,
        updated_at=AT,
    )
    payload = day_payload(day, "E1")
    assert (payload["date"], payload["status"], payload["late_s"], payload["version"]) == (
        "2026-10-25",
        "missing_out",
        60,
        3,
    )
    assert (payload["first_in_local"], payload["last_out"]) == ("2026-10-25T02:30:00+02:00", None)
    assert "Ada" not in json.dumps(payload)
