"""Versions of the database schema; run by `app.db.migrate`, shipped in the wheel."""
