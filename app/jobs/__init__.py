"""Long work outside of requests, which survives the death of any process.

row in `jobs` (queued) ─► dispatcher ─► DBOS ─► runner: claim ─► handler(context) ─► outcome in the row
  service.enqueue         worker.py  dbos_queue   runner.py      context.py

The row is the truth. DBOS only says which worker tries next; nothing runs before the worker has claimed the row, and
nothing is written by a worker that has lost it. `janitor` gives the jobs of dead workers to others.

Each kind of job waits in one queue (`handlers`). A worker serves all queues or some, and does one job at a time of all.
"""
