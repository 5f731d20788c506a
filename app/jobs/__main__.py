"""`python -m app.jobs`: a worker as `rollcall serve` starts it, without the weight of the other commands."""

import argparse
import sys

from app.jobs.handlers import load, of_queues
from app.jobs.worker import run_worker
from app.logs import configure_logging
from app.settings import Settings


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--id", required=True)
    parser.add_argument("--handlers", help="package.module:function that returns more kinds of jobs")
    parser.add_argument("--queues", help="serve these only, as in `a,b`")
    given = parser.parse_args()
    settings = Settings()
    configure_logging(settings)
    run_worker(settings, of_queues(load(given.handlers), given.queues), given.id, parent=sys.stdin.buffer)


if __name__ == "__main__":
    main()
