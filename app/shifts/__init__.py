"""Shifts, and who works which of them when."""
