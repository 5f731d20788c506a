"""Keeps every in-memory gallery equal to the database.

templates + change row, one transaction ─► commit, NOTIFY ─► bell ─► follower ─► catch_up: log ─► index
            changes.py                                      bell.py  follower.py      replica.py
start, or a log that does not reach back ─► loading: one consistent read, aside ─► log ─► swapped in
caretaker: heartbeat (registry.py), audit (audit.py), rebuild when asked or found wrong, compaction of the log
"""
