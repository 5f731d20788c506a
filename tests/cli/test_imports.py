"""Taking people over from CompreFace and from CSV files: a real database of CompreFace's, a real service."""

import re
import signal
import subprocess
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from time import monotonic, sleep
from uuid import UUID

import pytest
from PIL import Image

from app.compreface.reader import StoredImage
from app.compreface.rules import Limits, batches
from tests.app import photos
from tests.cli.compreface_fixture import DEMO, EMBEDDING, GATE, OFFICE, CompreFace, compreface_database
from tests.cli.here import run_beside, run_here
from tests.server import ROLLCALL, Finished, Server, environment, identify, running_server

NOWHERE = "http://127.0.0.1:9"
MAX_FILES = 3
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def shared_compreface() -> Iterator[CompreFace]:
    with compreface_database() as compreface:
        yield compreface


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = {"ROLLCALL_MAX_ENROLL_FILES": str(MAX_FILES), "ROLLCALL_WORKERS": "0"}
    with running_server(tmp_path_factory.mktemp("imports") / "data", **settings) as server:
        yield server


@pytest.fixture
def compreface(shared_compreface: CompreFace) -> CompreFace:
    """CompreFace without subjects."""
    shared_compreface.clear()
    return shared_compreface


@pytest.fixture
def service(server: Server) -> Server:
    """The service without people."""
    with server.client(server.printed_keys[0]) as client:
        for person in client.get("/v1/people", params={"limit": 500}).json()["items"]:
            assert client.delete(f"/v1/people/{person['id']}").status_code == 200
    return server


def run_import(service: Server, compreface: CompreFace, *options: str | Path, **settings: str) -> Finished:
    finished = run_beside(service, "import", "compreface", compreface.url, *options, **settings)
    told = finished.out + finished.err
    assert [secret for secret in (OFFICE, GATE, *map(str, EMBEDDING)) if secret in told] == []
    return finished


def people(service: Server) -> dict[str, int]:
    """Templates by employee_code."""
    with service.client(service.printed_keys[0]) as client:
        items = client.get("/v1/people", params={"limit": 500}).json()["items"]
    return {person["employee_code"]: person["n_templates"] for person in items}


def name_in(service: Server, photo: bytes) -> str | None:
    """Who is identified in a photo of one."""
    with service.client(service.printed_keys[0]) as client:
        (face,) = identify(client, photo).json()["faces"]
    return None if face["person"] is None else str(face["person"]["employee_code"])


def cells(finished: Finished) -> dict[str, str]:
    """The last table that was printed: its second column by the first."""
    rows = (line.strip("│").split("│") for line in finished.out.splitlines() if line.startswith("│"))
    return {first.strip(): second.strip() for first, second in rows}


def assert_one_line(finished: Finished, *words: str) -> None:
    """Exit status 1, nothing on standard output, and one line of our own on standard error."""
    assert (finished.status, finished.out) == (1, ""), finished
    assert finished.err.startswith("rollcall: "), finished
    assert finished.err.count("\n") == 1, finished
    assert [word for word in words if word not in finished.err] == [], finished


def picture(format_name: str) -> bytes:
    """A photo of Grace Hopper in a format that CompreFace takes."""
    buffer = BytesIO()
    Image.open(BytesIO(photos.grace())).save(buffer, format_name)
    return buffer.getvalue()


