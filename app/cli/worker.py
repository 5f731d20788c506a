"""`rollcall worker`."""

from typing import Annotated

import typer

from app.cli.failures import told_plainly
from app.cli.tune_engine import tune_once
from app.logs import configure_logging
from app.settings import Settings


@told_plainly
def worker(
    queues: Annotated[
        str | None, typer.Option(help="Serve only these queues; commas between them.", show_default="all of them")
    ] = None,
) -> None:
    """Run long jobs of the service whose database the settings name, one at a time, until stopped.

    `rollcall serve` starts one of these by itself. Run more, on this or on other machines, to get more done at once:
    they share the jobs, and do those of one that dies. With `ROLLCALL_WORKERS=0` these are all there are. One that
    cannot load its networks ends with exit status 1.

    Jobs wait in queues by kind, such as `video` for videos to enrol from. A worker that serves only some of them is
    always there for these; a job whose queue nobody serves waits, and says so. `/v1/system` counts each queue.
    """
    settings = Settings()
    configure_logging(settings)
    # Imported late: a wrong setting should be told at once.
    from app.jobs.handlers import built_in, of_queues
    from app.jobs.rules import new_worker_id
    from app.jobs.worker import run_worker

    if not settings.inference_addresses:
        tune_once(settings)
    run_worker(settings, of_queues(built_in(), queues), new_worker_id())
