"""The live feed, on both databases: what comes is told once, to everybody who follows, for as long as they may."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import update
from starlette.testclient import TestClient

from app.attendance.ledger import Bookkeeper
from app.dashboard.feed import MOST_AT_ONCE, START, LiveFeed
from app.dashboard.figure_queries import newest_event
from app.dashboard.live import Watch, stream
from app.db.engine import Database
from app.db.tables import Event, User, UserSession
from app.db.types import new_id, utc_now
from app.users.sessions import SessionLimits, digest_of
from tests.app.dashboard.visitors import sign_in
from tests.app.factories import make_person
from tests.server import Server, running_server

WAIT_S = 60.0
LIMITS = SessionLimits(timedelta(hours=1), timedelta(hours=12))
Lines = AsyncGenerator[str, None]


@pytest.fixture
def feed(app: FastAPI, client: TestClient) -> Iterator[LiveFeed]:
    feed: LiveFeed = app.state.live_feed
    yield feed
    feed.close()


@pytest.fixture
def watch(client: TestClient, database: Database) -> Watch:
    sign_in(client=client, database=database, role="operator")
    token = client.cookies["rollcall_session"]
    return Watch(database, digest_of(token), LIMITS, every_s=0.2)


@pytest.fixture
def person_id(database: Database) -> str:
    with database.write() as session:
        return make_person(session=session).id


def event_of(person_id: str | None, **fields: Any) -> Event:
    now = utc_now()
    usual = {
        "id": new_id("evt"),
        "site_id": "site_default",
        "timezone": "UTC",
        "repeat_window_s": 0,
        "method": "manual",
        "outcome": "identified" if person_id else "unknown",
        "received_at": now,
        "created_by": "key:test",
        "person_id": person_id,
        "occurred_at": now,
        "is_deleted": False,
        "explanation": "",
    }
    return Event(**usual | fields)


def write(database: Database, person_id: str | None, **fields: Any) -> str:
    """An event as another replica would write it."""
    event = event_of(person_id, **fields)
    with database.write() as session:
        Bookkeeper("UTC").add(session, [event])
    return str(event.id)


async def begun(lines: Lines, feed: LiveFeed) -> Lines:
    """The stream once it follows."""
    assert (await anext(lines)).startswith("retry:")
    await asyncio.to_thread(feed.missed, START)  # waits for the first look
    return lines


async def next_message(lines: Lines) -> tuple[str, dict[str, Any]]:
    """Kind and content of the next one that is not a heartbeat."""
    async with asyncio.timeout(WAIT_S):
        async for text in lines:
            if not text.startswith(":"):
                fields = dict(line.split(": ", 1) for line in text.strip().splitlines())
                return fields["event"], json.loads(fields["data"]) | ({"_id": fields["id"]} if "id" in fields else {})
    raise AssertionError("the stream has ended")


def run(feed: LiveFeed, watch: Watch, work: Callable[[Lines], Awaitable[None]], after: str = START) -> None:
    async def follow() -> None:
        lines = stream(feed, watch, after, heartbeat_s=0.1)
        await work(await begun(lines, feed))
        await lines.aclose()

    asyncio.run(follow())


def test_an_event_is_told_with_who_and_where(feed: LiveFeed, watch: Watch, database: Database, person_id: str) -> None:
    async def work(lines: Lines) -> None:
        event_id = await asyncio.to_thread(write, database, person_id)
        kind, told = await next_message(lines)
        assert (kind, told["id"], told["_id"]) == ("seen", event_id, event_id)
        assert told["person"]["id"] == person_id
        assert told["site"] == {"id": "site_default", "name": "Main"}
        assert (told["camera"], told["has_crop"], told["odds"]) == (None, False, None)

    run(feed, watch, work)


def test_each_event_is_told_once_and_those_before_are_not(
    feed: LiveFeed, watch: Watch, database: Database, person_id: str
) -> None:
    write(database, None, received_at=utc_now() - timedelta(minutes=5))

    async def work(lines: Lines) -> None:
        ids = [await asyncio.to_thread(write, database, person_id) for _ in range(3)]
        told = [(await next_message(lines))[1]["id"] for _ in range(3)]
        assert sorted(told) == sorted(ids)
        async with asyncio.timeout(WAIT_S):
            assert [await anext(lines) for _ in range(8)] == [":\n\n"] * 8

    run(feed, watch, work)


def test_an_event_that_is_committed_late_is_told_all_the_same(
    feed: LiveFeed, watch: Watch, database: Database, person_id: str
) -> None:
    async def work(lines: Lines) -> None:
        newer = await asyncio.to_thread(write, database, person_id)
        assert (await next_message(lines))[1]["id"] == newer
        long_ago = utc_now() - timedelta(minutes=8)  # a line of a batch that began then
        older = await asyncio.to_thread(write, database, person_id, received_at=long_ago)
        assert (await next_message(lines))[1]["id"] == older

    run(feed, watch, work)


def test_a_correction_is_told_as_a_change(feed: LiveFeed, watch: Watch, database: Database, person_id: str) -> None:
    event_id = write(database, person_id)

    def correct() -> None:
        with database.write() as session:
            event = session.get_one(Event, event_id)
            Bookkeeper("UTC").correct(session, event, {"is_deleted": True}, "a test", "key:test")

    async def work(lines: Lines) -> None:
        assert (await next_message(lines))[0] == "seen"  # what came lately
        await asyncio.to_thread(correct)
        kind, told = await next_message(lines)
        assert (kind, told["id"], told["is_deleted"]) == ("changed", event_id, True)
        assert "_id" not in told

    run(feed, watch, work)


def test_who_comes_back_is_told_what_they_missed(
    feed: LiveFeed, watch: Watch, database: Database, person_id: str
) -> None:
    seen = write(database, person_id, received_at=utc_now() - timedelta(hours=2))
    missed = write(database, person_id, received_at=utc_now() - timedelta(hours=1))

    async def work(lines: Lines) -> None:
        told = [(await next_message(lines))[1]["id"] for _ in range(2)]
        assert told == [seen, missed]

    run(feed, watch, work, after=seen)


def test_who_was_away_for_too_long_is_told_to_load_the_page_anew(feed: LiveFeed, watch: Watch) -> None:
    async def work(lines: Lines) -> None:
        assert await next_message(lines) == ("reload", {})

    run(feed, watch, work, after="evt_that_is_not_there")


def test_a_page_that_shows_the_end_of_a_large_batch_is_not_told_to_load_anew_again(
    feed: LiveFeed, watch: Watch, database: Database
) -> None:
    """All lines of a batch came at once."""
    at = utc_now() - timedelta(hours=5)
    ids = sorted(new_id("evt") for _ in range(MOST_AT_ONCE + 50))
    with database.write() as session:
        Bookkeeper("UTC").add(session, [event_of(None, id=id_, received_at=at) for id_ in ids])
        newest = newest_event(session)
    assert newest == ids[-1]

    async def work(lines: Lines) -> None:
        told = [await next_message(lines) for _ in range(MOST_AT_ONCE)]
        assert [(kind, item["id"]) for kind, item in told] == [("seen", id_) for id_ in ids[-MOST_AT_ONCE:]]

    run(feed, watch, work, after=newest)
    assert [told.kind for told in feed.missed(ids[49])] == ["seen"] * MOST_AT_ONCE
    assert [told.kind for told in feed.missed(ids[48])] == ["reload"]


def test_the_stream_ends_when_they_sign_out_or_are_disabled(feed: LiveFeed, watch: Watch, database: Database) -> None:
    async def work(lines: Lines) -> None:
        with database.write() as session:
            session.execute(update(User).values(disabled_at=utc_now()))
        async with asyncio.timeout(WAIT_S):
            assert {text async for text in lines} <= {":\n\n"}

    run(feed, watch, work)
    assert feed.n_listeners == 0


def test_following_is_no_click(feed: LiveFeed, watch: Watch, database: Database) -> None:
    async def work(lines: Lines) -> None:
        with database.write() as session:
            session.execute(update(UserSession).values(seen_at=utc_now() - timedelta(hours=2)))
        async with asyncio.timeout(WAIT_S):
            assert {text async for text in lines} <= {":\n\n"}

    run(feed, watch, work)


def test_nobody_asks_the_database_when_nobody_follows(feed: LiveFeed, watch: Watch) -> None:
    async def work(_lines: Lines) -> None:
        assert feed.is_running

    assert not feed.is_running
    run(feed, watch, work)

    async def wait_for_end() -> None:
        async with asyncio.timeout(WAIT_S):
            while feed.is_running:
                await asyncio.sleep(0.05)

    asyncio.run(wait_for_end())


def test_who_does_not_read_is_let_go(feed: LiveFeed, watch: Watch, database: Database, person_id: str) -> None:
    async def work(lines: Lines) -> None:
        slow = stream(feed, watch, START)
        await begun(slow, feed)
        assert feed.n_listeners == 2
        for _ in range(4):
            await asyncio.to_thread(write_many, database, 100)
            await asyncio.sleep(0.8)
        ended = [text async for text in slow]
        assert len(ended) < 400

    run(feed, watch, work)


def write_many(database: Database, n: int) -> None:
    for _ in range(n):
        write(database, None)


def test_the_feed_has_room_for_so_many(app: FastAPI, client: TestClient, database: Database, watch: Watch) -> None:
    app.state.live_feed = LiveFeed(database, most=0)
    answer = client.get("/live")
    assert (answer.status_code, answer.json()["code"]) == (429, "overloaded")
    assert answer.headers["Retry-After"]


def test_closing_ends_every_stream(feed: LiveFeed, watch: Watch) -> None:
    async def work(lines: Lines) -> None:
        closing = asyncio.to_thread(feed.close)
        async with asyncio.timeout(WAIT_S):
            await asyncio.gather(closing, drain(lines))

    run(feed, watch, work)


async def drain(lines: Lines) -> None:
    async for _ in lines:
        pass


def test_who_is_not_signed_in_is_sent_to_sign_in(client: TestClient) -> None:
    answer = client.get("/live", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=%2Flive")


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_service_that_is_told_to_end_ends_its_streams(backend: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    with running_server(tmp_path_factory.mktemp("live") / "data", ROLLCALL_WORKERS="0") as server:
        cookie = _cookie(server)
        with server.client() as client:
            client.cookies.set("rollcall_session", cookie)
            with client.stream("GET", "/live") as answer:
                assert answer.headers["content-type"].startswith("text/event-stream")
                lines = answer.iter_lines()
                assert next(lines).startswith("retry:")
                server.stop()  # fails unless it ends in time
                assert not [line for line in lines if line.startswith("event")]


def _cookie(server: Server) -> str:
    form = {"key": server.new_key("admin"), "username": "anna", "name": "Anna", "password": "a long sentence to keep"}
    with server.client() as client:
        return str(client.post("/setup", data=form).cookies["rollcall_session"])
