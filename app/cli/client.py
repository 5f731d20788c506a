"""A small REST client for the commands that talk to a running service."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from time import sleep
from typing import IO, Annotated, Any

import httpx
import typer

from app.auth.scopes import Scope
from app.auth.service import COMMAND_PREFIX, create_key, delete_expired_keys, delete_key
from app.db.engine import open_database
from app.db.types import new_id, utc_now
from app.settings import Settings

# A long clip is looked at for minutes before it is answered.
_TIMEOUT = httpx.Timeout(120.0, read=900.0)
_TRIES = 30
# A command that is killed leaves its key behind: then it ends by itself, and the next command deletes it.
_BORROWED_FOR = timedelta(days=1)

UrlOption = Annotated[str, typer.Option("--url", envvar="ROLLCALL_URL", help="Where the service runs.")]
KeyOption = Annotated[
    str | None,
    typer.Option(
        "--key",
        envvar="ROLLCALL_API_KEY",
        help="API key. Without one, on the service's own machine, a key is made for this command and deleted after it.",
    ),
]
DEFAULT_URL = "http://127.0.0.1:8000"


class ServiceError(Exception):
    """The service refused or could not be reached; the message is for the person at the command line."""


class RefusedError(ServiceError):
    """An answer with a problem: `code` as in the API, `problem` the whole of it."""

    def __init__(self, problem: dict[str, Any]) -> None:
        self.code = str(problem.get("code", ""))
        super().__init__(f"{self.code or 'error'}: {_told(problem)}")
        self.problem = problem


@dataclass(frozen=True, slots=True)
class MemoryFile:
    """A file of a form that is no file here; `name` is what the service calls it in its answers."""

    name: str
    content: bytes


class Client:
    """Calls the REST API, waiting politely when it says it is busy."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url
        self._http = httpx.Client(base_url=url, headers={"X-API-Key": key}, timeout=_TIMEOUT)

    def close(self) -> None:
        self._http.close()

    def get(self, path: str) -> Any:
        return self._call("GET", path)

    def delete(self, path: str) -> Any:
        return self._call("DELETE", path)

    def put(self, path: str, body: dict[str, Any]) -> Any:
        return self._call("PUT", path, json=body)

    def post_json(self, path: str, body: dict[str, Any] | None = None) -> Any:
        return self._call("POST", path, json=body)

    def post_files(self, path: str, fields: dict[str, str], files: Sequence[tuple[str, Path]]) -> Any:
        """POST a form with files, read as they are sent; each is `(field, path)`."""

        def send() -> httpx.Response:
            with ExitStack() as opened:
                parts = [(field, (file.name, opened.enter_context(file.open("rb")))) for field, file in files]
                return self._http.post(path, data=fields, files=parts)

        return self._answered(send).json()

    def post_once(
        self, path: str, fields: dict[str, str], files: Sequence[tuple[str, MemoryFile]], idempotency_key: str
    ) -> tuple[Any, bool]:
        """POST a form with files from memory; also says whether the answer is that of an earlier, equal request."""
        parts = [(field, (file.name, file.content)) for field, file in files]
        headers = {"Idempotency-Key": idempotency_key}
        answer = self._answered(lambda: self._http.post(path, data=fields, files=parts, headers=headers))
        return answer.json(), "Idempotent-Replayed" in answer.headers

    def post_csv(self, path: str, content: bytes) -> Any:
        headers = {"Content-Type": "text/csv"}
        return self._answered(lambda: self._http.post(path, content=content, headers=headers)).json()

    def get_content(self, path: str) -> bytes:
        """GET what is not JSON, whole."""
        return self._answered(lambda: self._http.get(path)).content

    def download(self, path: str, file: IO[bytes], tell: Callable[[int], None]) -> None:
        """GET what is not JSON into a file, as it comes; `tell` hears how many bytes there are more."""

        def send() -> httpx.Response:
            answer = self._http.send(self._http.build_request("GET", path), stream=True)
            if not answer.is_success:
                answer.read()
            return answer

        with closing(self._answered(send)) as answer:
            try:
                for chunk in answer.iter_bytes():
                    file.write(chunk)
                    tell(len(chunk))
            except httpx.TransportError as error:
                reason = type(error).__name__
                raise ServiceError(f"{self._url} broke off in the middle ({reason}); try again") from error

    def _call(self, method: str, path: str, json: dict[str, Any] | None = None) -> Any:
        return self._answered(lambda: self._http.request(method, path, json=json)).json()

    def _answered(self, send: Callable[[], httpx.Response]) -> httpx.Response:
        for _ in range(_TRIES):
            try:
                answer = send()
            except httpx.TransportError as error:
                raise ServiceError(
                    f"no answer from {self._url} ({type(error).__name__}): start it with `rollcall serve`, or name "
                    "another with --url"
                ) from error
            # Most 409 are final; one that is not, such as the first request still being worked on, says when to ask.
            if answer.status_code not in (429, 503) and "Retry-After" not in answer.headers:
                break
            sleep(float(answer.headers.get("Retry-After", "1")))
        if answer.is_success:
            return answer
        raise RefusedError(
            answer.json() if "json" in answer.headers.get("content-type", "") else {"detail": answer.text}
        )


@contextmanager
def open_client(url: str, key: str | None, scope: Scope) -> Iterator[Client]:
    """A client with the key given or, without one, with a key of this scope that lasts as long as the block."""
    with nullcontext(key) if key is not None else _borrowed_key(scope) as secret:
        client = Client(url, secret)
        try:
            yield client
        finally:
            client.close()


def has_database(settings: Settings) -> bool:
    """Whether there is one to open; opening would make an empty one where none is."""
    return settings.database_url is not None or (settings.data_dir / "rollcall.sqlite3").exists()


def _told(problem: dict[str, Any]) -> str:
    """The detail; of wrong fields which and why, because the detail only says to look there."""
    if problem.get("code") == "fields_invalid" and problem.get("errors"):
        return "; ".join(f"{error['loc'][-1]}: {error['msg']}" for error in problem["errors"])
    return str(problem.get("detail", "no detail"))


@contextmanager
def _borrowed_key(scope: Scope) -> Iterator[str]:
    """Whoever may write the database file is an administrator anyway; the key only lives for one command."""
    settings = Settings()
    if not has_database(settings):
        raise ServiceError(
            f"no key given, and there is no database in {settings.data_dir}: start `rollcall serve` here first, or "
            "set ROLLCALL_API_KEY"
        )
    database = open_database(settings)
    try:
        now = utc_now()
        with database.write() as session:
            delete_expired_keys(session, COMMAND_PREFIX)
            key, secret = create_key(
                session, f"command line {now:%Y-%m-%d %H:%M}", scope, now + _BORROWED_FOR, key_id=new_id(COMMAND_PREFIX)
            )
        try:
            yield secret
        finally:
            with database.write() as session:
                delete_key(session, key.id)
    finally:
        database.dispose()
