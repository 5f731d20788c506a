"""The deployment of the README, started by the README's own commands; and that docker-compose.yml runs the same."""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import httpx
import psycopg
import pytest
import yaml
from sqlalchemy import URL

from app.db.engine import make_engine
from app.db.migrate import upgrade
from app.settings import Settings
from tests.app import clips, photos
from tests.ports import free_port
from tests.postgres import Cluster, binary, running_cluster
from tests.server import ENGINE, KEY, START_S, audits, enroll, identify, run_rollcall

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
OURS = ("migrate", "api-1", "api-2", "worker", "worker-gpu")
CLIP_S = 60.0
# Two rounds of the proxy's questions, and one that takes long.
NOTICED_S = 9.0


def shell_blocks(heading: str) -> list[str]:
    """The commands of a part of the README, which ends where the next heading or bold word begins a line."""
    part = re.split(r"^(?:## |\*\*)", README[README.index(heading) + len(heading) :], flags=re.MULTILINE)[0]
    return re.findall(r"^```sh\n(.*?)^```$", part, flags=re.MULTILINE | re.DOTALL)


SETTINGS_BLOCK, COMMANDS_BLOCK = shell_blocks("\n## For a company")
CADDYFILE = re.findall(r"<<'END'\n(.*?)^END$", COMMANDS_BLOCK, flags=re.MULTILINE | re.DOTALL)[0]


def documented_settings() -> dict[str, str]:
    """What the README exports, as it stands there."""
    words = shlex.split(SETTINGS_BLOCK.replace("export", ""), comments=True)
    return dict(word.split("=", maxsplit=1) for word in words)


