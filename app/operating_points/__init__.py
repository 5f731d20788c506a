"""The threshold that names people: which one is in force, and why."""
