"""The inference server on many machines: the same application as `rollcall inference`, as a Ray Serve deployment.

Ray starts a replica for each share of a GPU, more of them as more is asked, and others when a machine is lost. It stays
out of the service's own processes: these reach the cluster by `ROLLCALL_INFERENCE_URLS`, like any other worker.

What Ray needs to be told it is told by the environment of its processes, so nodes are started by `node_command`.
"""

import os
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from app.logs import configure_logging
from app.settings import Settings

if TYPE_CHECKING:
    from fastapi import FastAPI

NAME: Final = "rollcall-inference"
# What every replica shall have alike, wherever it runs, so it is sent with the deployment. The secret is not: Ray would
# keep it in plain text where its tools show it. It comes from the environment that a node was started in.
SENT_SETTINGS: Final = ("backbone", "detector", "min_face_px", "mirrored_embedding", "max_image_pixels")
# Set for every process of Ray that we start.
ENVIRONMENT: Final = {
    # Whoever reaches Ray's ports runs code on all machines: without a token nobody does.
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Workers would be nice to everybody else on the machine, and slow.
    "RAY_worker_niceness": "0",
    # HAProxy before the replicas, in place of a proxy that is written in Python.
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
}
# Batches that a replica holds: one that runs, and a few that are merged into the next one.
_MOST_AT_A_REPLICA: Final = 16
# Replicas are added while each has more than these.
_AIM_AT_A_REPLICA: Final = 4.0
_HEALTH_PERIOD_S: Final = 2.0
_HEALTH_TIMEOUT_S: Final = 10.0
# For the batches that a replica is looking at when it is taken away.
_GRACE_S: Final = 20.0
_REACHABLE_S: Final = 5.0


class ClusterError(Exception):
    """Something about the cluster that its operator can mend; the message says how."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """What is asked of the cluster; `gpus_per_replica` 0 runs on CPUs, 0.5 shares a GPU between two replicas."""

    replicas_min: int
    replicas_max: int
    gpus_per_replica: float
    host: str
    port: int
    is_proxy_everywhere: bool


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """How the deployment is: Ray's word for it, its message if any, and the replicas by state."""

    status: str
    message: str
    replicas: Mapping[str, int]


class InferenceReplica:
    """One process of the deployment; Ray makes it where there is room."""

    def __init__(self, sent: dict[str, Any], device: str) -> None:
        settings = Settings()
        if settings.inference_token is None:
            raise ClusterError("start every node of the cluster with ROLLCALL_INFERENCE_TOKEN in its environment")
        # Of several GPUs, Ray lets each replica see its own alone.
        self._settings = settings.model_copy(update={**sent, "device": device})

    def __serve_build_asgi_app__(self) -> "FastAPI":
        from app.inference.local import load_local_runner
        from app.inference.server import create_inference_app

        configure_logging(self._settings)
        return create_inference_app(self._settings, load_local_runner(self._settings))


def node_command(environment: Mapping[str, str], *, head: str | None, host: str, port: int) -> list[str]:
    """The command that makes this machine a node; to be run with `ENVIRONMENT` as well.

    Args:
        environment: of the command.
        head: `host:port` of the first node; None to become it.
        host: this machine's address in the cluster's network.
        port: where the first node listens.

    Raises:
        ClusterError: Ray is not installed, or a secret is missing.
    """
    _require_secrets(environment)
    ray = Path(sys.executable).with_name("ray")
    if not ray.exists():
        raise ClusterError("Ray is not installed: run `pip install rollcall[cluster]`")
    where = ["--head", f"--port={port}", "--include-dashboard=false"] if head is None else [f"--address={head}"]
    return [str(ray), "start", *where, f"--node-ip-address={host}", "--disable-usage-stats", "--block"]


def deploy(address: str, wanted: Deployment, settings: Settings) -> None:
    """Make the cluster run the deployment as it is wanted now, and wait until it does.

    Raises:
        ClusterError: the cluster cannot be reached, or its replicas do not start.
    """
    with _connected(address) as serve:
        location = "EveryNode" if wanted.is_proxy_everywhere else "HeadOnly"
        serve.start(proxy_location=location, http_options={"host": wanted.host, "port": wanted.port})
        replica = serve.deployment(
            serve.ingress()(InferenceReplica),
            name=NAME,
            autoscaling_config={
                "min_replicas": wanted.replicas_min,
                "initial_replicas": wanted.replicas_min,
                "max_replicas": wanted.replicas_max,
                "target_ongoing_requests": _AIM_AT_A_REPLICA,
            },
            max_ongoing_requests=_MOST_AT_A_REPLICA,
            ray_actor_options={"num_cpus": 1, "num_gpus": wanted.gpus_per_replica},
            health_check_period_s=_HEALTH_PERIOD_S,
            health_check_timeout_s=_HEALTH_TIMEOUT_S,
            graceful_shutdown_timeout_s=_GRACE_S,
        )
        sent = settings.model_dump(include=set(SENT_SETTINGS))
        device = "cuda" if wanted.gpus_per_replica else "cpu"
        try:
            serve.run(replica.bind(sent, device), name=NAME, route_prefix="/")
        except RuntimeError as error:
            raise ClusterError(f"the replicas do not start: {error}") from error


def status(address: str) -> ClusterStatus:
    """How the deployment is.

    Raises:
        ClusterError: the cluster cannot be reached, or there is no such deployment on it.
    """
    with _connected(address) as serve:
        found = serve.status().applications.get(NAME)
        if found is None:
            raise ClusterError("nothing is deployed there: run `rollcall cluster deploy`")
        replicas = found.deployments[NAME].replica_states if NAME in found.deployments else {}
        return ClusterStatus(found.status.value, found.message, {str(state): n for state, n in replicas.items()})


def remove(address: str) -> None:
    """Take the deployment off the cluster, once its replicas have finished what they are looking at.

    Raises:
        ClusterError: the cluster cannot be reached.
    """
    with _connected(address) as serve:
        serve.delete(NAME)


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    """Ray Serve of the cluster at `address`, for as long as the block runs."""
    os.environ.update(ENVIRONMENT)  # read when Ray is imported
    _require_secrets(os.environ)
    try:
        import ray
        from ray import serve
    except ImportError as error:
        raise ClusterError("Ray is not installed: run `pip install rollcall[cluster]`") from error
    _require_reachable(address)  # Ray itself tries for minutes
    try:
        ray.init(address=address, log_to_driver=False, configure_logging=False)
    except (ConnectionError, RuntimeError) as error:
        raise ClusterError(f"the cluster at {address} cannot be used: {str(error).splitlines()[0]}") from error
    try:
        yield serve
    finally:
        ray.shutdown()


def _require_reachable(address: str) -> None:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():  # such as "auto", which Ray looks up on this machine
        return
    try:
        socket.create_connection((host, int(port)), timeout=_REACHABLE_S).close()
    except OSError as error:
        raise ClusterError(f"nobody listens at {address}: give the address of the cluster's first node") from error


def _require_secrets(environment: Mapping[str, str]) -> None:
    has_file = Path(environment.get("HOME", "/"), ".ray", "auth_token").is_file()
    if not has_file and not {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & environment.keys():
        raise ClusterError(
            "Ray runs code for whoever reaches it: run `ray get-auth-token --generate` once, and copy "
            "~/.ray/auth_token to every machine of the cluster"
        )
    if "ROLLCALL_INFERENCE_TOKEN" not in environment:
        raise ClusterError("set ROLLCALL_INFERENCE_TOKEN to the secret that `rollcall serve` will send")
