"""`rollcall import compreface`."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track

from app.auth.scopes import Scope
from app.cli.client import DEFAULT_URL, Client, KeyOption, MemoryFile, RefusedError, UrlOption, open_client
from app.cli.enrolment_summary import Outcome, Summary, outcome_of, outcome_of_refusal, report, report_refused
from app.cli.failures import told_plainly
from app.compreface.pictures import acceptable
from app.compreface.reader import (
    Collection,
    CompreFaceDatabase,
    CompreFaceError,
    StoredImage,
    Subject,
    open_compreface,
)
from app.compreface.rules import NO_IMAGE, Limits, batches, person_of, read_codes
from app.people.schemas import PersonCreate
from app.settings import Settings

# Refusals that are not about the person: the next one would be told the same.
_STOPS = {401, 403, 429, 503, 507}
_TOO_MUCH = {"too_many_files", "request_too_large"}
_SHOWN_NAMES = 5


@told_plainly
def compreface(
    database: Annotated[
        str,
        typer.Argument(
            metavar="POSTGRES_URL",
            envvar="COMPREFACE_DATABASE_URL",
            help="postgresql://user:password@host:port/frs, as CompreFace uses it. It is only read.",
        ),
    ],
    api_key: Annotated[
        str | None, typer.Option(envvar="COMPREFACE_API_KEY", help="Only the recognition service with this key.")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="All recognition services; subjects of the same name are one person.")
    ] = False,
    codes: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            metavar="FILE.csv",
            help="Columns subject_name, employee_code, name. A subject that is not in it keeps its name for both.",
        ),
    ] = None,
    consent: Annotated[
        bool, typer.Option("--consent", help="Everybody has agreed to be enrolled; CompreFace has no record of it.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
) -> None:
    """Enrol the subjects of a CompreFace database (0.6 to 1.2) anew, from the images that it has kept.

    Its embeddings are another network's and are not used. What cannot be enrolled is listed with the reason; running
    it again, also after it was interrupted, adds only what is missing.
    """
    settings = Settings()
    with open_compreface(database) as source:
        keys = _chosen(source.collections(), api_key, every)
        plan = _Plan(
            people=_people_in(codes, source, keys) if codes else {},
            fields={"consent": "true"} if consent else {},
            limits=Limits(settings.max_enroll_files, settings.max_enroll_bytes),
            max_pixels=settings.max_image_pixels,
        )
        if dry_run:
            is_anybody = _dry_run(source.subjects(keys), plan)
        else:
            with open_client(url, key, Scope.OPERATOR) as client:
                client.get("/v1/system")  # a wrong address or key is told before anything is begun
                is_anybody = _Importer(source, client, plan).run(source.subjects(keys), source.n_subjects(keys))
    if not is_anybody:
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is sent: people by subject_name, the form's further fields, and the limits of requests and pictures."""

    people: Mapping[str, PersonCreate]
    fields: Mapping[str, str]
    limits: Limits
    max_pixels: int


def _chosen(collections: list[Collection], api_key: str | None, every: bool) -> list[str]:
    """The API keys of the collections to take."""
    listed = ", ".join(map(str, collections))
    if not collections:
        raise CompreFaceError("this CompreFace database has no subjects")
    if every and api_key is not None:
        raise CompreFaceError("give --api-key or --all, not both")
    if every:
        return [collection.api_key for collection in collections]
    if api_key is not None:
        if api_key not in (collection.api_key for collection in collections):
            raise CompreFaceError(f"no subject has this --api-key; there are the collections {listed}")
        return [api_key]
    # Every CompreFace comes with a demo collection that has no images: it is no reason to ask.
    candidates = [collection for collection in collections if collection.n_images] or collections
    if len(candidates) > 1:
        raise CompreFaceError(f"there are the collections {listed}: choose one with --api-key, or all with --all")
    if len(collections) > 1:
        typer.echo(f"Taking {candidates[0]}, the only collection with images, of {listed}.", err=True)
    return [candidates[0].api_key]


def _people_in(file: Path, source: CompreFaceDatabase, keys: list[str]) -> dict[str, PersonCreate]:
    """What --codes says; a name that no subject has is refused, because it is misspelt."""
    try:
        people = read_codes(file.read_bytes())
    except CompreFaceError as error:
        raise CompreFaceError(f"{file}: {error}") from None
    if missing := sorted(people.keys() - source.names_among(people, keys)):
        more = f" and {len(missing) - _SHOWN_NAMES} more" if len(missing) > _SHOWN_NAMES else ""
        raise CompreFaceError(f"{file}: there is no subject {', '.join(map(repr, missing[:_SHOWN_NAMES]))}{more}")
    return people


