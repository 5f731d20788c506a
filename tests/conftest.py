"""For every test. What only the service's tests need is in tests/app/conftest.py."""

import os

# One thread for each test process and for every service that a test starts: `make test` runs several side by side,
# and threads that share a core wait for one another (a network's pass takes twenty times as long). Set before anything
# that computes is imported, which reads it once.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENCV_FOR_THREADS_NUM", "1")
# Where a test asks for more threads all the same, those that wait for the others sleep, and leave them the core.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from hypothesis import settings  # noqa: E402

# Examples are drawn from a fixed seed, so that a run can be repeated; slow machines are no failure.
settings.register_profile("rollcall", deadline=None, derandomize=True)
settings.load_profile("rollcall")
