"""What a request says, as one SHA-256: two requests with the same content have the same fingerprint."""

import hashlib
import json
from collections.abc import Sequence

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request

FORM_TYPES = ("multipart/form-data", "application/x-www-form-urlencoded")


async def fingerprint(request: Request) -> str:
    """Of the query and the body. A form counts by its fields and files, because a retry has another boundary."""
    if request.headers.get("content-type", "").lower().startswith(FORM_TYPES):
        content = await run_in_threadpool(_form_content, await request.form())
    else:
        content = [["body", hashlib.sha256(await request.body()).hexdigest()]]
    return hashlib.sha256(json.dumps([request.url.query, content]).encode()).hexdigest()


def _form_content(form: FormData) -> list[Sequence[str | None]]:
    return [(name, *_value(value)) for name, value in form.multi_items()]


def _value(value: UploadFile | str) -> tuple[str | None, str]:
    if isinstance(value, str):
        return "text", value
    value.file.seek(0)
    digest = hashlib.file_digest(value.file, "sha256").hexdigest()  # type: ignore[arg-type]
    value.file.seek(0)
    return value.filename, digest