def test_subjects_are_enrolled_from_their_images_and_then_recognised(service: Server, compreface: CompreFace) -> None:
    compreface.add("Grace Hopper", photos.grace(), photos.grace(variant=1))
    compreface.add("Eileen", photos.eileen(), photos.blurred(), photos.eileen()[:2000])
    compreface.add("Nobody", photos.nobody())
    compreface.add("Broken", photos.grace()[:2000])
    compreface.add("Not kept")
    compreface.add("W" * 65, photos.grace())
    compreface.add("\x1b[2J[bold]", photos.grace())
    before = compreface.rows()

    done = run_import(service, compreface, "--consent")

    assert done.status == 0, done
    assert "Enrolled 2 people with 3 photos." in done.out
    assert re.search(r"Photos left out: (blurred 1|image_truncated 1), (blurred 1|image_truncated 1)\.", done.out), done
    assert "CompreFace has kept no image of 1 subjects." in done.out
    assert "5 people were not enrolled" in done.out
    refused = cells(done)
    assert refused["Not kept"] == "no image kept: enrol them again"
    assert refused["Nobody"].startswith("no_face: ")
    assert refused["Broken"].startswith("image_truncated: ")
    assert refused["W" * 65].startswith("employee_code: longer than 64 characters; ")
    assert refused["�[2J[bold]"].startswith("employee_code: Value error, must not contain control characters")
    assert "100%" in done.err
    assert people(service) == {"Grace Hopper": 2, "Eileen": 1}
    assert name_in(service, photos.grace(variant=4)) == "Grace Hopper"
    assert name_in(service, photos.eileen(variant=4)) == "Eileen"
    assert compreface.rows() == before


def test_a_second_run_adds_nothing(service: Server, compreface: CompreFace) -> None:
    compreface.add("Grace", photos.grace(), photos.grace(variant=1), photos.blurred())
    compreface.add("Eileen", photos.eileen())
    first = run_import(service, compreface, "--consent")
    assert first.status == 0, first
    enrolled = people(service)

    compreface.add("Nobody", photos.nobody())
    again = run_import(service, compreface, "--consent")

    assert again.status == 0, again
    assert "Enrolled 0 people with 0 photos." in again.out
    assert "Nothing new for 2 people: their photos are enrolled already." in again.out
    assert list(cells(again)) == ["Nobody"]
    assert people(service) == enrolled == {"Grace": 2, "Eileen": 1}


def test_a_second_run_adds_the_images_that_came_meanwhile(service: Server, compreface: CompreFace) -> None:
    compreface.add("Grace", photos.grace())
    run_import(service, compreface, "--consent")
    compreface.add("Grace", photos.grace(variant=1), api_key=GATE)
    again = run_import(service, compreface, "--all", "--consent")
    assert again.status == 0, again
    assert "Enrolled 1 people with 1 photos." in again.out
    assert "Photos left out: duplicate_frame 1." in again.out
    assert people(service) == {"Grace": 2}


def test_who_was_erased_is_not_enrolled_again_by_a_later_run_with_the_same_key(
    service: Server, compreface: CompreFace
) -> None:
    key = {"ROLLCALL_API_KEY": service.new_key("operator")}
    compreface.add("Grace", photos.grace())
    compreface.add("Eileen", photos.eileen())
    assert run_import(service, compreface, "--consent", **key).status == 0
    with service.client(service.printed_keys[0]) as client:
        (grace,) = client.get("/v1/people", params={"query": "Grace"}).json()["items"]
        client.delete(f"/v1/people/{grace['id']}")

    again = run_import(service, compreface, "--consent", **key)
    assert again.status == 0, again
    assert "Nothing new for 1 people" in again.out
    assert cells(again)["Grace"].startswith("idempotency_erased: ")
    assert people(service) == {"Eileen": 1}


def test_a_run_that_was_killed_is_completed_by_the_next(service: Server, compreface: CompreFace) -> None:
    compreface.add("1 Eileen", photos.eileen())
    for number in range(20):
        compreface.add(f"2 Nobody {number}", photos.nobody())
    compreface.add("3 Grace", photos.grace(), photos.grace(variant=1))
    settings = {"ROLLCALL_URL": service.url, "ROLLCALL_API_KEY": service.new_key("operator")}
    command = [ROLLCALL, "import", "compreface", compreface.url, "--consent"]
    with subprocess.Popen(command, env=environment(service.data_dir, **settings), stderr=subprocess.DEVNULL) as process:
        deadline = monotonic() + PATIENCE_S
        while not people(service) and monotonic() < deadline:
            sleep(0.02)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert people(service) == {"1 Eileen": 1}

    done = run_import(service, compreface, "--consent", **settings)
    assert done.status == 0, done
    assert "Enrolled 1 people with 2 photos." in done.out
    assert "Nothing new for 1 people" in done.out
    assert "20 people were not enrolled" in done.out
    assert people(service) == {"1 Eileen": 1, "3 Grace": 2}


