"""`rollcall worker`."""

from app.cli.failures import told_plainly
from app.logs import configure_logging
from app.settings import Settings


@told_plainly
def worker() -> None:
    """Run long jobs of the service whose database the settings name, one at a time, until stopped.

    `rollcall serve` starts one of these by itself. Run more, on this or on other machines, to get more done at once;
    with `ROLLCALL_WORKERS=0` these are all there are. One that cannot load its networks ends with exit status 1.
    """
    settings = Settings()
    configure_logging(settings)
    # Imported late: a wrong setting should be told at once.
    from app.jobs.handlers import built_in
    from app.jobs.rules import new_worker_id
    from app.jobs.worker import run_worker

    run_worker(settings, built_in(), new_worker_id())
