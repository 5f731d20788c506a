from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AwareDatetime

from app.errors import ProblemError
from app.http.pagination import CursorCodec, cut_page
from tests.app.factories import NOON

CODEC: CursorCodec[tuple[datetime, str]] = CursorCodec(tuple[AwareDatetime, str])


@given(st.datetimes(timezones=st.just(NOON.tzinfo)), st.text())
def test_a_cursor_gives_its_key_back(at: datetime, row_id: str) -> None:
    assert CODEC.decode(CODEC.encode((at, row_id))) == (at, row_id)


def test_no_cursor_is_the_first_page() -> None:
    assert CODEC.decode(None) is None


@given(st.text(min_size=1))
def test_any_other_text_is_refused(cursor: str) -> None:
    with pytest.raises(ProblemError) as caught:
        CODEC.decode(cursor)
    assert (caught.value.status_code, caught.value.code) == (422, "cursor_invalid")


@pytest.mark.parametrize(
    ("n_rows", "page", "cursor"), [(0, [], None), (2, [0, 1], None), (3, [0, 1, 2], None), (4, [0, 1, 2], "2")]
)
def test_there_is_a_next_page_only_when_a_row_is_left(n_rows: int, page: list[int], cursor: str | None) -> None:
    assert cut_page(range(n_rows), 3, str) == (page, cursor)
