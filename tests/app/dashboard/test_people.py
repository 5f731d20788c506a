"""The pages about people, as the server renders them, on both databases."""

import re

import pytest
from sqlalchemy import event
from starlette.testclient import TestClient

from app.dashboard.face_words import REASONS, TABLES, counted, reason_of, words_in
from app.dashboard.frame.messages import catalogue
from app.db.engine import Database
from app.db.tables import Enrolment, Person, SuspiciousTemplateRow
from app.db.types import utc_now
from app.enrolment.jobs import REFUSALS
from app.enrolment.photos import ADVICE
from ml.pose import POSES
from ml.types import Reason
from tests.app.dashboard.visitors import sign_in
from tests.app.factories import make_enrolment, make_person, make_template

NAMES = re.compile(r"<strong>([^<]+)</strong></a></td>")


@pytest.fixture
def csrf(client: TestClient, database: Database) -> dict[str, str]:
    return sign_in(client=client, database=database, role="operator")


def names(client: TestClient, path: str = "/people") -> list[str]:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return NAMES.findall(answer.text)


def statements_of(client: TestClient, database: Database, path: str) -> int:
    """How many SQL statements a page takes."""
    seen: list[str] = []

    def note(_conn: object, _cursor: object, statement: str, *_rest: object) -> None:
        seen.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    assert client.get(path).status_code == 200
    event.remove(database.engine, "before_cursor_execute", note)
    return len(seen)


def make_people(database: Database, n: int) -> None:
    with database.write() as session:
        for number in range(n):
            make_person(session=session, employee_code=f"E{number:03}", name=f"Person {number:03}")


@pytest.mark.usefixtures("csrf")
def test_the_list_is_searched_and_filtered(client: TestClient, database: Database) -> None:
    with database.write() as session:
        for name, department in (("Ada", "R&D"), ("José", "Sales"), ("Cy", None)):
            make_person(session=session, employee_code=name[0], name=name, department=department)
        gone = make_person(session=session, name="Gone")
        gone.active = False
    assert names(client) == ["Gone", "Cy", "José", "Ada"]  # whoever was added last stands on top
    assert names(client, "/people?query=jose") == ["José"]
    assert names(client, "/people?department=R%26D") == ["Ada"]
    assert names(client, "/people?status=inactive") == ["Gone"]
    assert names(client, "/people?status=active&query=c") == ["Cy"]
    assert "Nobody matches" in client.get("/people?query=zzz").text
    assert client.get("/people?status=perhaps").status_code == 422


@pytest.mark.usefixtures("csrf")
def test_people_without_a_face_and_with_few_directions_are_found(client: TestClient, database: Database) -> None:
    with database.write() as session:
        make_person(session=session, name="No face")
        few = make_person(session=session, name="Few")
        for yaw in (0.0, 30.0):
            make_template(session=session, person=few, yaw_deg=yaw)
        enough = make_person(session=session, name="Enough")
        for yaw in (0.0, -15.0, 15.0):
            make_template(session=session, person=enough, yaw_deg=yaw)
    assert names(client, "/people?face=none") == ["No face"]
    assert names(client, "/people?face=poor") == ["Few"]


@pytest.mark.usefixtures("csrf")
def test_a_long_list_is_walked_page_by_page(client: TestClient, database: Database) -> None:
    make_people(database, 120)
    walked, path = [], "/people?query=person"
    while path:
        text = client.get(path).text
        walked += NAMES.findall(text)
        more = re.search(r'href="(/people\?[^"]*cursor=[^"]+)"', text)
        path = more[1].replace("&amp;", "&") if more else ""
    assert walked == [f"Person {number:03}" for number in reversed(range(120))]


@pytest.mark.usefixtures("csrf")
def test_a_page_takes_as_many_statements_for_many_people_as_for_few(client: TestClient, database: Database) -> None:
    make_people(database, 2)
    few = statements_of(client, database, "/people")
    make_people_more(database)
    assert statements_of(client, database, "/people") < few + 20  # 50 are shown; what runs beside it asks something too


def make_people_more(database: Database) -> None:
    with database.write() as session:
        for number in range(60):
            person = make_person(session=session, name=f"More {number}")
            make_template(session=session, person=person)