def test_without_consent_nobody_is_enrolled(service: Server, compreface: CompreFace) -> None:
    compreface.add("Grace", photos.grace())
    done = run_import(service, compreface)
    assert done.status == 1
    assert cells(done)["Grace"].startswith("consent_missing: ")
    assert people(service) == {}


def test_of_several_collections_one_is_chosen_by_its_key(service: Server, compreface: CompreFace) -> None:
    compreface.add("Grace", photos.grace(), api_key=OFFICE)
    compreface.add("Eileen", photos.eileen(), api_key=GATE)
    compreface.add("A star", api_key=DEMO)

    asked = run_import(service, compreface, "--consent")
    assert_one_line(asked, "…aaaa (1 subjects, 1 images)", "…bbbb (1 subjects, 1 images)", "--api-key", "--all")
    assert_one_line(run_import(service, compreface, "--api-key", GATE[:-1] + "c"), "no subject", "…aaaa", "…bbbb")
    assert_one_line(run_import(service, compreface, "--api-key", GATE, "--all"), "not both")

    done = run_import(service, compreface, "--api-key", GATE, "--consent")
    assert done.status == 0, done
    assert people(service) == {"Eileen": 1}


def test_a_collection_without_images_is_no_reason_to_ask(service: Server, compreface: CompreFace) -> None:
    compreface.add("Grace", photos.grace(), api_key=OFFICE)
    compreface.add("A star", api_key=DEMO)
    done = run_import(service, compreface, "--consent")
    assert done.status == 0, done
    assert "Taking …aaaa (1 subjects, 1 images), the only collection with images" in done.err
    assert people(service) == {"Grace": 1}


def test_subjects_of_one_name_are_one_person(service: Server, compreface: CompreFace) -> None:
    compreface.add("Grace", photos.grace(), api_key=OFFICE)
    compreface.add("Grace", photos.grace(), photos.grace(variant=1), api_key=GATE)
    done = run_import(service, compreface, "--all", "--consent")
    assert done.status == 0, done
    assert "Enrolled 1 people with 2 photos." in done.out
    assert people(service) == {"Grace": 2}


def test_a_dry_run_says_what_would_be_done_and_does_nothing(service: Server, compreface: CompreFace) -> None:
    compreface.add("Grace", *(photos.grace(variant=variant) for variant in range(4)))
    compreface.add("Eileen", photos.eileen())
    compreface.add("Not kept")
    compreface.add("W" * 65, photos.grace())
    settings = {"ROLLCALL_URL": NOWHERE, "ROLLCALL_MAX_ENROLL_FILES": str(MAX_FILES)}
    done = run_import(service, compreface, "--dry-run", **settings)
    assert (done.status, done.err) == (0, ""), done
    assert "Would send 5 images of 2 subjects in 3 requests. Nothing was sent." in done.out
    assert "CompreFace has kept no image of 1 subjects." in done.out
    assert "2 people cannot be enrolled" in done.out
    assert cells(done).keys() == {"Not kept", "W" * 65}
    assert people(service) == {}


