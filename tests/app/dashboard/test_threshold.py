"""The pages about the threshold, as the service renders them, on both databases."""

from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import select
from starlette.testclient import TestClient

from app.dashboard.threshold import per_thousand, table_of
from app.db.engine import Database
from app.db.tables import OperatingPointRow
from app.decisions.log import Circumstances
from app.operating_points.schemas import Curve
from tests.app.crowd import enrol_crowd, enrol_face, face
from tests.app.dashboard.visitors import sign_in
from tests.app.decisions.test_decisions import MODEL, decided
from tests.app.factories import make_person

Headers = dict[str, str]
ENDS = ("fpir_low", "fpir_high", "fnir_low", "fnir_high")


def put(client: TestClient, headers: Headers, **new: Any) -> dict[str, Any]:
    answer = client.put("/v1/threshold", json=new, headers=headers)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def shown(client: TestClient, path: str = "/threshold") -> str:
    answer = client.get(path, headers={"Accept": "text/html"})
    assert answer.status_code == 200, answer.text
    return answer.text


@pytest.fixture
def confusing(app: FastAPI, client: TestClient, database: Database, admin: Headers) -> list[str]:
    """Ann and Bea look alike, of whom somebody complained besides; Wrong has a photo of somebody else."""
    enrol_crowd(database=database, n_people=10)
    with database.write() as session:
        people = [make_person(session=session, name=name) for name in ("Ann <b>", "Bea", "Wrong")]
        for number, person in enumerate(people[:2]):
            own = [face(seed=1, photo=3 * number + i) for i in range(3)]
            enrol_face(session=session, person=person, embeddings=own)
        mixed = [face(seed=2, photo=0), face(seed=2, photo=1), face(seed=100, photo=9)]
        enrol_face(session=session, person=people[2], embeddings=mixed)
    point = put(client, admin, mode="auto")
    ids = [person.id for person in people]
    seen = [decided([(ids[0], 0.6), (ids[1], 0.58)], 0.5)]
    event_id = app.state.decision_log.store(seen, Circumstances("req", "key:test", 0.5, point["id"], 3, MODEL))[0]
    said = {"correct": False, "person_id": ids[1]}
    assert client.post(f"/v1/events/{event_id}/feedback", json=said, headers=admin).status_code == 200
    return ids


def test_the_curve_says_between_which_ends_each_rate_lies(
    app: FastAPI, client: TestClient, database: Database, admin: Headers
) -> None:
    enrol_crowd(database=database, n_people=12)
    app.state.gallery.catch_up()
    point = put(client, admin, mode="auto", preset="normal")
    curve = client.get("/v1/threshold/curve", headers=admin).json()
    for rate in ("fpir", "fnir"):
        ends = zip(curve[f"{rate}_low"], curve[rate], curve[f"{rate}_high"], strict=True)
        assert all(0 <= low <= value <= high <= 1 for low, value, high in ends)
    nearest = min(range(len(curve["thresholds"])), key=lambda i: abs(curve["thresholds"][i] - point["threshold"]))
    assert curve["fpir_high"][nearest] == pytest.approx(point["expected_fpir"]["high"], rel=0.5)


def test_a_point_that_an_earlier_release_made_is_shown_without_ends(
    client: TestClient, database: Database, admin: Headers
) -> None:
    with database.write() as session:
        for row in session.scalars(select(OperatingPointRow)):
            row.curves = {name: values for name, values in row.curves.items() if name not in ENDS}
    curve = client.get("/v1/threshold/curve", headers=admin).json()
    assert all(curve[name] == [] for name in ENDS) and curve["fpir"]
    sign_in(client=client, database=database)
    assert "The chart as a table" in shown(client)


def test_a_new_service_says_what_the_threshold_rests_on_and_how_many_people_it_takes(
    client: TestClient, database: Database
) -> None:
    sign_in(client=client, database=database)
    page = shown(client)
    assert "Not measured on your own people yet" in page and "From 5 enrolled people on" in page
    assert "0 people of 5 are enrolled" in page
    assert "people; the figures are the network's own so far" in page
    assert "The first start" in page and "Nobody is easily confused" in page


