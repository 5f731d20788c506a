"""Keeps every in-memory gallery equal to the database."""
