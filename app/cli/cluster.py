"""`rollcall cluster`."""

import os
from typing import Annotated

import typer

from app.cli.failures import told_plainly
from app.inference import cluster
from app.inference.cluster import Deployment
from app.settings import Settings

app = typer.Typer(
    help="Run the networks on a cluster of machines with Ray Serve; needs `pip install rollcall\\[cluster]`."
)

Address = Annotated[
    str, typer.Option(help="Address of the cluster's first node; auto: this machine is one of its nodes.")
]


@app.command()
@told_plainly
def node(
    head: Annotated[
        str | None, typer.Option(help="Join the cluster whose first node has this address, such as 10.0.0.4:6379.")
    ] = None,
    host: Annotated[str, typer.Option(help="This machine's address in the cluster's network.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Where the first node listens for the others.")] = 6379,
) -> None:
    """Make this machine a node of a cluster, until stopped; without --head, the first one.

    This is `ray start` with what it should be told: every connection needs the cluster's token, no usage statistics,
    no dashboard. Needs the same `~/.ray/auth_token` and `ROLLCALL_INFERENCE_TOKEN` on every machine.
    """
    environment = {**os.environ, **cluster.ENVIRONMENT}
    command = cluster.node_command(environment, head=head, host=host, port=port)
    os.execve(command[0], command, environment)


@app.command()
@told_plainly
def deploy(
    address: Address = "auto",
    replicas_min: Annotated[int, typer.Option(min=1, help="Replicas that always run.")] = 1,
    replicas_max: Annotated[int, typer.Option(min=1, help="Replicas under load, where there is room for them.")] = 1,
    gpus_per_replica: Annotated[float, typer.Option(min=0, help="0: CPU. 0.5: two share a GPU.")] = 1.0,
    host: Annotated[str, typer.Option(help="Address that each node answers on.")] = "0.0.0.0",
    port: Annotated[int, typer.Option(help="Port that each node answers on.")] = 8100,
    proxy: Annotated[str, typer.Option(help="Nodes that answer: every or head.")] = "every",
) -> None:
    """Run the networks on a cluster, or change how they run; returns when they answer.

    Then set `ROLLCALL_INFERENCE_URLS` to the nodes' addresses, such as `http://10.0.0.4:8100,http://10.0.0.5:8100`.
    The networks are those that `ROLLCALL_BACKBONE` and the settings beside it name here; their files must be on every
    node, in the `ROLLCALL_MODELS_DIR` of its environment.
    """
    if replicas_max < replicas_min:
        raise ValueError(f"--replicas-max {replicas_max} is less than --replicas-min {replicas_min}")
    if proxy not in ("every", "head"):
        raise ValueError("--proxy is every or head")
    wanted = Deployment(replicas_min, replicas_max, gpus_per_replica, host, port, proxy == "every")
    cluster.deploy(address, wanted, Settings())
    typer.echo(f"deployed: set ROLLCALL_INFERENCE_URLS to the addresses of the nodes, with port {port}")


@app.command()
@told_plainly
def status(address: Address = "auto") -> None:
    """Show how the deployment is; exit status 1 unless it runs."""
    found = cluster.status(address)
    replicas = ", ".join(f"{n} {state.lower()}" for state, n in found.replicas.items()) or "no replicas"
    typer.echo(f"{found.status.lower()}: {replicas}" + (f" ({found.message})" if found.message else ""))
    if found.status != "RUNNING":
        raise typer.Exit(1)


@app.command()
@told_plainly
def remove(address: Address = "auto") -> None:
    """Take the deployment off the cluster; the cluster itself goes on."""
    cluster.remove(address)
    typer.echo("removed")
