import ast
import os
import subprocess
import sys
from pathlib import Path

from app.jobs.processes import _step_back, pause_after

ROOT = Path(__file__).parents[3]


def test_a_worker_that_dies_again_and_again_is_started_ever_later() -> None:
    pauses, pause_s = [], 0.0
    for _ in range(9):
        pause_s = pause_after(1.0, pause_s)
        pauses.append(pause_s)
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    assert pause_after(3600.0, pause_s) == 0.5


def test_a_worker_beside_the_server_leaves_it_the_cores() -> None:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as child:
        _step_back(child.pid)
        niceness = os.getpriority(os.PRIO_PROCESS, child.pid)
        child.kill()
    assert niceness == 10


def test_stepping_back_for_a_worker_that_is_gone_is_no_failure() -> None:
    with subprocess.Popen(["true"]) as child:
        child.wait()
    _step_back(child.pid)


def test_only_one_file_imports_dbos() -> None:
    users = [path for path in sorted((ROOT / "app").rglob("*.py")) if "dbos" in imported(path)]
    assert [path.relative_to(ROOT).as_posix() for path in users] == ["app/jobs/dbos_queue.py"]


def test_the_service_carries_no_dbos_and_a_worker_no_networks() -> None:
    assert loaded_by("app.main", "app.jobs.processes") == "faiss"
    assert loaded_by("app.jobs.__main__") == "dbos"


def imported(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    return {name.partition(".")[0] for name in names}


def loaded_by(*modules: str) -> str:
    """Which of the heavy packages a fresh process has after importing these."""
    look = "import sys; print(*sorted({'torch', 'faiss', 'dbos'} & set(sys.modules)))"
    command = f"import {', '.join(modules)}; {look}"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    return done.stdout.strip()