@pytest.mark.usefixtures("csrf")
def test_one_person_is_shown_with_templates_enrolments_and_what_is_missing(
    client: TestClient, database: Database
) -> None:
    with database.write() as session:
        person = make_person(session=session, name="Ada")
        failed = make_enrolment(session=session, person=person, kind="video", status="failed")
        failed.file_name, failed.error = "ada.mp4", "several_people: Two people are in this clip."
        failed.rejected = [{"source": {"file": "ada.mp4"}, "reason": "blurred"}] * 3
        done = make_enrolment(session=session, person=person)
        done.rejected = [{"source": {"file": "b.jpg"}, "reason": "too_dark"}]
        done.warnings = ["few_templates: 1 so far; 3 or more are recognised more reliably"]
        template = make_template(session=session, person=person, enrolment=done, yaw_deg=-20.0)
        other = make_person(session=session, name="Other")
        session.flush()
        session.add(SuspiciousTemplateRow(template_id=template.id, nearer_to=other.id, lead=0.1))
        person_id = person.id
    text = client.get(f"/people/{person_id}").text
    assert REASONS["several_people"] in text
    assert "<strong>3 ×</strong> " + REASONS["blurred"] in text
    assert "<code>b.jpg</code> " + REASONS["too_dark"] in text
    assert "Fewer than three templates" in text
    assert "Suspicious" in text
    assert "looks straight into the camera" in text
    assert f"/v1/templates/{template.id}/crop" in text


@pytest.mark.usefixtures("csrf")
def test_an_enrolment_whose_job_is_gone_is_not_shown_as_waiting(client: TestClient, database: Database) -> None:
    with database.write() as session:
        person = make_person(session=session)
        make_enrolment(session=session, person=person, kind="video", status="queued")
        person_id = person.id
    text = client.get(f"/people/{person_id}").text
    assert "data-unfinished" not in text
    assert REASONS["job_gone"] in text


@pytest.mark.usefixtures("csrf")
def test_somebody_who_is_not_there_is_answered_with_a_page(client: TestClient) -> None:
    answer = client.get("/people/per_none", headers={"accept": "text/html"})
    assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (404, "text/html")
    assert "There is no person with this id." in answer.text


@pytest.mark.usefixtures("csrf")
def test_markup_in_what_people_are_called_stays_text(client: TestClient, database: Database) -> None:
    bad = "</script><img src=x onerror=alert(1)>"
    with database.write() as session:
        person = make_person(session=session, name=bad, employee_code='"><script>', department=bad)
        enrolment = make_enrolment(session=session, person=person)
        enrolment.rejected = [{"source": {"file": bad}, "reason": bad}]
        person_id = person.id
    for path in ("/people", f"/people/{person_id}"):
        text = client.get(path).text
        assert "<img src=x" not in text
        assert '"><script>' not in text


def test_the_pages_ask_for_somebody_who_is_signed_in(client: TestClient, database: Database) -> None:
    with database.write() as session:
        person_id = make_person(session=session).id
    for path in ("/people", "/people/import", f"/people/{person_id}"):
        answer = client.get(path, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"].split("?")[0]) == (303, "/login")


def test_the_pages_speak_vietnamese(client: TestClient, database: Database) -> None:
    sign_in(client=client, database=database, language="vi")
    assert "Chưa có ai" in client.get("/people").text
    assert "Tệp mẫu" in client.get("/people/import").text


def test_a_person_is_created_and_erased_with_the_session(
    client: TestClient, database: Database, csrf: dict[str, str]
) -> None:
    new = {
        "employee_code": "E1",
        "name": "Ada",
        "consent": {"given_at": utc_now().isoformat(), "method": "signed form"},
    }
    assert client.post("/v1/people", json=new).status_code == 403
    person_id = client.post("/v1/people", json=new, headers=csrf).json()["id"]
    assert names(client) == ["Ada"]
    assert client.request("DELETE", f"/v1/people/{person_id}", headers=csrf).status_code == 200
    with database.read() as session:
        assert session.query(Person).count() == 0
        assert session.query(Enrolment).count() == 0


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_the_sample_file_can_be_imported(client: TestClient, csrf: dict[str, str]) -> None:
    sample = client.get("/assets/people-sample.csv").content
    result = client.post("/v1/people/import", files={"file": sample}, headers=csrf).json()
    assert (result["created"], result["errors"]) == (2, [])


def test_every_machine_word_has_words_for_people() -> None:
    assert {reason.value for reason in Reason} <= REASONS.keys()
    assert ADVICE.keys() | REFUSALS.keys() <= REASONS.keys()
    assert set(POSES) == TABLES["direction"].keys() == TABLES["advice"].keys()
    vietnamese = words_in("vi")
    for name, table in TABLES.items():
        assert vietnamese[name] == {word: catalogue("vi")[message] for word, message in table.items()}


def test_reasons_are_counted_the_most_frequent_first() -> None:
    rejected = [{"reason": reason} for reason in ("blurred", "no_face", "no_face")]
    assert list(counted(rejected).items()) == [("no_face", 2), ("blurred", 1)]
    assert (reason_of("no_face: No face."), reason_of(None)) == ("no_face", None)
