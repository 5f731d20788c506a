"""A CompreFace database for tests: its three tables that matter, as releases 0.6 to 1.2 have them, and rows of ours."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import psycopg
from sqlalchemy import make_url

from tests.postgres import server_url

OFFICE = "1f6c1cf0-0000-4000-8000-00000000aaaa"
GATE = "2f6c1cf0-0000-4000-8000-00000000bbbb"
DEMO = "00000000-0000-0000-0000-00000000dddd"
# In no photo and no name: wherever these digits turn up, an embedding was read.
EMBEDDING = [0.31415926, -0.27182818]

_TABLES = """
    CREATE TABLE subject (
        id uuid PRIMARY KEY, api_key varchar(36), subject_name varchar(255), UNIQUE (api_key, subject_name)
    );
    CREATE TABLE img (id uuid PRIMARY KEY, content bytea NOT NULL);
    CREATE TABLE embedding (
        id uuid PRIMARY KEY,
        subject_id uuid REFERENCES subject ON DELETE CASCADE ON UPDATE CASCADE,
        embedding float8[] NOT NULL,
        calculator varchar(255) NOT NULL,
        img_id uuid REFERENCES img
    );
"""


class CompreFace:
    """Makes the tables, then rows, in the empty database at `url`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._connection = psycopg.connect(url, autocommit=True)
        self._connection.execute(_TABLES)

    def close(self) -> None:
        self._connection.close()

    def clear(self) -> None:
        self._connection.execute("TRUNCATE subject, img, embedding")

    def add(self, name: str, *images: bytes, api_key: str = OFFICE) -> None:
        """A subject whose images two networks have seen; without any, one whose image was not kept."""
        subject_id = uuid4()
        self._connection.execute("INSERT INTO subject VALUES (%s, %s, %s)", [subject_id, api_key, name])
        for content in images:
            image_id = uuid4()
            self._connection.execute("INSERT INTO img VALUES (%s, %s)", [image_id, content])
            self._add_embedding(subject_id, "facenet.Calculator@20180402-114759", image_id)
            self._add_embedding(subject_id, "insightface.Calculator@arcface_r100_v1", image_id)
        if not images:
            self._add_embedding(subject_id, "facenet.Calculator@20180402-114759", None)

    def rows(self) -> list[int]:
        """How many each table has."""
        tables = ("subject", "img", "embedding")
        return [self._connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables]

    def _add_embedding(self, subject_id: object, calculator: str, image_id: object) -> None:
        row = [uuid4(), subject_id, EMBEDDING, calculator, image_id]
        self._connection.execute("INSERT INTO embedding VALUES (%s, %s, %s, %s, %s)", row)


@contextmanager
def compreface_database() -> Iterator[CompreFace]:
    """A database of its own with the tables and no rows; skips, visibly, where there is no PostgreSQL."""
    name = f"rollcall_test_compreface_{secrets.token_hex(4)}"
    with server_url() as server, psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        url = make_url(server).set(database=name).render_as_string(hide_password=False)
        try:
            database = CompreFace(url)
            yield database
            database.close()
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
