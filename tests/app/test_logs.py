import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from app.logs import configure_logging
from app.settings import Settings


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Logging belongs to the process: put back what a test changes."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).propagate = True


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_our_lines_and_those_of_uvicorn_are_json_with_the_same_fields(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Settings(log_json=True))
    with structlog.contextvars.bound_contextvars(request_id="r1"):
        structlog.get_logger("app.x").info("gallery.loaded", n_templates=3)
        logging.getLogger("uvicorn.error").info("Started server process [%d]", 7)
    ours, theirs = lines(capsys)
    assert (ours["event"], ours["n_templates"], ours["request_id"]) == ("gallery.loaded", 3, "r1")
    assert (theirs["event"], theirs["logger"], theirs["level"]) == (
        "Started server process [7]",
        "uvicorn.error",
        "info",
    )
    assert set(ours) - {"n_templates"} == set(theirs)


def test_uvicorns_access_log_with_its_query_strings_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Settings(log_json=True))
    logging.getLogger("uvicorn.access").info('%s - "GET /v1/people?query=Grace"', "127.0.0.1")
    assert capsys.readouterr().err == ""


def test_lines_below_the_level_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Settings(log_json=True, log_level="warning"))
    structlog.get_logger("app.x").info("quiet")
    structlog.get_logger("app.x").warning("loud")
    assert [line["event"] for line in lines(capsys)] == ["loud"]


@pytest.mark.parametrize("log_json", [True, False])
def test_a_stack_is_part_of_its_line(capsys: pytest.CaptureFixture[str], log_json: bool) -> None:
    configure_logging(Settings(log_json=log_json))
    try:
        raise RuntimeError("lost")
    except RuntimeError:
        logging.getLogger("uvicorn.error").exception("Exception in ASGI application")
    text = capsys.readouterr().err
    assert "RuntimeError: lost" in text and "test_logs.py" in text
