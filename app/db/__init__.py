"""Tables, sessions and migrations; the same models on SQLite and PostgreSQL."""
