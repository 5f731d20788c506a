"""For every test. What only the service's tests need is in tests/app/conftest.py."""

import os
from pathlib import Path

# One thread for each test process and for every service that a test starts: `make test` runs several side by side,
# and threads that share a core wait for one another (a network's pass takes twenty times as long). Set before anything
# that computes is imported, which reads it once.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENCV_FOR_THREADS_NUM", "1")

import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

# Examples are drawn from a fixed seed, so that a run can be repeated; slow machines are no failure.
settings.register_profile("rollcall", deadline=None, derandomize=True)
settings.load_profile("rollcall")

END_TO_END = Path(__file__).parent / "e2e"


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Share tests among processes by the file, so that what a module loads is loaded once.

    Those of whole services stay together: they wait for processes to start and die, and kill them at chosen moments.
    Two of them at once would take each other's time; beside other tests they have a core to themselves.
    """
    for item in items:
        group = END_TO_END if END_TO_END in item.path.parents else item.path
        item.add_marker(pytest.mark.xdist_group(str(group)))
