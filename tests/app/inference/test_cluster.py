"""What can be said of a cluster without one: secrets, commands, and messages. `tests/e2e/test_cluster.py` has one."""

import sys
from pathlib import Path

import pytest

from app.inference import cluster
from app.inference.cluster import ClusterError, InferenceReplica, node_command
from tests.app.inference.served import TOKEN
from tests.server import run_rollcall

SECRETS = {"RAY_AUTH_TOKEN": "a-token-of-the-cluster", "ROLLCALL_INFERENCE_TOKEN": TOKEN}


@pytest.fixture
def ray_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of programs with one called `ray`, beside the running Python."""
    (tmp_path / "ray").touch()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    return tmp_path / "ray"


def test_every_process_of_ray_asks_for_a_token_and_reports_nothing() -> None:
    assert cluster.ENVIRONMENT["RAY_AUTH_MODE"] == "token"
    assert cluster.ENVIRONMENT["RAY_USAGE_STATS_ENABLED"] == "0"


def test_the_first_node_listens_and_the_others_join_it(ray_is_there: Path) -> None:
    first = node_command(SECRETS, head=None, host="10.0.0.4", port=6379)
    assert first[:3] == [str(ray_is_there), "start", "--head"]
    assert {"--port=6379", "--node-ip-address=10.0.0.4", "--disable-usage-stats", "--block"} < set(first)
    other = node_command(SECRETS, head="10.0.0.4:6379", host="10.0.0.5", port=6379)
    assert "--address=10.0.0.4:6379" in other and "--head" not in other


@pytest.mark.parametrize(
    ("missing", "said"),
    [("RAY_AUTH_TOKEN", "ray get-auth-token"), ("ROLLCALL_INFERENCE_TOKEN", "ROLLCALL_INFERENCE_TOKEN")],
)
def test_no_node_is_started_without_both_secrets(ray_is_there: Path, tmp_path: Path, missing: str, said: str) -> None:
    environment = {name: value for name, value in SECRETS.items() if name != missing}
    with pytest.raises(ClusterError, match=said):
        node_command({"HOME": str(tmp_path), **environment}, head=None, host="127.0.0.1", port=6379)


def test_a_token_in_the_home_folder_is_as_good(ray_is_there: Path, tmp_path: Path) -> None:
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("a-token-of-the-cluster")
    environment = {"HOME": str(tmp_path), "ROLLCALL_INFERENCE_TOKEN": TOKEN}
    assert node_command(environment, head=None, host="127.0.0.1", port=6379)


def test_ray_that_is_not_installed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(ClusterError, match=r"rollcall\[cluster\]"):
        node_command(SECRETS, head=None, host="127.0.0.1", port=6379)


def test_a_replica_does_not_start_without_the_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROLLCALL_INFERENCE_TOKEN", raising=False)
    with pytest.raises(ClusterError, match="ROLLCALL_INFERENCE_TOKEN"):
        InferenceReplica({"backbone": "dlib-resnet"}, "cpu")


def test_the_command_tells_in_one_line_what_is_missing(tmp_path: Path) -> None:
    refused = run_rollcall(tmp_path, "cluster", "status", HOME=str(tmp_path))
    assert refused.status == 1
    assert refused.err.startswith("rollcall: Ray runs code for whoever reaches it")
    assert "Traceback" not in refused.err
