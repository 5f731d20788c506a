"""Pages for people, a module each: rendered here, enlivened by small ES modules that call `/v1` with the session."""
