"""Lists that are walked by an opaque cursor: `{items, next_cursor}`.

The cursor is the sort key of the last row shown, so rows that come or go while a caller walks shift nothing.
"""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Depends, Query
from pydantic import BaseModel, TypeAdapter

from app.errors import ProblemError

T = TypeVar("T")
Key = TypeVar("Key")

DEFAULT_LIMIT = 50
MAX_LIMIT = 500
# A number a database column can hold; more would be an error there.
MAX_ID = 2**63 - 1


class Page(BaseModel, Generic[T]):
    """One page of a list."""

    items: list[T]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class PageRequest:
    """What the caller asked for."""

    limit: int = DEFAULT_LIMIT
    cursor: str | None = None


def page_request(
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Most items in the answer.")] = DEFAULT_LIMIT,
    cursor: Annotated[str | None, Query(max_length=500, description="`next_cursor` of the page before.")] = None,
) -> PageRequest:
    return PageRequest(limit, cursor)


PageDep = Annotated[PageRequest, Depends(page_request)]


class CursorCodec(Generic[Key]):
    """Turns a sort key, such as `tuple[datetime, str]`, into a cursor and back."""

    def __init__(self, key_type: Any) -> None:
        self._adapter: TypeAdapter[Key] = TypeAdapter(key_type)

    def encode(self, key: Key) -> str:
        return base64.urlsafe_b64encode(self._adapter.dump_json(key)).decode().rstrip("=")

    def decode(self, cursor: str | None) -> Key | None:
        if cursor is None:
            return None
        try:
            padded = cursor + "=" * (-len(cursor) % 4)
            return self._adapter.validate_json(base64.urlsafe_b64decode(padded))
        except ValueError:  # pydantic's and base64's errors both are
            raise ProblemError(422, "cursor_invalid", "Send a next_cursor as it was given, or none.") from None


def cut_page(rows: Sequence[T], limit: int, cursor_of: Callable[[T], str]) -> tuple[list[T], str | None]:
    """Splits the `limit + 1` rows that were asked for into a page and the cursor of the next one, if any."""
    page = list(rows[:limit])
    return page, cursor_of(page[-1]) if len(rows) > limit else None
