"""The networks as a Ray Serve deployment on one node, used over HTTP like any other worker.

`python -m benchmarks.cluster` has two nodes and kills one. A cluster takes minutes to start, to deploy to and to end,
and Ray is large: neither is part of `make test` unless it is asked for by `ROLLCALL_TEST_CLUSTER=1`.
"""

import importlib.util
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import httpx
import numpy as np
import pytest

from app.inference.port import Ask, Lane
from app.inference.remote import connect
from app.settings import Settings
from tests.ml.faces import astronaut, three_sizes_of_one_face
from tests.ports import free_port
from tests.server import ROLLCALL, Finished, environment

pytestmark = [
    pytest.mark.skipif("ROLLCALL_TEST_CLUSTER" not in os.environ, reason="takes minutes: set ROLLCALL_TEST_CLUSTER=1"),
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="no Ray here: pip install rollcall[cluster]"),
    pytest.mark.timeout(400),
]

TOKEN = "the-secret-of-this-test"
START_S = 180.0
STOP_S = 120.0


class Node:
    """The first and only node of a cluster."""

    def __init__(self, folder: Path) -> None:
        (folder / ".ray").mkdir(parents=True)
        (folder / ".ray" / "auth_token").write_text("0123456789abcdef" * 4)
        self.port = free_port()
        self.settings = environment(folder / "data", HOME=str(folder), ROLLCALL_INFERENCE_TOKEN=TOKEN)
        self._log_path = folder / "ray.log"

    def start(self) -> None:
        with self._log_path.open("wb") as log:
            command = [ROLLCALL, "cluster", "node", "--port", str(self.port)]
            self._process = subprocess.Popen(command, env=self.settings, stdout=log, stderr=log)
        until_s = monotonic() + START_S
        while "nothing is deployed" not in self.run("status").err:
            assert monotonic() < until_s and self._process.poll() is None, self._log_path.read_text()
            sleep(0.5)

    def run(self, command: str, *options: str) -> Finished:
        """One command of `rollcall cluster`, to its end."""
        line = [ROLLCALL, "cluster", command, "--address", f"127.0.0.1:{self.port}", *options]
        done = subprocess.run(line, env=self.settings, capture_output=True, text=True, timeout=START_S)
        return Finished(done.returncode, done.stdout, done.stderr)

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(STOP_S)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    node = Node(tmp_path_factory.mktemp("ray") / "home")
    node.start()
    try:
        yield node
    finally:
        node.stop()


def test_a_deployment_answers_like_any_worker_until_it_is_removed(node: Node, tmp_path: Path) -> None:
    port = free_port()
    deployed = node.run("deploy", "--gpus-per-replica", "0", "--host", "127.0.0.1", "--port", str(port))
    assert deployed.status == 0, deployed
    assert node.run("status").out == "running: 1 running\n"

    url = f"http://127.0.0.1:{port}"
    remote = connect(Settings(inference_urls=url, inference_token=TOKEN, inference_timeout_s=60.0, data_dir=tmp_path))
    try:
        asks = [Ask([astronaut()]), Ask([three_sizes_of_one_face()], max_faces=2)]
        one, several = remote.run(asks, Lane.INTERACTIVE)
        assert [len(one.samples[0]), len(several.samples[0])] == [1, 2]
        likeness = float(np.dot(one.samples[0][0].embedding, several.samples[0][0].embedding))
        assert likeness > remote.card.pair_bounds.same
    finally:
        remote.close()
    assert httpx.get(f"{url}/v1/engine", trust_env=False).json()["code"] == "token_wrong"

    assert node.run("remove").status == 0
    assert "nothing is deployed" in node.run("status").err


def test_a_cluster_that_cannot_be_reached_is_told_in_one_line(node: Node) -> None:
    refused = node.run("status", "--address", f"127.0.0.1:{free_port()}")
    assert refused.status == 1 and "nobody listens at" in refused.err


def test_who_has_another_token_gets_nothing(node: Node) -> None:
    node.settings["RAY_AUTH_TOKEN"] = "fedcba9876543210" * 4
    try:
        refused = node.run("status")
    finally:
        del node.settings["RAY_AUTH_TOKEN"]
    assert refused.status == 1 and "cannot be used" in refused.err
