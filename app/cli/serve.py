"""`rollcall serve`."""

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Annotated

import structlog
import typer
from rich.console import Console
from rich.panel import Panel

from app.auth.service import ensure_first_admin_key
from app.cli.failures import told_plainly
from app.db.engine import Database
from app.logs import configure_logging
from app.settings import Settings

log = structlog.get_logger(__name__)


@told_plainly
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for every network card.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8000,
    job_handlers: Annotated[str | None, typer.Option(hidden=True)] = None,  # for tests: jobs that misbehave
) -> None:
    """Run the service: applies migrations, then answers on one port until stopped.

    Data goes to `ROLLCALL_DATA_DIR` (default `./data`). The first start prints an admin key, once.
    """
    settings = Settings()
    configure_logging(settings)
    with _bound_socket(host, port) as listener:
        # Imported late: torch and FAISS take seconds to import, and a wrong setting should be told at once.
        import uvicorn

        from app.main import create_app, prepare

        app = create_app(settings)
        prepare(app)
        print_first_key(app.state.database)
        address = f"[{host}]" if ":" in host else host
        log.info("serve.started", url=f"http://{address}:{listener.getsockname()[1]}")
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, server_header=False))
        # Uvicorn raises its signal again once everything is put away; by default SIGTERM would end us there and then.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with suppress(KeyboardInterrupt), _workers(app.state.database, settings, job_handlers):
            server.run(sockets=[listener])


@contextmanager
def _workers(database: Database, settings: Settings, handlers: str | None) -> Iterator[None]:
    """The processes that run jobs beside the server, as long as it runs."""
    from app.jobs.processes import WorkerProcesses

    workers = WorkerProcesses(database, settings.workers, handlers)
    workers.start()
    try:
        yield
    finally:
        workers.stop()


def _bound_socket(host: str, port: int) -> socket.socket:
    """The address is taken before seconds are spent on loading; connections are refused until the server listens."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        reason = error.strerror or error
        raise OSError(f"cannot listen on {host} port {port} ({reason}): choose another --host or --port") from error
    return listener


def print_first_key(database: Database) -> None:
    """Make an admin key and show it, where there is no key at all; of several who ask, one gets it."""
    with database.write() as session:
        key = ensure_first_admin_key(session)
    if key is not None:
        # On standard error, like the log: standard output stays free for what a command is asked for.
        console = Console(stderr=True)
        console.print(Panel(f"Admin key, shown this once:\n\n{key}", title="First start", expand=False))
