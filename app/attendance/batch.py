"""Many captures in one request: each line by itself, good ones kept whatever is wrong with others.

The body is put on disk while it arrives, and read line by line, so that a batch takes no more memory than its largest
line. Each line is committed before its answer is sent. Whoever goes away in the middle sends everything again, and what
was recorded is found by its idempotency key.
"""

import base64
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from tempfile import SpooledTemporaryFile
from threading import BoundedSemaphore
from typing import IO, Final, Literal

import structlog
from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from app.attendance import queries, schemas
from app.attendance.captures import Recorder, Sender, Sent
from app.attendance.views import recorded_views
from app.errors import RETRY_AFTER_S, ProblemError, problem_for
from app.identification.service import Identifier
from app.logs import log_failure

MAX_LINES: Final = 5000
# Each holds a thread and a place in the bulk lane for minutes.
_BATCHES_AT_ONCE: Final = 2
_IN_MEMORY_BYTES: Final = 1 << 20
# What a line holds beside its picture.
_AROUND_IMAGE_BYTES: Final = 10_000
# Of a database or a disk, or networks that are ending: no line is recorded without them.
_AWAY: Final = (503, 507)
_SKIP_BYTES: Final = 1 << 16

log = structlog.get_logger(__name__)

Spool = SpooledTemporaryFile[bytes]


class BatchSlots:
    """A few batches at a time: each takes minutes, and others must be answered meanwhile."""

    def __init__(self, n: int = _BATCHES_AT_ONCE) -> None:
        self._free = BoundedSemaphore(n)

    def take(self) -> Callable[[], None]:
        """What gives the slot back; 429 when there is none."""
        if not self._free.acquire(blocking=False):
            detail = "Other batches are being recorded. Try again in a while."
            raise ProblemError(429, "overloaded", detail, headers={"Retry-After": str(RETRY_AFTER_S)})
        return self._free.release


class BatchResponse(StreamingResponse):
    """Answers line by line, and puts away what it took to do so, also when nobody listens any more."""

    def __init__(self, answers: Iterator[str], media_type: str, put_away: Sequence[Callable[[], None]]) -> None:
        super().__init__(answers, media_type=media_type)
        self._put_away = put_away

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            for put_away in self._put_away:
                put_away()


async def received(chunks: AsyncIterator[bytes]) -> Spool:
    """The whole body, on disk; refuses with 413 one of too many lines."""
    spool, n_lines = Spool(_IN_MEMORY_BYTES), 0
    try:
        async for chunk in chunks:
            n_lines += chunk.count(b"\n")
            if n_lines > MAX_LINES:
                raise ProblemError(413, "batch_too_long", f"Send at most {MAX_LINES:,} lines at once. Split the batch.")
            await run_in_threadpool(spool.write, chunk)
    except BaseException:
        spool.close()
        raise
    spool.seek(0)
    return spool


def lines_of(spool: IO[bytes], max_bytes: int) -> Iterator[tuple[int, bytes | None]]:
    """Each line that is not blank, with its number from 1; None for one that is too long."""
    number = 0
    while line := spool.readline(max_bytes + 1):
        number += 1
        is_too_long = len(line) > max_bytes and not line.endswith(b"\n")
        while is_too_long and line and not line.endswith(b"\n"):
            line = spool.readline(_SKIP_BYTES)
        if is_too_long or line.strip():
            yield number, None if is_too_long else line


@dataclass(frozen=True, slots=True)
class BatchWork:
    """Records the lines of one batch."""

    recorder: Recorder
    identifier: Identifier
    sender: Sender
    max_image_bytes: int
    detector_min_px: int

    def answers(self, spool: Spool) -> Iterator[str]:
        """Lines of JSON: one per line, and the summary."""
        counts: Counter[str] = Counter()
        interruption: ProblemError | None = None
        for number, line in lines_of(spool, self.max_image_bytes * 4 // 3 + _AROUND_IMAGE_BYTES):
            try:
                if interruption is not None:
                    raise interruption
                answer = self._record(number, line)
            except Exception as error:
                problem = problem_for(error)
                if problem.status_code in _AWAY and interruption is None:
                    log_failure(log, "batch.interrupted", error, line=number)
                    interruption = problem  # what it takes is away: the rest would wait for it line by line
                elif problem.code == "internal_error":
                    log_failure(log, "batch.line_failed", error, line=number)
                answer = self._refused(number, problem)
            counts[answer.status] += 1
            yield _json_line(answer)
        summary = schemas.BatchSummary(
            lines=counts.total(),
            recorded=counts["recorded"],
            already_recorded=counts["already_recorded"],
            refused=counts["refused"],
        )
        yield _json_line(schemas.BatchEnd(summary=summary))

    def _record(self, number: int, raw: bytes | None) -> schemas.BatchAnswer:
        line, image = self._read(raw)
        sent = Sent(
            image_sha256=sha256(image).hexdigest(),
            captured_at=line.captured_at,
            direction=line.direction,
            camera_id=line.camera_id,
            idempotency_key=line.idempotency_key,
            min_face_px=line.min_face_px,
        )
        sender = self.sender
        stand = self.recorder.stand(sent, sender)
        seen = self.identifier.look_at_leisure(image, stand.glance(self.detector_min_px))
        identified = self.identifier.judge(seen, sender.request_id, sender.principal, stand.limits)
        recording = self.recorder.commit(stand, identified, sender)
        return _done(number, "recorded", recording.capture.id, recording.events)

    def _read(self, raw: bytes | None) -> tuple[schemas.BatchLine, bytes]:
        if raw is None:
            raise ProblemError(413, "line_too_long", f"A picture may have {self.max_image_bytes:,} bytes.")
        try:
            line = schemas.BatchLine.model_validate_json(raw)
            return line, base64.b64decode(line.image_base64, validate=True)
        except ValidationError as invalid:
            wrong = invalid.errors(include_input=False, include_url=False, include_context=False)
            words = (
                ": ".join((".".join(str(part) for part in each["loc"]), each["msg"])).lstrip(": ") for each in wrong
            )
            raise ProblemError(422, "fields_invalid", "; ".join(words)) from None
        except ValueError:  # what is not base64, or not even ASCII
            raise ProblemError(422, "fields_invalid", "image_base64: send the file in standard base64.") from None

    def _refused(self, number: int, problem: ProblemError) -> schemas.BatchAnswer:
        if problem.code == "capture_recorded":
            capture_id = str(problem.extra["capture_id"])
            with self.recorder.database.read() as session:
                events = recorded_views(session, queries.events_of_capture(session, capture_id))
            return _done(number, "already_recorded", capture_id, events)
        return schemas.BatchAnswer(
            line=number,
            status="refused",
            code=problem.code,
            detail=problem.detail,
            retry=problem.status_code >= 500 or problem.status_code == 429,
        )


def _done(
    number: int,
    status: Literal["recorded", "already_recorded"],
    capture_id: str,
    events: list[schemas.RecordedEvent],
) -> schemas.BatchAnswer:
    return schemas.BatchAnswer(line=number, status=status, capture_id=capture_id, events=events)


def _json_line(answer: BaseModel) -> str:
    return answer.model_dump_json(exclude_none=True) + "\n"
