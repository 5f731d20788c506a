"""`rollcall gallery`."""

from time import monotonic, sleep
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from app.auth.scopes import Scope
from app.cli.client import DEFAULT_URL, Client, KeyOption, ServiceError, UrlOption, open_client
from app.cli.failures import told_plainly

# A million templates take some fifteen seconds; a replica that needs longer has trouble of another kind.
_PATIENCE_S = 600.0
_ASK_EVERY_S = 0.5
_DIFFERENCES = ("n_missing", "n_extra", "n_misassigned", "n_altered", "n_misfused")

app = typer.Typer(help="The templates in the memory of every replica, and whether they are those of the database.")


@app.command()
@told_plainly
def show(url: UrlOption = DEFAULT_URL, key: KeyOption = None) -> None:
    """Show every replica, how far it is, and what its last audit found."""
    with open_client(url, key, Scope.OPERATOR) as client:
        _print(client.get("/v1/gallery"))


@app.command()
@told_plainly
def audit(url: UrlOption = DEFAULT_URL, key: KeyOption = None) -> None:
    """Let every replica prove that it holds what the database holds; exit status 1 when one does not."""
    _ask_all("/v1/gallery/audit", url, key, "Auditing")


@app.command()
@told_plainly
def rebuild(url: UrlOption = DEFAULT_URL, key: KeyOption = None) -> None:
    """Let every replica load the gallery anew, aside, swap it in and audit it; searches go on meanwhile."""
    _ask_all("/v1/gallery/rebuild", url, key, "Rebuilding")


def _ask_all(path: str, url: str, key: str | None, doing: str) -> None:
    with open_client(url, key, Scope.ADMIN) as client:
        state = _wait(client, client.post_json(path), doing)
    _print(state)
    heard = [replica for replica in state["replicas"] if not replica["is_silent"]]
    if not heard:
        raise ServiceError("no replica has answered; look at the service's log")
    if not all(replica["audit"]["is_clean"] for replica in heard):
        raise ServiceError("a replica differed from the database. It has rebuilt itself; audit again to see that")
    if n_silent := len(state["replicas"]) - len(heard):
        typer.echo(f"{n_silent} silent: dead, and forgotten two minutes after, or cut off from the database.")


def _wait(client: Client, state: dict[str, Any], doing: str) -> dict[str, Any]:
    deadline = monotonic() + _PATIENCE_S
    with Console(stderr=True).status("") as status:
        while pending := [replica for replica in state["replicas"] if _is_pending(replica)]:
            if monotonic() > deadline:
                raise ServiceError(f"{len(pending)} replicas have not answered after {_PATIENCE_S:.0f} s")
            status.update(f"{doing} {len(state['replicas'])} replicas, {len(pending)} to go …")
            sleep(_ASK_EVERY_S)
            state = client.get("/v1/gallery")
    return state


def _is_pending(replica: dict[str, Any]) -> bool:
    """One that has come after it was asked is waited for, too: it audits itself soon."""
    is_asked = replica["is_audit_pending"] or replica["is_rebuild_pending"]
    return not replica["is_silent"] and (is_asked or replica["audit"] is None)


def _print(state: dict[str, Any]) -> None:
    table = Table()
    for title in ("replica", "host", "revision", "people", "templates", "last audit", "contents"):
        table.add_column(title, no_wrap=title in ("replica", "last audit"))
    for replica in state["replicas"]:
        name = f"{replica['kind']} {replica['id'][-6:]}" + (" (silent)" if replica["is_silent"] else "")
        report = replica["audit"]
        counts = (str(replica[field]) for field in ("revision", "n_people", "n_templates"))
        table.add_row(name, replica["host"], *counts, _verdict(report), report["fingerprint"][:8] if report else "")
    console = Console()
    console.print(table)
    console.print(f"The database is at revision {state['revision']}, its log has {state['n_log_entries']} entries.")


def _verdict(report: dict[str, Any] | None) -> str:
    if report is None:
        return "none yet"
    if report["is_clean"]:
        return f"clean at {report['revision']}"
    return ", ".join(f"{field[2:]} {report[field]}" for field in _DIFFERENCES if report[field])
