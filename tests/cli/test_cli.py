"""The command line as a person uses it: a real server, what is printed and the exit status."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from sqlalchemy import URL, text
from typer.testing import CliRunner

from app import __version__
from app.auth.scopes import Scope
from app.auth.service import create_key
from app.cli import app
from app.db.engine import Database, make_engine
from app.db.migrate import upgrade
from app.db.types import utc_now
from tests.app import clips, photos
from tests.cli.here import WIDE, run_beside, run_here
from tests.ml.faces import data_file
from tests.server import Finished, Server, identify, run_rollcall, running_server

_TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d"
NO_SERVER = "http://127.0.0.1:9"
HELP = {
    (): ("serve", "worker", "enroll", "enroll-video", "identify", "demo", "keys", "models", "retrain", "threshold"),
    ("serve",): ("--host", "--port", "ROLLCALL_DATA_DIR", "admin key"),
    ("enroll",): ("folder", "subfolder of photos per person", "--consent", "ROLLCALL_URL", "ROLLCALL_API_KEY"),
    ("enroll-video",): ("employee_code", "file", "--name", "--consent", "--allow-duplicate", "Ten seconds"),
    ("identify",): ("files", "Photos and clips", "ROLLCALL_URL", "ROLLCALL_API_KEY"),
    ("demo",): ("ROLLCALL_URL", "ROLLCALL_API_KEY", "erased at the end"),
    ("keys", "list"): ("never the key itself", "--active"),
    ("keys", "revoke"): ("ID", "rollcall keys list"),
    ("threshold",): ("show", "set", "recalibrate", "preview", "history", "restore"),
    ("threshold", "show"): ("--json", "ROLLCALL_URL", "ROLLCALL_API_KEY"),
    ("threshold", "set"): ("--target", "1% or 0.01", "--preset", "strict", "--manual", "--reason"),
    ("keys", "create"): ("name", "--scope", "camera", "operator", "admin"),
    ("users",): ("create", "list", "reset-password", "disable", "enable"),
    ("users", "create"): ("NAME", "--role", "operator", "admin", "--password-stdin"),
    ("models",): ("list", "pull", "show", "promote", "rollback", "switch", "discard"),
    ("models", "list"): ("licence",),
    ("models", "pull"): ("name", "--from-file", "without internet"),
    ("models", "show"): ("ID", "--limit", "who would have to enrol again", "ROLLCALL_URL", "ROLLCALL_API_KEY"),
    ("models", "promote"): ("ID", "without downtime", "--accept-missing", "--even-if-not-better", "--reason"),
    ("models", "rollback"): ("in use before", "--reason"),
    ("models", "switch"): ("backbone", "rollcall models list", "onnx:FILE", "Switches nothing"),
    ("models", "discard"): ("ID", "not in use"),
    ("retrain",): ("--strategy", "projection", "finetune", "scratch", "--policy", "ask", "--seed", "--wait"),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("cli") / "data") as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two people who can be enrolled, one who cannot, and what belongs to nobody."""
    pictures = {
        "Grace_Hopper/1.jpg": photos.grace(),
        "Grace_Hopper/2.JPEG": photos.grace(variant=1),
        "Grace_Hopper/notes.txt": b"not a photo",
        "Eileen_Collins/1.jpg": photos.eileen(),
        "Eileen_Collins/2.jpg": photos.blurred(),
        "Nobody/1.jpg": photos.nobody(),
        "loose.jpg": photos.grace(),
    }
    for name, content in pictures.items():
        path = tmp_path / "people" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "people"


def assert_one_line(finished: Finished, *words: str) -> None:
    """Exit status 1, nothing on standard output, and one line of our own on standard error."""
    assert (finished.status, finished.out) == (1, ""), finished
    assert finished.err.startswith("rollcall: "), finished
    assert finished.err.count("\n") == 1, finished
    assert all(word in finished.err for word in words), finished