def shell_environment(**settings: str) -> dict[str, str]:
    """For commands of the README: no settings but these, and every program it names on the path."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ROLLCALL_", "PG"))}
    folders = [Path(sys.executable).parent, binary("createdb").parent]
    path = os.pathsep.join([*map(str, folders), kept["PATH"]])
    return {**kept, "PATH": path, "ROLLCALL_ENGINE": ENGINE, **settings}


@dataclass(frozen=True)
class Deployment:
    """What the README's commands started."""

    shell: subprocess.Popen[bytes]
    log_path: Path
    settings: dict[str, str]

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def url(self, port: str) -> str:
        return f"http://127.0.0.1:{self.settings[port].removeprefix(':')}"

    def client(self, port: str = "SITE") -> httpx.Client:
        """Carries the admin key, and speaks to the proxy or to one of the replicas."""
        key = KEY.findall(self.log)[0]
        return httpx.Client(base_url=self.url(port), headers={"X-API-Key": key}, timeout=60.0, trust_env=False)

    def wait_until_ready(self) -> None:
        until = monotonic() + START_S
        for port in ("PORT_1", "PORT_2", "SITE"):
            while not _is_ready(self.url(port)):
                assert monotonic() < until and self.shell.poll() is None, self.log
                sleep(0.1)

    def kill(self, port: str) -> None:
        """`kill -9` one replica."""
        wanted = f"--port\0{self.settings[port]}\0"
        children = Path(f"/proc/{self.shell.pid}/task/{self.shell.pid}/children").read_text().split()
        (replica,) = [pid for pid in children if wanted in Path(f"/proc/{pid}/cmdline").read_text()]
        os.kill(int(replica), signal.SIGKILL)
        until = monotonic() + 10.0
        while _is_ready(self.url(port)):
            assert monotonic() < until
            sleep(0.01)

    def end(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.shell.pid, signal.SIGKILL)
        self.shell.wait()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL with the user whom the README names."""
    with running_cluster() as cluster:
        named = documented_settings()
        with psycopg.connect(cluster.url(), autocommit=True) as connection:
            connection.execute(f"CREATE ROLE {named['PGUSER']} LOGIN CREATEDB PASSWORD '{named['PGPASSWORD']}'")
        yield cluster


@pytest.fixture(scope="module")
def caddy() -> str:
    return shutil.which("caddy") or pytest.skip("caddy is not installed (Debian: apt-get install caddy)")


@pytest.fixture(scope="module")
def deployment(cluster: Cluster, caddy: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("deployment")
    here = {"PGHOST": "127.0.0.1", "PGPORT": str(cluster.port), "ROLLCALL_DATA_DIR": str(folder / "data")}
    here |= {"SITE": f":{free_port()}", "PORT_1": str(free_port()), "PORT_2": str(free_port())}
    settings = documented_settings()
    assert here.keys() <= settings.keys()
    settings |= here
    with (folder / "log").open("wb") as log:
        shell = subprocess.Popen(
            ["bash", "-e", "-c", COMMANDS_BLOCK],
            env=shell_environment(**settings, HOME=str(folder)),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    deployment = Deployment(shell, folder / "log", settings)
    try:
        deployment.wait_until_ready()
        yield deployment
    finally:
        deployment.end()


def _is_ready(url: str) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(f"{url}/health/ready", trust_env=False, timeout=5.0).status_code == 200
    return False


def over(client: httpx.Client, location: str) -> dict[str, Any]:
    """The enrolment once it is done or failed."""
    until = monotonic() + CLIP_S
    while (enrolment := client.get(location).json())["status"] not in ("done", "failed"):
        assert monotonic() < until, enrolment
        sleep(0.2)
    return dict(enrolment)


def test_migrate_says_what_it_did_and_prints_the_only_admin_key(deployment: Deployment) -> None:
    assert re.match(r"The PostgreSQL database rollcall was empty and is at \d{4} now\.\n", deployment.log)
    assert len(KEY.findall(deployment.log)) == 1


def test_who_is_enrolled_through_the_proxy_is_found_by_every_replica(deployment: Deployment) -> None:
    with deployment.client() as client:
        enrolled = enroll(client, "G1", photos.grace(), photos.grace(variant=1), name="Grace Hopper")
    assert enrolled.status_code == 201, enrolled.text
    for port in ("PORT_1", "PORT_2"):
        with deployment.client(port) as client:
            client.headers["X-Min-Gallery-Revision"] = str(enrolled.json()["gallery_revision"])
            (face,) = identify(client, photos.grace(variant=4)).json()["faces"]
        assert face["person"]["id"] == enrolled.json()["person"]["id"]


def test_a_clip_sent_through_the_proxy_is_read_by_the_worker(deployment: Deployment, tmp_path: Path) -> None:
    clip = clips.eileen(tmp_path / "e.mp4").read_bytes()
    form = {"employee_code": "E1", "name": "Eileen Collins", "consent": "true"}
    with deployment.client() as client:
        answer = client.post("/v1/enroll", data=form, files={"files": ("e.mp4", clip)})
        assert answer.status_code == 202, answer.text
        enrolment = over(client, answer.headers["Location"])
        assert (enrolment["status"], enrolment["error"]) == ("done", None)
        assert client.get("/v1/system").json()["jobs"]["n_workers"] == 1
    assert enrolment["templates"]


def test_the_proxy_keeps_the_metrics_to_itself(deployment: Deployment) -> None:
    with deployment.client() as proxy, deployment.client("PORT_1") as replica:
        assert replica.get("/metrics").status_code == 200
        for path in ("/metrics", "/metrics/", "/Metrics", "/%6detrics", "//metrics", "/health/../metrics"):
            # Whole addresses: joined to a client's own, "//metrics" would be a host.
            assert proxy.get(f"{str(proxy.base_url).rstrip('/')}{path}").status_code == 404, path


def test_a_request_that_is_too_large_is_refused_before_it_is_sent(deployment: Deployment) -> None:
    head = (
        "POST /v1/identify HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 40000000\r\n"
        f"X-API-Key: {KEY.findall(deployment.log)[0]}\r\nContent-Type: multipart/form-data; boundary=x\r\n\r\n"
    )
    proxy = "127.0.0.1", int(deployment.settings["SITE"].removeprefix(":"))
    with socket.create_connection(proxy, timeout=20.0) as connection:
        connection.sendall(head.encode())
        assert connection.recv(12) == b"HTTP/1.1 413"


def test_every_replica_holds_what_the_database_holds(deployment: Deployment) -> None:
    with deployment.client() as client:
        reports = audits(client, n_replicas=2)  # the worker is one, too, once it has read a clip
    assert all(report["is_clean"] for report in reports)
    assert len({report["fingerprint"] for report in reports}) == 1


def test_when_a_replica_is_killed_the_proxy_goes_on_answering(deployment: Deployment) -> None:
    deployment.kill("PORT_2")
    with deployment.client() as client:
        assert {client.get("/v1/gallery").status_code for _ in range(6)} == {200}
        # Up to 2.11.1 Caddy loses the body of a request that it tries again, so uploads wait until it has noticed.
        until = monotonic() + NOTICED_S
        while 502 in {identify(client, photos.grace()).status_code for _ in range(2)}:
            assert monotonic() < until
        for number in range(6):
            found = identify(client, photos.grace(variant=number))
            assert found.status_code == 200, found.text
            assert (found.json()["faces"][0]["person"] or {}).get("employee_code") == "G1", found.text
        assert enroll(client, "G1", photos.grace(variant=5)).status_code == 201


@pytest.mark.parametrize("backend", ["sqlite", "postgres"])
def test_of_several_migrations_at_once_each_succeeds_and_one_prints_a_key(
    cluster: Cluster, tmp_path: Path, backend: str
) -> None:
    settings = {}
    if backend == "postgres":
        with psycopg.connect(cluster.url(), autocommit=True) as connection:
            connection.execute("CREATE DATABASE together")
        settings = {"ROLLCALL_DATABASE_URL": cluster.url("together")}
    with ThreadPoolExecutor() as pool:
        started = [pool.submit(run_rollcall, tmp_path / "data", "migrate", **settings) for _ in range(2)]
    done = [each.result() for each in started]
    assert [each.status for each in done] == [0, 0], done
    assert any("was empty and is at" in each.out for each in done)
    assert len(KEY.findall("".join(each.err for each in done))) == 1
    again = run_rollcall(tmp_path / "data", "migrate", **settings)
    assert "is already at" in again.out and again.err == ""


def test_an_older_database_is_migrated_and_its_revision_told(tmp_path: Path) -> None:
    tmp_path.joinpath("data").mkdir()
    engine = make_engine(URL.create("sqlite", database=str(tmp_path / "data" / "rollcall.sqlite3")))
    upgrade(engine, "0002")
    engine.dispose()
    done = run_rollcall(tmp_path / "data", "migrate")
    assert re.search(r"was at 0002 and is at 0\d+ now\.$", done.out), done


def test_a_database_that_cannot_be_migrated_is_told_in_one_line(tmp_path: Path) -> None:
    told = run_rollcall(tmp_path, "migrate", ROLLCALL_DATABASE_URL="postgresql://ada:s3cret@127.0.0.1:9/x")
    assert told.status == 1
    assert told.err.count("\n") == 1 and "ROLLCALL_DATABASE_URL" in told.err and "s3cret" not in told.err


def test_compose_runs_the_commands_of_the_readme() -> None:
    documented = re.findall(r"^rollcall (.*?)(?: *#.*| &)?$", COMMANDS_BLOCK, flags=re.MULTILINE)
    assert documented == ["migrate", 'serve --port "$PORT_1"', 'serve --port "$PORT_2"', "worker"]
    services = COMPOSE["services"]
    assert [services[name]["command"][0] for name in OURS] == ["migrate", "serve", "serve", "worker", "worker"]
    assert f"createdb {services['postgres']['environment']['POSTGRES_DB']}\n" in COMMANDS_BLOCK


def test_compose_gives_every_process_the_settings_of_the_readme() -> None:
    postgres = COMPOSE["services"]["postgres"]["environment"]
    for name in OURS:
        given = dict(COMPOSE["services"][name]["environment"])
        assert given.pop("ROLLCALL_DEVICE", None) == ("cuda" if name == "worker-gpu" else None)
        assert given.pop("FORWARDED_ALLOW_IPS", None) == ("*" if name.startswith("api") else None)
        assert (given.pop("PGHOST"), given.pop("PGPASSWORD")) == ("postgres", postgres["POSTGRES_PASSWORD"])
        assert given.items() <= documented_settings().items()
        assert given["PGUSER"] == postgres["POSTGRES_USER"]


def test_every_setting_in_compose_and_readme_is_one() -> None:
    known = {f"ROLLCALL_{name.upper()}" for name in Settings.model_fields}
    given = {name for service in OURS for name in COMPOSE["services"][service]["environment"]}
    assert {name for name in given | documented_settings().keys() if name.startswith("ROLLCALL_")} <= known


def test_compose_has_an_inference_service_where_its_comment_says() -> None:
    service = COMPOSE["services"]["inference"]
    command = service["command"]
    address = f"http://inference:{command[command.index('--port') + 1]}"
    assert f"ROLLCALL_INFERENCE_URLS={address}\n" in (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    assert service["environment"] == {} and service["env_file"] == [{"path": ".env", "required": False}]
    assert set(service["networks"]) <= set(COMPOSE["services"]["worker"]["networks"])


def test_compose_needs_no_env_file() -> None:
    used = re.findall(r"(?<!\$)\$\{(.*?)\}", (ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    assert used and all(":-" in variable for variable in used)
    assert all(not each["required"] for name in OURS for each in COMPOSE["services"][name]["env_file"])


def test_everything_starts_after_the_migration_and_shares_the_data_folder() -> None:
    for name in OURS[1:]:
        assert COMPOSE["services"][name]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
        assert "data:/data" in COMPOSE["services"][name]["volumes"]
    assert COMPOSE["services"]["migrate"]["depends_on"]["postgres"]["condition"] == "service_healthy"


def test_only_the_proxy_is_reached_from_outside_and_nobody_has_rights_to_spare() -> None:
    services = COMPOSE["services"]
    assert [name for name in services if "ports" in services[name]] == ["proxy"]
    assert COMPOSE["networks"]["database"]["internal"] and services["postgres"]["networks"] == ["database"]
    for service in services.values():
        assert service["cap_drop"] == ["ALL"] and "no-new-privileges:true" in service["security_opt"]
    assert [name for name in services if not services[name].get("read_only")] == ["proxy"]


def compose_caddyfile() -> str:
    """As Compose writes it into the container."""
    content: str = COMPOSE["configs"]["caddyfile"]["content"]
    assert "$" not in content.replace("$$", "")
    return content.replace("$$", "$")


def test_the_proxy_of_compose_is_that_of_the_readme() -> None:
    here = CADDYFILE.replace("127.0.0.1:{$PORT_1}", "api-1:8000").replace("127.0.0.1:{$PORT_2}", "api-2:8000")
    assert compose_caddyfile() == here


@pytest.mark.parametrize("site", [":80", "rollcall.example.com"])
def test_caddy_understands_the_file_of_compose(caddy: str, tmp_path: Path, site: str) -> None:
    (tmp_path / "Caddyfile").write_text(compose_caddyfile())
    command = [caddy, "validate", "--adapter", "caddyfile", "--config", tmp_path / "Caddyfile"]
    environment = {**os.environ, "SITE": site, "HOME": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert "Valid configuration" in done.stdout + done.stderr
