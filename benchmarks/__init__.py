"""Speed and memory, measured by hand: `python -m benchmarks.<name>`; never part of the tests."""