@pytest.mark.parametrize("command", HELP, ids=" ".join)
def test_help_says_what_a_command_needs(command: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(app, [*command, "--help"], env=WIDE)
    assert shown.exit_code == 0, shown.output
    assert [word for word in HELP[command] if word not in shown.output] == []


def test_the_version_is_printed_alone(tmp_path: Path) -> None:
    assert run_rollcall(tmp_path, "--version").out == f"{__version__}\n"


def test_a_new_key_is_printed_alone_and_works(server: Server) -> None:
    made = run_rollcall(server.data_dir, "keys", "create", "front door", "--scope", "camera")
    assert (made.status, made.err) == (0, ""), made
    assert made.out == f"{made.out.strip()}\n"
    with server.client(made.out.strip()) as client:
        assert identify(client, photos.nobody()).status_code == 200
        assert client.get("/v1/people").status_code == 403


def test_a_key_needs_a_scope_that_exists(tmp_path: Path) -> None:
    refused = run_here(tmp_path, "keys", "create", "x", "--scope", "root")
    assert refused.status == 2
    assert all(scope in refused.err for scope in ("camera", "operator", "admin"))


def test_keys_are_listed_without_their_secret_and_can_be_revoked(server: Server) -> None:
    secret = run_beside(server, "keys", "create", "back [door]", "--scope", "operator").out.strip()
    unused = run_beside(server, "keys", "list").out
    with server.client(secret) as client:
        assert client.get("/v1/people").status_code == 200
        used = run_beside(server, "keys", "list").out
        found = re.search(r"^(key_\w+)  operator  back \[door]\n  (.*)$", used, re.MULTILINE)
        assert found is not None, used
        key_id, times = found.groups()
        assert re.fullmatch(rf"created {_TIME}, last used {_TIME}", times)
        assert re.search(rf"^{key_id}  .*\n  created {_TIME}, never used$", unused, re.MULTILINE)

        revoked = run_beside(server, "keys", "revoke", key_id)
        assert (revoked.status, revoked.err) == (0, ""), revoked
        assert client.get("/v1/people").json()["code"] == "key_unknown"
    listed, active = (run_beside(server, "keys", "list", *option).out for option in ((), ("--active",)))
    assert re.search(rf"^{key_id}  .*\n  created {_TIME}, last used {_TIME}, revoked {_TIME}$", listed, re.MULTILINE)
    assert key_id not in active and "first admin key" in active
    assert secret not in listed and "rck_" not in listed


def test_a_key_that_there_is_not_cannot_be_revoked(server: Server) -> None:
    assert_one_line(run_beside(server, "keys", "revoke", "key_none"), "no key with this id", "rollcall keys list")


def test_asking_about_keys_makes_no_database(tmp_path: Path) -> None:
    for command in (("list",), ("revoke", "key_none")):
        told = run_here(tmp_path / "data", "keys", *command)
        assert_one_line(told, "no database", str(tmp_path / "data"), "ROLLCALL_DATA_DIR")
    assert not (tmp_path / "data").exists()


def test_the_demo_recognises_one_names_no_stranger_and_leaves_nothing(server: Server) -> None:
    shown = run_beside(server, "demo")
    assert shown.status == 0, shown
    assert "IDENTIFIED" in shown.out
    assert "UNKNOWN" in shown.out
    assert "Grace Hopper (DEMO-" in shown.out
    with server.client(server.printed_keys[0]) as client:
        assert client.get("/v1/people").json()["items"] == []


def test_a_folder_of_people_is_enrolled_and_then_recognised(server: Server, folder: Path, tmp_path: Path) -> None:
    without = run_beside(server, "enroll", folder)
    assert without.status == 1
    assert without.out.count("consent_missing") == 3

    first = run_beside(server, "enroll", folder, "--consent")
    assert first.status == 0, first
    assert "Enrolled 2 people with 3 photos." in first.out
    assert "1 people were not enrolled" in first.out
    assert "no_face" in first.out

    again = run_beside(server, "enroll", folder, "--consent")
    assert again.status == 0, again
    assert "Enrolled 0 people with 0 photos." in again.out
    assert "Nothing new for 2 people" in again.out

    probes = tmp_path / "grace.jpg", tmp_path / "two.jpg", tmp_path / "nobody.jpg"
    for path, content in zip(probes, (photos.grace(variant=4), photos.two_people(), photos.nobody()), strict=True):
        path.write_bytes(content)
    shown = run_beside(server, "identify", *probes)
    assert shown.status == 0, shown
    assert shown.out.count("IDENTIFIED") == 3
    assert shown.out.count("Grace Hopper (Grace_Hopper)") == 2
    assert shown.out.count("Eileen Collins (Eileen_Collins)") == 1
    assert "no face" in shown.out


def test_a_clip_is_enrolled_with_progress_and_its_people_are_named(server: Server, tmp_path: Path) -> None:
    clip = clips.eileen(tmp_path / "eileen.mp4")
    who = "V1", clip, "--name", "Eileen by video"

    without = run_beside(server, "enroll-video", *who)
    assert (without.status, "consent_missing" in without.err + without.out) == (1, True)

    twin = run_beside(server, "enroll-video", *who, "--consent")
    assert twin.status == 1, twin
    assert "Not enrolled. duplicate_person" in twin.out
    assert "It is the face of Eileen Collins (Eileen_Collins)." in twin.out

    done = run_beside(server, "enroll-video", *who, "--consent", "--allow-duplicate")
    assert done.status == 0, done
    assert re.search(r"Enrolled Eileen by video with \d+ templates \(\w+ \d+.*\)\.", done.out)
    assert "Looked at 24 frames; left out: duplicate_frame" in done.out
    assert "100%" in done.err

    shown = run_beside(server, "identify", clips.grace(tmp_path / "grace.gif", n=6))
    assert shown.status == 0, shown
    assert re.search(r"0\.0-0\.\d s, best .* IDENTIFIED .* Grace Hopper", shown.out)


def test_a_photo_that_is_refused_is_named_and_the_others_are_looked_at(server: Server, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.jpg", tmp_path / "bad.jpg"
    good.write_bytes(photos.nobody())
    bad.write_bytes(b"text")
    shown = run_beside(server, "identify", bad, good)
    assert shown.status == 1
    assert "image_type_unsupported" in shown.out
    assert "no face" in shown.out


def test_keys_that_commands_borrow_are_deleted_again(server: Server, tmp_path: Path) -> None:
    photo = tmp_path / "a.jpg"
    photo.write_bytes(photos.nobody())
    before = key_ids(server)
    assert run_beside(server, "identify", photo).status == 0
    assert key_ids(server) == before


def test_a_borrowed_key_that_a_killed_command_left_behind_ends_and_is_deleted(server: Server, tmp_path: Path) -> None:
    photo = tmp_path / "a.jpg"
    photo.write_bytes(photos.nobody())
    keys = {"key_cli_left": utc_now() - timedelta(minutes=1), "key_cli_used": utc_now() + timedelta(hours=1)}
    database = Database(make_engine(URL.create("sqlite", database=str(server.database_path))))
    with database.write() as session:
        for key_id, expires_at in {**keys, "key_of_somebody": keys["key_cli_left"]}.items():
            create_key(session, "left", Scope.CAMERA, expires_at, key_id=key_id)
    database.dispose()
    assert run_beside(server, "identify", photo).status == 0
    assert key_ids(server) & {"key_cli_left", "key_cli_used", "key_of_somebody"} == {"key_cli_used", "key_of_somebody"}


def key_ids(server: Server) -> set[str]:
    with closing(sqlite3.connect(f"file:{server.database_path}?mode=ro", uri=True)) as connection:
        return {key_id for (key_id,) in connection.execute("SELECT id FROM api_keys")}


def test_a_key_that_is_given_is_used(server: Server, tmp_path: Path) -> None:
    photo, elsewhere = tmp_path / "a.jpg", tmp_path / "elsewhere"
    photo.write_bytes(photos.nobody())
    settings = {"ROLLCALL_URL": server.url}
    shown = run_here(elsewhere, "identify", photo, ROLLCALL_API_KEY=server.printed_keys[0], **settings)
    assert shown.status == 0, shown
    refused = run_here(elsewhere, "identify", photo, "--key", "rck_wrong", **settings)
    assert refused.status == 1
    assert "key_unknown" in refused.out
    assert not elsewhere.exists()


def test_without_a_server_it_says_how_to_start_one(tmp_path: Path, folder: Path) -> None:
    for command in (("demo",), ("enroll", folder, "--consent"), ("identify", folder / "loose.jpg")):
        told = run_here(tmp_path, *command, ROLLCALL_URL=NO_SERVER, ROLLCALL_API_KEY="rck_x")
        told.err = told.err.splitlines(keepends=True)[-1]  # `enroll` shows how far it is
        told.out = told.out.removeprefix("1. Enrolling Grace Hopper from one photo …\n")
        assert_one_line(told, NO_SERVER, "rollcall serve")


def test_without_a_key_and_a_database_it_says_what_to_set(tmp_path: Path, folder: Path) -> None:
    told = run_here(tmp_path / "data", "identify", folder / "loose.jpg", ROLLCALL_URL=NO_SERVER)
    assert_one_line(told, "ROLLCALL_API_KEY", "rollcall serve")
    assert not (tmp_path / "data").exists()


def test_a_folder_without_photos_is_told_what_is_expected(tmp_path: Path) -> None:
    assert_one_line(run_here(tmp_path, "enroll", tmp_path), "subfolders with photos", ".jpg")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("ROLLCALL_DETECTOR", "nonsense", ("'nonsense'", "mtcnn, yunet")),
        ("ROLLCALL_DETECTOR", "yunet", ("rollcall models pull yunet",)),
        ("ROLLCALL_BACKBONE", "onnx:/nowhere.onnx", ("/nowhere.onnx",)),
        ("ROLLCALL_MIN_FACE_PX", "2", ("ROLLCALL_MIN_FACE_PX", "12")),
        ("ROLLCALL_DATABASE_URL", "nonsense", ("ROLLCALL_DATABASE_URL", "postgresql://")),
        ("ROLLCALL_DATABASE_URL", "postgresql://ada:s3cret@127.0.0.1:9/x", ("cannot be used", "ROLLCALL_DATABASE_URL")),
        ("ROLLCALL_DATA_DIR", "/dev/null/data", ("/dev/null/data",)),
    ],
)
def test_a_wrong_setting_is_told_in_one_line(tmp_path: Path, name: str, value: str, words: tuple[str, ...]) -> None:
    told = run_rollcall(tmp_path / "data", "serve", "--port", "0", **{name: value})
    assert_one_line(told, *words)
    assert "s3cret" not in told.err