def test_codes_from_a_file_replace_names(service: Server, compreface: CompreFace, tmp_path: Path) -> None:
    compreface.add("W" * 65, photos.grace())
    compreface.add("Eileen", photos.eileen())
    codes = tmp_path / "codes.csv"
    codes.write_text(f"subject_name,employee_code,name\n{'W' * 65},E-7,Grace Hopper\n", encoding="utf-8-sig")
    done = run_import(service, compreface, "--codes", codes, "--consent")
    assert done.status == 0, done
    assert people(service) == {"E-7": 1, "Eileen": 1}
    with service.client(service.printed_keys[0]) as client:
        assert client.get("/v1/people", params={"query": "E-7"}).json()["items"][0]["name"] == "Grace Hopper"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"subject_name,employee_code\nGrace,E-7\n", ("line 1", "subject_name, employee_code, name")),
        (b"subject_name,employee_code,name\nGrace,,Grace\n", ("line 2", "employee_code")),
        (b"subject_name,employee_code,name\nGrace,1,A\nGrace,2,A\n", ("line 3", "earlier line")),
        (b"subject_name,employee_code,name\nGarce,1,A\n", ("'Garce'",)),
        (b'subject_name,employee_code,name\n"Grace,1,A\n', ("line",)),
        (b"subject_name,employee_code,name\nGr\xe4ce,1,A\n", ("UTF-8",)),
    ],
)
def test_a_file_of_codes_that_is_wrong_is_told_in_one_line(
    compreface: CompreFace, tmp_path: Path, content: bytes, words: tuple[str, ...]
) -> None:
    compreface.add("Grace", photos.grace())
    codes = tmp_path / "codes.csv"
    codes.write_bytes(content)
    told = run_here(tmp_path, "import", "compreface", compreface.url, "--dry-run", "--codes", codes)
    assert_one_line(told, str(codes), *words)


def test_a_request_is_filled_up_to_its_limits() -> None:
    def sizes(limits: Limits, *n_bytes: int) -> list[list[int]]:
        images = [StoredImage(UUID(int=number), n) for number, n in enumerate(n_bytes)]
        return [[image.n_bytes for image in batch] for batch in batches(images, limits)]

    assert sizes(Limits(2, 1_000_000), 1, 2, 3, 4, 5) == [[1, 2], [3, 4], [5]]
    assert sizes(Limits(50, 100_000), 45_000, 45_000, 1, 200_000, 2) == [[45_000, 45_000], [1], [200_000], [2]]
    assert sizes(Limits(2, 10)) == []


def test_more_images_than_one_request_takes_are_sent_in_several(service: Server, compreface: CompreFace) -> None:
    compreface.add("Grace", *(photos.grace(variant=variant) for variant in (0, 1, 2, 5)))
    # The service allows three files and this machine believes in fifty.
    done = run_import(service, compreface, "--consent")
    assert done.status == 0, done
    assert "Enrolled 1 people with 4 photos." in done.out
    again = run_import(service, compreface, "--consent", ROLLCALL_MAX_ENROLL_BYTES="60000")
    assert "Nothing new for 1 people" in again.out
    assert people(service) == {"Grace": 4}


@pytest.mark.parametrize("format_name", ["BMP", "GIF", "ICO", "TIFF", "WEBP"])
def test_formats_that_only_compreface_takes_are_read(service: Server, compreface: CompreFace, format_name: str) -> None:
    compreface.add("Grace", picture(format_name), b"no image", b"BM no image")
    done = run_import(service, compreface, "--consent")
    assert done.status == 0, done
    assert "Photos left out: image_type_unsupported 2." in done.out
    assert people(service) == {"Grace": 1}


def test_what_is_no_image_is_told(service: Server, compreface: CompreFace) -> None:
    compreface.add("Grace", b"no image", b"")
    done = run_import(service, compreface, "--consent")
    assert done.status == 1
    assert cells(done)["Grace"].startswith("image_type_unsupported: ")


