"""Who a subject is here, and which of their images are sent together; pure."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from app.compreface.reader import CompreFaceError, StoredImage, Subject
from app.people.schemas import PersonCreate

_COLUMNS = {"subject_name", "employee_code", "name"}
# What a file takes in a form beside its content, with more than enough room for the form's other fields.
_FORM_BYTES = 4_000

NO_IMAGE = "no image kept: enrol them again"


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that one request may hold."""

    n_files: int
    n_bytes: int


def person_of(subject: Subject, people: Mapping[str, PersonCreate]) -> PersonCreate:
    """The person a subject becomes: the one in `people`, else one with the subject's name for code and name.

    Raises:
        CompreFaceError: why the subject cannot be enrolled.
    """
    person = people.get(subject.name) or _namesake(subject.name)
    if not subject.images:
        raise CompreFaceError(NO_IMAGE)
    return person


def read_codes(content: bytes) -> dict[str, PersonCreate]:
    """People by subject_name, from a CSV file with a header line.

    Raises:
        CompreFaceError: some line is wrong.
    """
    try:
        reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        if _COLUMNS - set(reader.fieldnames or []):
            raise CompreFaceError("line 1: the columns must be subject_name, employee_code, name")
        return _people_of(reader)
    except UnicodeDecodeError:
        raise CompreFaceError("the file is not UTF-8; save it as “CSV UTF-8”") from None
    except csv.Error as error:
        raise CompreFaceError(f"line {reader.line_num}: {error}") from None


def batches(images: Sequence[StoredImage], limits: Limits) -> Iterator[list[StoredImage]]:
    """The images in as few requests as the limits allow; one that is too large alone is left to the service."""
    batch: list[StoredImage] = []
    n_bytes = 0
    for image in images:
        size = image.n_bytes + _FORM_BYTES
        if batch and (len(batch) == limits.n_files or n_bytes + size > limits.n_bytes):
            yield batch
            batch, n_bytes = [], 0
        batch.append(image)
        n_bytes += size
    if batch:
        yield batch


def _namesake(subject_name: str) -> PersonCreate:
    try:
        return PersonCreate(employee_code=subject_name, name=subject_name)
    except ValidationError as error:
        raise CompreFaceError(f"{_why(error)}; give another one with --codes") from None


def _people_of(reader: "csv.DictReader[str]") -> dict[str, PersonCreate]:
    people: dict[str, PersonCreate] = {}
    for row in reader:
        subject_name, code, name = row["subject_name"], row["employee_code"], row["name"]
        if not subject_name or subject_name in people:
            raise CompreFaceError(f"line {reader.line_num}: subject_name is empty, or the same as in an earlier line")
        try:
            people[subject_name] = PersonCreate(employee_code=code or "", name=name or subject_name)
        except ValidationError as error:
            raise CompreFaceError(f"line {reader.line_num}: {_why(error)}") from None
    return people


def _why(error: ValidationError) -> str:
    """The first rule that is broken."""
    broken = error.errors()[0]
    field, limit = broken["loc"][0], broken.get("ctx", {}).get("max_length")
    # pydantic counts the "items" of a text that was cleaned before.
    return f"{field}: {broken['msg'] if limit is None else f'longer than {limit} characters'}"
