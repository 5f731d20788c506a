"""`rollcall threshold` against a real server."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL

from app.db.engine import Database, make_engine
from app.db.migrate import upgrade
from app.db.tables import Template
from app.db.types import utc_now
from app.gallery.changes import record_additions
from app.operating_points.calibrator import SMALL_N_TEMPLATES
from tests.app import photos
from tests.app.factories import make_embedding, make_enrolment, make_person
from tests.cli.here import run_beside, run_here
from tests.cli.test_cli import assert_one_line
from tests.server import Finished, Server, enroll, identify, running_server

N_PEOPLE = 100


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One enrolled person, whom a camera has seen."""
    with running_server(tmp_path_factory.mktemp("threshold") / "data", ROLLCALL_WORKERS="0") as server:
        with server.client(server.printed_keys[0]) as client:
            assert enroll(client, "G1", photos.grace(), photos.grace(variant=1), name="Grace").status_code == 201
            assert identify(client, photos.grace(variant=4)).json()["faces"][0]["outcome"] == "identified"
        yield server


@pytest.fixture(scope="module")
def large_gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with more templates than are calibrated while a caller waits."""
    folder = tmp_path_factory.mktemp("large") / "data"
    folder.mkdir()
    database = Database(make_engine(URL.create("sqlite", database=str(folder / "rollcall.sqlite3"))))
    upgrade(database.engine)
    with database.write() as session:
        for number in range(N_PEOPLE):
            person = make_person(session=session)
            enrolment = make_enrolment(session=session, person=person)
            templates = [
                Template(
                    person_id=person.id,
                    enrolment_id=enrolment.id,
                    model="dlib-resnet/1",
                    embedding=make_embedding(seed=1000 * number + place),
                    quality=0.9,
                    yaw_deg=0.0,
                    pitch_deg=0.0,
                    roll_deg=0.0,
                    source={"file": "a.jpg", "frame": None, "time_s": None},
                    created_at=utc_now(),
                )
                for place in range(SMALL_N_TEMPLATES // N_PEOPLE + 1)
            ]
            session.add_all(templates)
            session.flush()
            record_additions(session, [(template.id, person.id) for template in templates])
    database.dispose()
    return folder


def current(server: Server) -> dict[str, Any]:
    with server.client(server.printed_keys[0]) as client:
        return dict(client.get("/v1/threshold").json())


def threshold(server: Server, *args: str) -> Finished:
    return run_beside(server, "threshold", *args)


def test_the_threshold_is_shown_with_what_it_means_and_why_it_is_what_it_is(server: Server) -> None:
    set_back = threshold(server, "set", "--preset", "normal", "--reason", "as in [May]")
    shown = threshold(server, "show")
    assert (shown.status, shown.err) == (0, ""), shown
    assert shown.out == set_back.out
    point = current(server)
    rates = [f"{100 * rate:.2f} %" for name in ("fpir", "fnir") for rate in point[f"expected_{name}"].values()]
    expected = (f"Threshold {point['threshold']:.4f}", "automatic: 1.00 %", "95 % interval", "model card", *rates)
    assert [words for words in expected if words not in shown.out] == []
    assert f"by {point['created_by']}: as in [May]" in shown.out
    assert "1 people with 2 templates of dlib-resnet/1" in shown.out
    assert "look-alikes           0 pairs" in shown.out
    assert "suggestion" not in shown.out


def test_everything_that_is_shown_can_be_had_as_json(server: Server) -> None:
    assert json.loads(threshold(server, "show", "--json").out) == current(server)
    history = json.loads(threshold(server, "history", "--limit", "1", "--json").out)
    assert [point["id"] for point in history["items"]] == [current(server)["id"]]
    preview = json.loads(threshold(server, "preview", "0.3", "--json").out)
    assert preview["threshold"] == 0.3


@pytest.mark.parametrize(
    ("args", "target"),
    [
        (("--target", "2%"), 0.02),
        (("--target", "0.03"), 0.03),
        (("--target", "0.1 %"), 0.001),
        (("--preset", "relaxed"), 0.05),
    ],
)
def test_a_target_is_set_however_it_is_written(server: Server, args: tuple[str, ...], target: float) -> None:
    done = threshold(server, "set", *args, "--reason", "trying it out")
    assert (done.status, done.err) == (0, ""), done
    point = current(server)
    assert (point["mode"], point["target_fpir"], point["reason"]) == ("auto", target, "trying it out")
    assert f"automatic: {100 * target:.2f} %" in done.out


def test_beside_a_manual_threshold_it_is_shown_what_would_be_chosen(server: Server) -> None:
    done = threshold(server, "set", "--manual", "0.49")
    assert (done.status, done.err) == (0, ""), done
    point = current(server)
    assert (point["mode"], point["threshold"], point["reason"]) == ("manual", 0.49, None)
    assert "Threshold 0.4900, set by hand" in done.out
    assert "no reason given" in done.out
    suggestion = point["suggestion"]
    command = f"rollcall threshold set --target {suggestion['target_fpir']:g}"
    assert f"suggestion            {suggestion['threshold']:.4f} for a target of" in done.out
    assert command in done.out
    assert threshold(server, *command.split()[2:]).status == 0
    assert current(server)["threshold"] == pytest.approx(suggestion["threshold"])


@pytest.mark.parametrize(
    "args",
    [(), ("--reason", "x"), ("--target", "1%", "--manual", "0.4"), ("--preset", "strict", "--target", "1%")],
    ids=" ".join,
)
def test_one_way_to_choose_is_asked_for(tmp_path: Path, args: tuple[str, ...]) -> None:
    told = run_here(tmp_path, "threshold", "set", *args)
    assert (told.status, told.out) == (2, "")
    assert all(word in told.err for word in ("--target 1%", "--preset normal", "--manual 0.49", "only one"))


@pytest.mark.parametrize("text", ["1", "0", "-1%", "101%", "nan", "much", "", "%", "1%%"])
def test_a_target_that_is_no_share_is_refused_with_an_example(tmp_path: Path, text: str) -> None:
    told = run_here(tmp_path, "threshold", "set", "--target", text)
    assert (told.status, told.out) == (2, "")
    assert "write 1% or 0.01" in told.err


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("set", "--target", "90%"), ("target_fpir", "0.2")),
        (("set", "--manual", "7"), ("threshold", "less than or equal to 2")),
        (("set", "--manual", "0.4", "--reason", "x" * 201), ("reason", "200")),
        (("preview", "-3"), ("threshold", "greater than or equal to -2")),
        (("restore", "op/none"), ("no operating point", "rollcall threshold history")),
    ],
)
def test_what_the_service_refuses_is_told_in_one_line(
    server: Server, args: tuple[str, ...], words: tuple[str, ...]
) -> None:
    before = current(server)
    assert_one_line(threshold(server, *args), *words)
    assert current(server) == before


def test_a_preview_shows_what_would_have_been_decided_and_changes_nothing(server: Server) -> None:
    before = current(server)
    shown = threshold(server, "preview", "1.5")
    assert (shown.status, shown.err) == (0, ""), shown
    assert "Threshold 1.5000 would mean" in shown.out
    assert "1 would no longer and 0 would newly name somebody" in shown.out
    (line,) = (line for line in shown.out.splitlines() if "Grace (G1)" in line)
    assert line.index("IDENTIFIED") < line.index("UNKNOWN")
    below_zero = threshold(server, "preview", "-0.5")
    assert "Threshold -0.5000 would mean" in below_zero.out, below_zero
    assert "Grace" not in below_zero.out
    assert current(server) == before


def test_an_earlier_threshold_is_found_in_the_history_and_put_in_force_again(server: Server) -> None:
    threshold(server, "set", "--manual", "0.31", "--reason", "an [old] one")
    wanted = current(server)["id"]
    threshold(server, "set", "--target", "1%")
    shown = threshold(server, "history")
    assert (shown.status, shown.err) == (0, ""), shown
    in_force = current(server)
    assert f"{wanted}  0.3100  by hand\n" in shown.out
    assert ": an [old] one\n" in shown.out
    assert f"{in_force['id']}  {in_force['threshold']:.4f}  for a target of 1.00 %  (in force)\n" in shown.out

    restored = threshold(server, "restore", wanted, "--reason", "it was better")
    assert (restored.status, restored.err) == (0, ""), restored
    assert "Threshold 0.3100, set by hand" in restored.out
    assert "it was better" in restored.out
    assert "(suggested)" in threshold(server, "history").out


def test_a_long_history_says_that_there_is_more(server: Server) -> None:
    threshold(server, "set", "--target", "1%")
    assert threshold(server, "history", "--limit", "1").out.splitlines()[-1].startswith("There are older ones")


def test_a_small_gallery_is_calibrated_at_once(server: Server) -> None:
    threshold(server, "set", "--target", "1%")
    before = current(server)["id"]
    done = threshold(server, "recalibrate")
    assert (done.status, done.err) == (0, ""), done
    assert current(server)["id"] != before
    assert ": asked for" in done.out


@pytest.mark.parametrize("choice", [("--target", "1%"), ("--manual", "0.4")], ids=["auto", "manual"])
def test_a_large_gallery_is_waited_for(large_gallery: Path, choice: tuple[str, str]) -> None:
    with (
        running_server(large_gallery, ROLLCALL_WORKERS="0") as server,
        server.client(server.new_key("admin")) as client,
    ):
        assert threshold(server, "set", *choice).status == 0
        before = client.get("/v1/threshold").json()
        done = threshold(server, "recalibrate")
        after = client.get("/v1/threshold").json()
        newest = client.get("/v1/threshold/history").json()["items"][0]
    assert done.status == 0, done
    assert newest["reason"] == "asked for"
    assert before["n_templates"] > SMALL_N_TEMPLATES
    changed, kept = (after, before) if before["mode"] == "auto" else (after["suggestion"], before["suggestion"])
    assert changed["id"] == newest["id"] != kept["id"]
    assert f"{changed['threshold']:.4f}" in done.out


def test_reading_needs_an_operator_and_changing_an_administrator(server: Server) -> None:
    changes = (("set", "--target", "1%"), ("recalibrate",), ("restore", current(server)["id"]))
    reads = (("show",), ("preview", "0.5"), ("history",))
    camera, operator = server.new_key("camera"), server.new_key("operator")
    for args in reads:
        assert_one_line(threshold(server, *args, "--key", camera), "scope_insufficient", "operator")
        assert threshold(server, *args, "--key", operator).status == 0
    for args in changes:
        assert_one_line(threshold(server, *args, "--key", operator), "scope_insufficient", "admin")
