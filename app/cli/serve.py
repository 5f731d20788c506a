"""`rollcall serve`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import structlog
import typer
from rich.console import Console
from rich.panel import Panel

from app.auth.service import ensure_first_admin_key
from app.cli.failures import told_plainly
from app.cli.listening import bound_socket, ended_by_signal, url_of
from app.cli.tune_engine import tune_once
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
    with bound_socket(host, port) as listener:
        # Imported late: torch and FAISS take seconds to import, and a wrong setting should be told at once.
        import uvicorn

        from app.main import create_app, prepare

        if not settings.inference_addresses:
            tune_once(settings)
        app = create_app(settings)
        prepare(app)
        print_first_key(app.state.database)
        log.info("serve.started", url=url_of(host, listener))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, server_header=False))
        app.state.live_feed.end_when(lambda: server.should_exit)
        with ended_by_signal(), _workers(app.state.database, settings, job_handlers):
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


def print_first_key(database: Database) -> None:
    """Make an admin key and show it, where there is no key at all; of several who ask, one gets it."""
    with database.write() as session:
        key = ensure_first_admin_key(session)
    if key is not None:
        # On standard error, like the log: standard output stays free for what a command is asked for.
        console = Console(stderr=True)
        console.print(Panel(f"Admin key, shown this once:\n\n{key}", title="First start", expand=False))