def test_a_gpu_that_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    told = run_rollcall(tmp_path, "serve", "--port", "0", ROLLCALL_DEVICE="cuda")
    assert_one_line(told, "'cuda'", "nvidia-smi", "cpu")


def test_a_port_that_is_taken_is_told_in_one_line(server: Server, tmp_path: Path) -> None:
    told = run_rollcall(tmp_path, "serve", "--port", str(server.port))
    assert_one_line(told, str(server.port), "--port")


def test_a_host_that_is_not_here_is_told_in_one_line(tmp_path: Path) -> None:
    assert_one_line(run_rollcall(tmp_path, "serve", "--host", "203.0.113.7"), "203.0.113.7", "--host")


def test_a_file_that_is_no_database_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "rollcall.sqlite3").write_text("These are not the rows you are looking for.\n" * 100)
    assert_one_line(run_rollcall(tmp_path, "serve", "--port", "0"), "not a database")


def test_a_database_of_a_newer_release_is_told_in_one_line(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "rollcall.sqlite3")) as connection, connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32))")
        connection.execute("INSERT INTO alembic_version VALUES ('9999')")
    assert_one_line(run_rollcall(tmp_path, "serve", "--port", "0"), "newer release")


def test_templates_of_another_backbone_are_told_in_one_line(tmp_path: Path) -> None:
    engine = make_engine(URL.create("sqlite", database=str(tmp_path / "rollcall.sqlite3")))
    upgrade(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE gallery_state SET model = 'sface/1'"))
    engine.dispose()
    assert_one_line(run_rollcall(tmp_path, "serve", "--port", "0"), "sface/1", "ROLLCALL_BACKBONE")


def test_settings_that_there_are_not_do_no_harm(tmp_path: Path) -> None:
    assert run_here(tmp_path, "models", "list", ROLLCALL_PORT="nonsense").status == 0


def test_every_network_is_listed_with_its_licence_and_whether_it_is_here(tmp_path: Path) -> None:
    shown = run_here(tmp_path, "models", "list")
    assert shown.status == 0, shown
    assert shown.out.count("  licence  ") == shown.out.count("  weights  ") >= 5
    assert "yunet (detector, yunet/1)" in shown.out
    assert "licence  MIT" in shown.out
    assert "not here: rollcall models pull yunet" in shown.out


def test_a_network_that_was_carried_here_is_checked_and_then_used(tmp_path: Path) -> None:
    file = data_file("models/yunet_s_640_640.onnx")  # byte for byte the published file
    pulled = run_here(tmp_path / "data", "models", "pull", "yunet", "--from-file", file)
    assert pulled.status == 0, pulled
    assert pulled.out.startswith(f"yunet is ready: {tmp_path / 'data' / 'models'}")
    with running_server(tmp_path / "data", ROLLCALL_DETECTOR="yunet", ROLLCALL_WORKERS="0") as server:
        with server.client(server.printed_keys[0]) as client:
            assert client.get("/v1/system").json()["model"]["detector"] == "yunet"
            assert len(identify(client, photos.two_people()).json()["faces"]) == 2
        listed = run_beside(server, "models", "list")
    assert "here: " in listed.out


def test_a_wrong_file_is_not_taken_for_a_network(tmp_path: Path) -> None:
    (tmp_path / "other.onnx").write_bytes(b"x" * 232_589)
    told = run_here(tmp_path / "data", "models", "pull", "yunet", "--from-file", tmp_path / "other.onnx")
    assert told.status == 1
    assert "sha256" in told.err.splitlines()[-1]
    assert "Traceback" not in told.err
    assert [path for path in (tmp_path / "data").rglob("*") if path.is_file()] == []


def test_a_network_that_there_is_not_is_told_in_one_line(tmp_path: Path) -> None:
    assert_one_line(run_here(tmp_path, "models", "pull", "nonsense"), "'nonsense'", "yunet")
