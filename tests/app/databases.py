"""Databases on a PostgreSQL server, one for each test: copied from a template once, then emptied and lent again.

To copy and drop one takes PostgreSQL as long as most tests take (an eighth of a second, a quarter of what the whole
suite computes); to empty one takes some milliseconds. One whose tables are not as they were is dropped all the same.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

ENDING_MS = 10_000
# Everything that a test may have changed but rows: columns, constraints, triggers, schemas, a database's own settings.
SHAPE = """
    SELECT md5(concat_ws('|',
        (SELECT string_agg(concat_ws(' ', n.nspname, c.relname, c.relkind, a.attname, a.atttypid, a.attnotnull), ','
            ORDER BY n.nspname, c.relname, a.attnum)
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
         WHERE n.nspname !~ '^(pg_|information_schema)' AND a.attnum > 0),
        (SELECT string_agg(conname, ',' ORDER BY conname, conrelid) FROM pg_constraint),
        (SELECT string_agg(tgname, ',' ORDER BY tgname) FROM pg_trigger WHERE NOT tgisinternal),
        (SELECT string_agg(nspname, ',' ORDER BY nspname) FROM pg_namespace),
        (SELECT string_agg(setconfig::text, ',') FROM pg_db_role_setting s
         JOIN pg_database d ON d.oid = s.setdatabase WHERE d.datname = current_database())))
"""
TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
SEQUENCES = (
    "SELECT sequencename, coalesce(last_value, start_value), last_value IS NOT NULL FROM pg_sequences ORDER BY 1"
)


class Databases:
    """Copies of one template, each with one borrower at a time."""

    def __init__(self, server: psycopg.Connection, template: str) -> None:
        self._server = server
        self._template = template
        self._spare: list[str] = []
        with self._connect(template) as connection:
            self._shape = _one(connection, SHAPE)
            self._empty, self._first_rows = _emptying(connection), _rows(connection)

    @contextmanager
    def lent(self) -> Iterator[str]:
        """The name of a database that is as the template is; whoever is connected in the end is disconnected."""
        name = self._spare.pop() if self._spare else self._copy()
        yield name
        try:
            self._make_new(name)
        except (psycopg.Error, _ChangedError):
            drop(self._server, name)
        else:
            self._spare.append(name)

    def drop_all(self) -> None:
        while self._spare:
            drop(self._server, self._spare.pop())

    def _copy(self) -> str:
        return create(self._server, self._template)

    def _make_new(self, name: str) -> None:
        self._server.execute(
            "SELECT pg_terminate_backend(pid, %s) FROM pg_stat_activity WHERE datname = %s", [ENDING_MS, name]
        )
        with self._connect(name) as connection:
            if _one(connection, SHAPE) != self._shape:
                raise _ChangedError
            connection.execute("SET session_replication_role = replica")  # rows go and come in any order
            connection.execute(self._empty)
            for table, rows in self._first_rows.items():
                with connection.cursor().copy(sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(table))) as copy:
                    copy.write(rows)

    def _connect(self, name: str) -> psycopg.Connection:
        info = self._server.info
        return psycopg.connect(make_conninfo(info.dsn, password=info.password, dbname=name))


def create(server: psycopg.Connection, template: str) -> str:
    """Make a copy of a database by its files, which takes half of the time of a copy by the log."""
    name = f"rollcall_test_{secrets.token_hex(6)}"
    server.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    return name


def drop(server: psycopg.Connection, name: str) -> None:
    """Drop a database, whoever is connected to it."""
    server.execute(f"DROP DATABASE {name} WITH (FORCE)")


class _ChangedError(Exception):
    pass


def _one(connection: psycopg.Connection, query: str) -> object:
    row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


def _emptying(connection: psycopg.Connection) -> sql.Composed:
    """Statements that take all rows away and set all sequences to where they are now."""
    tables = [sql.SQL("DELETE FROM {}").format(sql.Identifier(name)) for (name,) in connection.execute(TABLES)]
    sequences = [
        sql.SQL("SELECT setval({}, {}, {})").format(sql.Literal(f'"{name}"'), sql.Literal(value), sql.Literal(is_used))
        for name, value, is_used in connection.execute(SEQUENCES)
    ]
    return sql.SQL("; ").join([*tables, *sequences])


def _rows(connection: psycopg.Connection) -> dict[str, bytes]:
    """What each table that is not empty holds, as COPY writes it."""
    held = dict[str, bytes]()
    for (table,) in connection.execute(TABLES).fetchall():
        with connection.cursor().copy(sql.SQL("COPY {} TO STDOUT").format(sql.Identifier(table))) as copy:
            if rows := b"".join(bytes(block) for block in copy):
                held[table] = rows
    return held
