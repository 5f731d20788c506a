from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from app.db.engine import Database
from tests.app import photos
from tests.app.factories import make_person, make_template

Headers = dict[str, str]


def scrape(client: TestClient) -> dict[str, float]:
    """Every sample without labels by its name."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    families = text_string_to_metric_families(answer.text)
    return {sample.name: sample.value for family in families for sample in family.samples if not sample.labels}


def test_the_gallery_and_what_the_audit_found_are_shown(
    app: FastAPI, client: TestClient, database: Database, admin: Headers
) -> None:
    with database.write() as session:
        person = make_person(session=session)
        for _ in range(3):
            make_template(session=session, person=person)
    app.state.gallery.catch_up()
    assert "rollcall_gallery_audit_differences" not in scrape(client)
    client.post("/v1/gallery/audit", headers=admin)
    app.state.gallery_upkeep.caretaker.look()
    shown = scrape(client)
    assert (shown["rollcall_gallery_people"], shown["rollcall_gallery_templates"]) == (1, 3)
    assert shown["rollcall_gallery_revision"] == shown["rollcall_gallery_stored_revision"] == 3
    assert shown["rollcall_gallery_audit_differences"] == 0
    assert shown["rollcall_gallery_audit_revision"] == 3
    assert shown["rollcall_gallery_unseen_seconds"] < 60
    assert 0 < shown["rollcall_threshold"] < 1
    assert (shown["rollcall_jobs_queued"], shown["rollcall_database_up"]) == (0, 1)


def test_requests_are_counted_by_route_and_never_by_what_was_asked_for(client: TestClient, admin: Headers) -> None:
    for person_id in ("per_secret1", "per_secret2"):
        client.get(f"/v1/people/{person_id}", headers=admin)
    text = client.get("/metrics").text
    labels = 'method="GET",route="/v1/people/{person_id}",status="404"'
    assert f"rollcall_http_request_seconds_count{{{labels}}} 2.0" in text
    assert "secret" not in text


def test_where_the_time_of_an_identification_goes_is_counted(client: TestClient, camera: Headers) -> None:
    answer = client.post("/v1/identify", files={"image": photos.grace()}, headers=camera)
    assert answer.status_code == 200
    text = client.get("/metrics").text
    for stage in ("decode", "queue", "detect", "embed", "search", "total"):
        assert f'rollcall_identify_stage_seconds_count{{stage="{stage}"}} 1.0' in text
    assert 'rollcall_inference_waiting{lane="interactive"} 0.0' in text
    assert 'device="cpu"' in text and 'rollcall_inference_batch_images_count{lane="interactive"}' in text
    timing = answer.json()["timing_ms"]
    stages = sum(timing[stage] for stage in ("decode", "queue", "detect", "embed", "search"))
    assert stages <= timing["total"] + 0.05  # each is rounded


def test_a_database_that_is_away_is_a_number_and_not_a_failure(client: TestClient, database: Database) -> None:
    with database.write() as session:
        session.connection().exec_driver_sql("ALTER TABLE gallery_state RENAME TO mislaid")
    shown = scrape(client)
    with database.write() as session:
        session.connection().exec_driver_sql("ALTER TABLE mislaid RENAME TO gallery_state")
    assert shown["rollcall_database_up"] == 0
    assert "rollcall_gallery_templates" in shown


def test_two_applications_in_one_process_count_apart(app: FastAPI, client: TestClient, admin: Headers) -> None:
    from app.main import create_app

    other = create_app(app.state.settings, app.state.inference)
    client.get("/v1/people", headers=admin)
    assert "/v1/people" not in TestClient(other).get("/metrics").text
    other.state.database.dispose()
