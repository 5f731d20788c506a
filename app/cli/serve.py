"""`rollcall serve`."""

from typing import Annotated

import typer
from rich.console import Console
from rich.panel import Panel

from app.auth.service import ensure_first_admin_key
from app.cli.failures import told_plainly
from app.db.engine import open_database
from app.db.migrate import upgrade
from app.logs import configure_logging
from app.settings import Settings

# On standard error, like the log: standard output stays free for what a command is asked for.
_CONSOLE = Console(stderr=True)


@told_plainly
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for every network card.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8000,
) -> None:
    """Run the service: applies migrations, then answers on one port until stopped.

    Data goes to `ROLLCALL_DATA_DIR` (default `./data`). The first start prints an admin key, once.
    """
    settings = Settings()
    configure_logging(settings)
    if key := _prepare(settings):
        _CONSOLE.print(Panel(f"Admin key, shown this once:\n\n{key}", title="First start", expand=False))
    # Imported late: torch and FAISS take seconds to import, and a wrong setting should be told at once.
    import uvicorn

    from app.main import create_app

    uvicorn.run(create_app(settings), host=host, port=port, log_config=None, access_log=False, server_header=False)


def _prepare(settings: Settings) -> str | None:
    database = open_database(settings)
    try:
        upgrade(database.engine)
        with database.write() as session:
            return ensure_first_admin_key(session)
    finally:
        database.dispose()