def _dry_run(subjects: Iterable[Subject], plan: _Plan) -> bool:
    n_people = n_images = n_requests = 0
    refused: list[tuple[str, str]] = []
    for subject in subjects:
        try:
            person_of(subject, plan.people)
        except CompreFaceError as error:
            refused.append((subject.name, str(error)))
            continue
        n_people += 1
        n_images += len(subject.images)
        n_requests += sum(1 for _ in batches(subject.images, plan.limits))
    console = Console()
    console.print(f"Would send {n_images} images of {n_people} subjects in {n_requests} requests. Nothing was sent.")
    report_refused(console, refused, "cannot be enrolled")
    _report_imageless(console, refused)
    return n_people > 0


class _Importer:
    """Enrols subjects one after the other; at any time the images of one request are in memory."""

    def __init__(self, source: CompreFaceDatabase, client: Client, plan: _Plan) -> None:
        self._source = source
        self._client = client
        self._plan = plan

    def run(self, subjects: Iterable[Subject], n_subjects: int) -> bool:
        """Whether anybody is enrolled now. What was done is also told when it ends early."""
        summary = Summary()
        try:
            for subject in track(subjects, "Enrolling", n_subjects, console=Console(stderr=True)):
                summary.add(subject.name, self._enroll(subject))
        finally:
            if summary.is_anybody or summary.refused:
                console = Console()
                report(console, summary)
                _report_imageless(console, summary.refused)
        return summary.is_anybody

    def _enroll(self, subject: Subject) -> Outcome:
        try:
            person = person_of(subject, self._plan.people)
        except CompreFaceError as error:
            return Outcome(refusals=[str(error)])
        whole = Outcome()
        for batch in batches(subject.images, self._plan.limits):
            whole += self._enroll_batch(person, batch)
        return whole

    def _enroll_batch(self, person: PersonCreate, images: list[StoredImage]) -> Outcome:
        files, reasons = self._files(images)
        if not files:
            return Outcome(refusals=["image_type_unsupported: none of the images can be read"])
        return self._send(person, files) + Outcome(reasons=reasons)

    def _files(self, images: list[StoredImage]) -> tuple[list[MemoryFile], Counter[str]]:
        """What can be sent, and why the others cannot."""
        files, reasons = [], Counter[str]()
        for image_id, content in self._source.contents(images):
            accepted = acceptable(content, self._plan.max_pixels)
            if accepted is None:
                reasons["image_type_unsupported"] += 1
            else:
                suffix, content_sent = accepted
                files.append(MemoryFile(f"{image_id}{suffix}", content_sent))
        return files, reasons

    def _send(self, person: PersonCreate, files: list[MemoryFile]) -> Outcome:
        fields = {"employee_code": person.employee_code, "name": person.name, **self._plan.fields}
        try:
            enrolment, is_replay = self._client.post_once(
                "/v1/enroll", fields, [("files", file) for file in files], _idempotency_key(fields, files)
            )
        except RefusedError as refusal:
            if refusal.code in _TOO_MUCH and len(files) > 1:  # the service's limits are tighter than this machine's
                middle = len(files) // 2
                return self._send(person, files[:middle]) + self._send(person, files[middle:])
            if refusal.problem.get("status") in {None, *_STOPS}:  # None: something else than the service answered
                raise
            return outcome_of_refusal(refusal)
        return Outcome(is_known=True) if is_replay else outcome_of(enrolment)


def _idempotency_key(fields: dict[str, str], files: list[MemoryFile]) -> str:
    """The same for the same request, whenever it is sent: a run that is interrupted is told what it has done."""
    sent = [fields, [[file.name, sha256(file.content).hexdigest()] for file in files]]
    return f"compreface-{sha256(json.dumps(sent).encode()).hexdigest()}"


def _report_imageless(console: Console, refused: list[tuple[str, str]]) -> None:
    if n_subjects := sum(why == NO_IMAGE for _, why in refused):
        console.print(f"CompreFace has kept no image of {n_subjects} subjects.")
