"""Cameras: where they stand, what they may record, their keys, and how wrong their clocks are."""
