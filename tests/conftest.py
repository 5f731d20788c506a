"""For every test. What only the service's tests need is in tests/app/conftest.py."""

from hypothesis import settings

# Examples are drawn from a fixed seed, so that a run can be repeated; slow machines are no failure.
settings.register_profile("rollcall", deadline=None, derandomize=True)
settings.load_profile("rollcall")