def test_a_database_that_cannot_be_used_is_told_in_one_line(compreface: CompreFace, tmp_path: Path) -> None:
    def tell(url: str) -> Finished:
        return run_here(tmp_path, "import", "compreface", url)

    assert_one_line(tell("postgresql://ada:s3cret@127.0.0.1:9/frs"), "cannot be read", "Connection refused")
    for wrong in ("mysql://ada:s3cret@127.0.0.1/frs", "s3cret", "postgresql://ada:s3cr%zzet@127.0.0.1/frs"):
        told = tell(wrong)
        assert_one_line(told, "postgresql://user:password@host:port/name")
        assert "s3cr" not in told.err
    other = re.sub(r"/[^/]*$", "/postgres", compreface.url)
    assert_one_line(tell(other), "no tables subject, embedding and img", "0.6")
    assert_one_line(tell(compreface.url.replace("postgresql://", "postgresql+psycopg://")), "no subjects")


def test_a_service_that_cannot_be_used_is_told_in_one_line(
    service: Server, compreface: CompreFace, tmp_path: Path
) -> None:
    compreface.add("Grace", photos.grace())
    for command in (("compreface", compreface.url), ("people", __file__)):
        told = run_here(tmp_path, "import", *command, ROLLCALL_URL=NOWHERE, ROLLCALL_API_KEY="rck_x")
        assert_one_line(told, NOWHERE, "rollcall serve")
        camera = service.new_key("camera")
        assert_one_line(run_beside(service, "import", *command, "--key", "rck_wrong"), "key_unknown")
        assert_one_line(run_beside(service, "import", *command, "--key", camera), "scope")


def test_people_are_exported_and_imported_again(service: Server, tmp_path: Path) -> None:
    staff, exported = tmp_path / "staff.csv", tmp_path / "people.csv"
    staff.write_text("employee_code,name,department\nE-1,Ada Byron,Engines\nE-2,Zoë,\n", encoding="utf-8")
    first = run_beside(service, "import", "people", staff)
    assert (first.status, first.err) == (0, ""), first
    assert first.out == "Added 2 people, changed 0, unchanged 0.\n"

    assert run_beside(service, "export", "people", exported).out == ""
    assert exported.stat().st_mode & 0o777 == 0o600
    assert exported.read_text(encoding="utf-8").count("\n") == 3
    printed = run_beside(service, "export", "people")
    assert printed.out.replace("\r\n", "\n") == exported.read_text(encoding="utf-8").replace("\r\n", "\n")

    exported.write_text(exported.read_text(encoding="utf-8").replace("Ada Byron", "Ada Lovelace"), encoding="utf-8")
    again = run_beside(service, "import", "people", exported)
    assert again.out == "Added 0 people, changed 1, unchanged 1.\n"
    assert people(service) == {"E-1": 0, "E-2": 0}


def test_rows_that_are_left_out_are_told_with_their_line(service: Server, tmp_path: Path) -> None:
    staff = tmp_path / "staff.csv"
    staff.write_text(f"employee_code,name,timezone\nE-1,Ada,Mars/Base\nE-2,Zoë,\nE-2,Zoë,\n{'9' * 65},Eve,\n")
    told = run_beside(service, "import", "people", staff)
    assert told.status == 1
    assert "Added 1 people" in told.out
    assert "3 rows were left out" in told.out
    left_out = cells(told)
    assert left_out["2"].startswith("fields_invalid: timezone: ")
    assert left_out["4"].startswith("employee_code_repeated: ")
    assert left_out["5"].startswith("fields_invalid: employee_code: ")


def test_files_that_cannot_be_used_are_told_in_one_line(service: Server, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("code,name\n1,Ada\n")
    assert_one_line(run_beside(service, "import", "people", wrong), "csv_columns_invalid", "employee_code, name")
    assert_one_line(run_beside(service, "export", "people", tmp_path / "none" / "x.csv"), "none/x.csv")


def test_help_says_what_a_command_needs(tmp_path: Path) -> None:
    words = (
        "POSTGRES_URL",
        "--api-key",
        "--all",
        "--codes",
        "--consent",
        "--dry-run",
        "COMPREFACE_API_KEY",
        "0.6 to 1.2",
    )
    shown = run_here(tmp_path, "import", "compreface", "--help").out
    assert [word for word in words if word not in shown] == []
