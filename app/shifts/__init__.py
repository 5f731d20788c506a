"""When people are expected: shifts, who works which of them, and the days that a change of either makes stale."""
