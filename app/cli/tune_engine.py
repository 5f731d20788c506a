"""`rollcall tune-engine`."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import structlog
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from app.cli.failures import told_plainly
from app.inference.tuning import Measured, keep_plan, kept_plan
from app.settings import AUTO, Settings
from ml.plan import EnginePlan, n_usable_cpus

if TYPE_CHECKING:
    from ml.tuning import Timing

# A first start waits no longer for this, however busy the machine is.
_LONGEST_S: Final = 60
_SAID_CHARS: Final = 300

log = structlog.get_logger(__name__)


@told_plainly
def tune_engine() -> None:
    """Find out how the networks run fastest on this machine, and keep it.

    Tries every installed runtime, the arithmetic that the processor or GPU is good at, and one thread against all, for
    some seconds each; nothing else should be busy meanwhile. `rollcall serve` does this by itself at its first start.
    """
    settings, console = Settings(), Console(width=max(Console().width, 100))
    timings = _measured(settings)
    from ml.tuning import choose

    best = choose(timings)
    tried = [
        Measured(str(each.plan), round(each.one_ms, 2), round(each.each_ms, 2), round(each.agreement, 6))
        for each in timings
    ]
    path = keep_plan(settings, best.plan, tried)
    console.print(_table(tried, str(best.plan)))
    console.print(f"Chosen: [bold]{best.plan}[/bold], kept in {path}. Processes that run already go on as they are.")


def tune_once(settings: Settings) -> None:
    """Measure, unless that was done here before or the settings say how to run.

    One process of several that start together does; the others wait for it, because they would measure one another.
    """
    if settings.engine != AUTO or kept_plan(settings) is not None:
        return
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    with (settings.data_dir / "engine.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if kept_plan(settings) is None:
            _measure_aside(settings)


def _measure_aside(settings: Settings) -> None:
    """In a process of its own: every way that is tried leaves memory behind, and one may be more than can be borne."""
    log.info("engine.measuring", why="first start on this machine", seconds="about 15")
    command = [sys.executable, "-P", "-m", "app.cli", "tune-engine"]
    environment = {**os.environ, "ROLLCALL_DEVICE": settings.device}  # which a command's option may have overruled
    try:
        subprocess.run(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True, timeout=_LONGEST_S
        )
    except (
        subprocess.SubprocessError,
        OSError,
    ) as error:  # it runs as is probably best, and the next start tries again
        said = getattr(error, "stderr", None) or b""
        reason = said.decode(errors="replace").strip()[-_SAID_CHARS:]
        log.warning("engine.not_measured", reason=reason or type(error).__name__)


def _measured(settings: Settings) -> "list[Timing]":
    # Imported late: torch takes seconds to import, and a wrong setting should be told at once.
    from app.inference.local import load_engine
    from ml.tuning import choose, measure, picture_with_a_face, plans_to_try

    plans, picture = plans_to_try(settings.device, n_usable_cpus()), picture_with_a_face()
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("trying", total=len(plans) + 1)

        def tried(plans: Sequence[EnginePlan]) -> "Iterator[Timing]":
            for timing in measure(plans, lambda plan: load_engine(settings, plan), picture):
                progress.update(task, advance=1, description=f"tried {timing.plan}")
                yield timing

        timings = list(tried(plans))
        alone = replace(choose(timings).plan, n_threads=1)
        return timings + ([] if alone in plans else list(tried([alone])))


def _table(tried: Sequence[Measured], chosen: str) -> Table:
    table = Table("runtime/precision/threads", title="How the networks can run here")
    for heading in ("one picture, ms", "each of four, ms", "agreement"):
        table.add_column(heading, justify="right")
    for each in tried:
        style = "bold green" if each.plan == chosen else None
        table.add_row(each.plan, f"{each.one_ms:.1f}", f"{each.each_ms:.1f}", f"{each.agreement:.5f}", style=style)
    return table
