"""What a CompreFace database holds: collections, their subjects and the images that were kept.

The schema is that of CompreFace 0.6 to 1.2, whose own migrations changed none of this in between:
- subject(id, api_key, subject_name): a person, in the recognition service with this key; a name is there once per key;
- img(id, content): an image file as it was uploaded;
- embedding(id, subject_id, embedding, calculator, img_id): one per network and image. Without an image where CompreFace
  ran with save_images_to_db=false, and in the demo collection that every installation comes with.
Embeddings are another network's, so they are never read.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from re import compile as pattern
from uuid import UUID

import psycopg
from psycopg import errors

_CONNECT_TIMEOUT_S = 5
_ROWS_AT_A_TIME = 1000
_URL = pattern(r"^postgres(?:ql)?(?:\+psycopg)?://")

_COLLECTIONS = """
    SELECT subject.api_key, count(DISTINCT subject.id), count(DISTINCT embedding.img_id)
    FROM public.subject LEFT JOIN public.embedding ON embedding.subject_id = subject.id
    WHERE subject.api_key IS NOT NULL AND subject.subject_name IS NOT NULL
    GROUP BY subject.api_key ORDER BY subject.api_key
"""
_NAMES = "SELECT DISTINCT subject_name FROM public.subject WHERE api_key = ANY(%s) AND subject_name = ANY(%s)"
_N_SUBJECTS = "SELECT count(DISTINCT subject_name) FROM public.subject WHERE api_key = ANY(%s)"
# Sorted by bytes, so that the order is the same on every server.
_SUBJECTS = """
    SELECT DISTINCT subject.subject_name COLLATE "C", img.id, octet_length(img.content)
    FROM public.subject
    LEFT JOIN public.embedding ON embedding.subject_id = subject.id
    LEFT JOIN public.img ON img.id = embedding.img_id
    WHERE subject.api_key = ANY(%s) AND subject.subject_name IS NOT NULL
    ORDER BY 1, 2
"""
_CONTENTS = "SELECT id, content FROM public.img WHERE id = ANY(%s) ORDER BY id"


class CompreFaceError(ValueError):
    """The database cannot be read; the message is for the person at the command line."""


@dataclass(frozen=True, slots=True)
class Collection:
    """The subjects of one recognition service."""

    api_key: str
    n_subjects: int
    n_images: int

    def __str__(self) -> str:
        return f"…{self.api_key[-4:]} ({self.n_subjects} subjects, {self.n_images} images)"


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image that can be asked for."""

    id: UUID
    n_bytes: int


@dataclass(frozen=True, slots=True)
class Subject:
    """Everybody of one name, in whichever of the chosen collections, and their images."""

    name: str
    images: list[StoredImage]


class CompreFaceDatabase:
    """An open database. Of images, only those that are asked for are in memory."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def collections(self) -> list[Collection]:
        return [Collection(*row) for row in self._connection.execute(_COLLECTIONS)]

    def n_subjects(self, api_keys: Sequence[str]) -> int:
        row = self._connection.execute(_N_SUBJECTS, [list(api_keys)]).fetchone()
        return int(row[0]) if row else 0

    def names_among(self, names: Iterable[str], api_keys: Sequence[str]) -> set[str]:
        """Those of the names that subjects have."""
        return {name for (name,) in self._connection.execute(_NAMES, [list(api_keys), list(names)])}

    def subjects(self, api_keys: Sequence[str]) -> Iterator[Subject]:
        """Everybody, by name, as they are now."""
        # Held by the server outside any transaction: an import takes hours, and must not keep CompreFace's rows from
        # being vacuumed for so long.
        with self._connection.cursor("subjects", withhold=True) as cursor:
            cursor.itersize = _ROWS_AT_A_TIME
            rows = cursor.execute(_SUBJECTS, [list(api_keys)])
            for name, group in groupby(rows, key=lambda row: str(row[0])):
                yield Subject(name, [StoredImage(*image) for _, *image in group if image[0] is not None])

    def contents(self, images: Sequence[StoredImage]) -> list[tuple[UUID, bytes]]:
        """The files, by id; without those that were deleted meanwhile."""
        with self._connection.cursor(binary=True) as cursor:  # as text they would take twice the memory
            return cursor.execute(_CONTENTS, [[image.id for image in images]]).fetchall()


@contextmanager
def open_compreface(url: str) -> Iterator[CompreFaceDatabase]:
    """Connect to a database that nothing is changed in.

    Raises:
        CompreFaceError: whatever goes wrong with the database, then or within the block.
    """
    try:
        with _connect(url) as connection:
            connection.execute("SET default_transaction_read_only = on")
            yield CompreFaceDatabase(connection)
    except (errors.UndefinedTable, errors.UndefinedColumn):
        raise CompreFaceError(
            "this database has no tables subject, embedding and img, as CompreFace has them since 0.6: name the "
            "database that CompreFace uses (its postgres_db, mostly frs)"
        ) from None
    except psycopg.Error as error:
        reason = " ".join(str(error).split())
        raise CompreFaceError(f"the CompreFace database cannot be read: {reason}") from None


def _connect(url: str) -> psycopg.Connection:
    wrong = CompreFaceError("the CompreFace database must be postgresql://user:password@host:port/name")
    if not _URL.match(url):
        raise wrong
    try:
        return psycopg.connect(
            _URL.sub("postgresql://", url),
            autocommit=True,
            connect_timeout=_CONNECT_TIMEOUT_S,
            application_name="rollcall import",
        )
    except psycopg.ProgrammingError:  # its message repeats what is wrong with the URL, which may be the password
        raise wrong from None