def test_figures_history_and_suggestion_are_there_before_any_script_runs(
    app: FastAPI, client: TestClient, database: Database, admin: Headers
) -> None:
    enrol_crowd(database=database, n_people=12)
    app.state.gallery.catch_up()
    put(client, admin, mode="manual", threshold=0.47)
    put(client, admin, mode="manual", threshold=0.51, reason="Two <visitors> were taken for staff")
    sign_in(client=client, database=database)
    page = shown(client)
    assert "Not measured on your own people" not in page
    assert page.count("0.5100") > 2 and "Fixed: it stays until you change it" in page
    assert "Automatic mode would choose" in page and "Two &lt;visitors&gt; were taken for staff" in page
    assert 'data-threshold="0.4700"' in page and 'data-threshold="0.5100"' not in page


def test_operators_see_everything_and_change_nothing(client: TestClient, database: Database, admin: Headers) -> None:
    put(client, admin, mode="manual", threshold=0.47)
    put(client, admin, mode="auto")
    sign_in(client=client, database=database, role="operator")
    page = shown(client)
    assert "Only administrators can change the one in force." in page
    assert 'id="apply"' not in page and "data-restore" not in page and 'id="recalibrate"' not in page


def test_the_history_goes_on_page_by_page(client: TestClient, database: Database, admin: Headers) -> None:
    for number in range(30):
        put(client, admin, mode="manual", threshold=0.4 + number / 1000)
    sign_in(client=client, database=database)
    assert 'href="/threshold/history"' in shown(client)
    first = shown(client, "/threshold/history")
    assert "In force" in first and "0.4290" in first and "cursor=" in first
    assert "Suggested beside a fixed threshold" in first


def test_look_alikes_and_doubtful_faces_have_names_pictures_and_something_to_do(
    client: TestClient, database: Database, confusing: list[str]
) -> None:
    a, b, wrong = confusing
    sign_in(client=client, database=database)
    for page in (shown(client), shown(client, "/threshold/look-alikes")):
        assert "Ann &lt;b&gt;" in page and f"/v1/people/{a}/portrait" in page and f"/people/{b}" in page
        assert "Confused once, somebody said" in page and f'data-forget="{min(a, b)}/{max(a, b)}"' in page
    for page in (shown(client), shown(client, "/threshold/suspicious-templates")):
        assert f'<a href="/people/{wrong}">Wrong</a>' in page and "data-remove=" in page and "/crop" in page


def test_lists_that_are_empty_say_where_their_items_come_from(client: TestClient, database: Database) -> None:
    sign_in(client=client, database=database)
    assert "Nobody is easily confused" in shown(client, "/threshold/look-alikes")
    assert "Every face is nearest to its own person" in shown(client, "/threshold/suspicious-templates")


def test_the_page_speaks_vietnamese(client: TestClient, database: Database) -> None:
    sign_in(client=client, database=database, language="vi")
    page = shown(client)
    assert "Ngưỡng hiện hành" in page and "Lần khởi động đầu tiên" in page and "The first start" not in page


def test_the_live_estimate_says_how_many_faces_are_wanted(client: TestClient, operator: Headers) -> None:
    live = client.get("/v1/review/estimate", headers=operator).json()
    assert (live["n_identified_wanted"], live["n_unknown_wanted"]) == (0, 0)  # nobody came by


def test_the_table_has_each_point_once() -> None:
    curve = Curve(
        thresholds=[0.1, 0.2, 0.3],
        fpir=[0.6, 0.01, 0.0001],
        fpir_low=[0.5, 0.005, 0.0],
        fpir_high=[0.7, 0.02, 0.001],
        fnir=[0.0, 0.1, 0.9],
        bin_edges=[0.0, 1.0],
        mated_histogram=[1],
        non_mated_histogram=[1],
        n_mated=1,
        n_non_mated=1,
    )
    rows = table_of(curve)
    assert [row.threshold for row in rows] == [0.1, 0.2, 0.3]
    assert (rows[1].fpir.low, rows[1].fpir.high, rows[1].fnir.low, rows[1].fnir.high) == (0.005, 0.02, 0.1, 0.1)


@pytest.mark.parametrize(("rate", "said"), [(0.0, 0.0), (0.00123, 1.2), (0.00996, 10.0), (0.0104, 10), (0.5, 500)])
def test_of_a_thousand_few_have_a_decimal(rate: float, said: float) -> None:
    assert per_thousand(rate) == said
