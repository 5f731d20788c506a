"""Cameras in a process of their own: prebuilt requests over kept connections, so that asking costs next to nothing.

`ask` runs this module with a `Plan` as JSON on its standard input, and reads every answer's time from its output.
"""

import asyncio
import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from time import monotonic

import numpy as np
from PIL import Image, ImageOps
from skimage import data

from tests.ml.faces import astronaut, grace_hopper

SHARED_FACES = Path(__file__).parents[2] / "shared" / "data" / "faces" / "images"
N_PHOTOS = 200
JPEG_QUALITY = 90
_ANSWER_LIMIT_S = 60.0
# The server closes what nobody has used for five seconds.
_KEPT_S = 3.0
_OK, _OVERLOADED = 200, 429


@dataclass(frozen=True, slots=True)
class Plan:
    """What to ask: the photos of a folder in turn, for so many seconds.

    `callers` wait for each answer before they ask again; or else requests come at `per_second`, at random moments, and
    wait for nobody.
    """

    port: int
    key: str
    folder: str
    seconds: float
    callers: int | None = None
    per_second: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """One request: when it was due, on the clock that all processes share, how long that took, and what came.

    `timing` is the answer's `timing_ms`; status 0 means that the connection failed.
    """

    due_s: float
    seconds: float
    status: int
    timing: dict[str, float] | None


@dataclass(frozen=True, slots=True)
class Summary:
    """Answers in figures; latencies are those of requests that were served."""

    per_second: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    n_served: int
    n_refused: int
    n_failed: int

    @classmethod
    def of(cls, answers: Sequence[Answer], seconds: float) -> "Summary":
        statuses = Counter(answer.status for answer in answers)
        served_ms = [1000 * answer.seconds for answer in answers if answer.status == _OK] or [float("nan")]
        p50, p95, p99 = (float(value) for value in np.quantile(served_ms, [0.5, 0.95, 0.99]))
        n_served, n_refused = statuses[_OK], statuses[_OVERLOADED]
        n_failed = len(answers) - n_served - n_refused
        return cls(n_served / seconds, p50, p95, p99, n_served, n_refused, n_failed)


class Asking:
    """Load that goes on beside what else is measured."""

    def __init__(self, plan: Plan) -> None:
        command = [sys.executable, "-m", "benchmarks.load"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asdict(plan)))
        self._process.stdin.close()

    def answers(self) -> list[Answer]:
        """Wait for the end."""
        assert self._process.stdout is not None
        printed = self._process.stdout.read()
        if self._process.wait() != 0:
            raise SystemExit("the process that asks has failed")
        return [Answer(*each) for each in json.loads(printed)]


def ask(plan: Plan) -> list[Answer]:
    """Ask, and wait for the end."""
    return Asking(plan).answers()


def write_photos(folder: Path, sizes_wh: Sequence[tuple[int, int]] = ((250, 250),)) -> None:
    """Photos of faces, in turn of these sizes: from the shared data set, or where it is absent from packages."""
    for number, image in enumerate(_photos()):
        sized = ImageOps.pad(image, sizes_wh[number % len(sizes_wh)], Image.Resampling.BICUBIC, color=(90, 90, 90))
        buffer = BytesIO()
        sized.save(buffer, "JPEG", quality=JPEG_QUALITY)
        (folder / f"{number:04}.jpg").write_bytes(buffer.getvalue())


def _photos() -> Iterator[Image.Image]:
    found = sorted(SHARED_FACES.glob("*/*.jpg"))
    if found:
        random.Random(0).shuffle(found)
        for path in found[:N_PHOTOS]:
            with Image.open(path) as image:
                yield image.convert("RGB")
        return
    few = [Image.fromarray(image) for image in (astronaut(), grace_hopper(), data.cat())]
    for number in range(N_PHOTOS):
        yield few[number % len(few)].rotate(number % 20 - 10, fillcolor=(90, 90, 90))


def requests(plan: Plan) -> list[bytes]:
    """Whole requests, to be sent as they are."""
    return [_request(plan, path.read_bytes()) for path in sorted(Path(plan.folder).glob("*.jpg"))]


def _request(plan: Plan, photo: bytes) -> bytes:
    body = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n' + photo + b"\r\n--b--\r\n"
    head = (
        f"POST /v1/identify HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: {plan.key}\r\n"
        f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class _Camera:
    """One connection, opened again when it is closed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._used_s = 0.0

    async def ask(self, request: bytes, due_s: float) -> Answer:
        try:
            async with asyncio.timeout(_ANSWER_LIMIT_S):
                status, body = await self._exchange(request)
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            self.close()
            return Answer(due_s, monotonic() - due_s, 0, None)
        seconds = monotonic() - due_s
        return Answer(due_s, seconds, status, json.loads(body)["timing_ms"] if status == _OK else None)

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _exchange(self, request: bytes) -> tuple[int, bytes]:
        if monotonic() - self._used_s > _KEPT_S:
            self.close()
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.splitlines()[1:-1])
        body = await reader.readexactly(int(fields[b"content-length"]))
        self._used_s = monotonic()
        if fields.get(b"connection") == b"close":
            self.close()
        return int(head.split(b" ", 2)[1]), body


async def _closed_loop(plan: Plan, callers: int) -> list[Answer]:
    prepared, until_s = requests(plan), monotonic() + plan.seconds
    answers: list[Answer] = []

    async def call(number: int) -> None:
        camera, n_asked = _Camera(plan.port), number
        while (now_s := monotonic()) < until_s:
            answers.append(await camera.ask(prepared[n_asked % len(prepared)], now_s))
            n_asked += callers
        camera.close()

    await asyncio.gather(*(call(number) for number in range(callers)))
    return answers


async def _open_loop(plan: Plan, per_second: float) -> list[Answer]:
    prepared, dice = requests(plan), random.Random(0)
    free: list[_Camera] = []

    async def call(request: bytes, due_s: float) -> Answer:
        camera = free.pop() if free else _Camera(plan.port)
        try:
            return await camera.ask(request, due_s)
        finally:
            free.append(camera)

    asked: list[asyncio.Future[Answer]] = []
    due_s = monotonic()
    until_s = due_s + plan.seconds
    while (due_s := due_s + dice.expovariate(per_second)) < until_s:
        await asyncio.sleep(max(0.0, due_s - monotonic()))
        asked.append(asyncio.ensure_future(call(prepared[len(asked) % len(prepared)], due_s)))
    answers = await asyncio.gather(*asked)
    for camera in free:
        camera.close()
    return answers


def main() -> None:
    plan = Plan(**json.load(sys.stdin))
    if plan.callers is not None:
        answers = asyncio.run(_closed_loop(plan, plan.callers))
    else:
        answers = asyncio.run(_open_loop(plan, plan.per_second or 1.0))
    json.dump([(each.due_s, each.seconds, each.status, each.timing) for each in answers], sys.stdout)


if __name__ == "__main__":
    main()
