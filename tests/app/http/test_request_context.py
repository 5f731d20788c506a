import pytest
from starlette.testclient import TestClient
from structlog.testing import capture_logs


@pytest.fixture
def backend() -> str:
    return "sqlite"  # nothing here depends on the database


def test_a_sane_request_id_is_kept(client: TestClient) -> None:
    assert (
        client.get("/health/live", headers={"X-Request-Id": "gate-3.abc_1"}).headers["x-request-id"] == "gate-3.abc_1"
    )


@pytest.mark.parametrize("offered", ["", "a" * 65, "a b", "a\tb", "ä", "<script>"])
def test_an_odd_request_id_is_replaced(client: TestClient, offered: str) -> None:
    given = client.get("/health/live", headers=[(b"X-Request-Id", offered.encode())]).headers["x-request-id"]
    assert given != offered
    assert len(given) == 16


def test_every_request_is_one_log_line_without_query_ids_or_headers(
    client: TestClient, operator: dict[str, str]
) -> None:
    with capture_logs() as logs:
        client.get("/v1/people/per_123?query=Grace", headers=operator)
    (line,) = [line for line in logs if line["event"] == "http.request"]
    assert line.pop("ms") >= 0
    assert line == {
        "event": "http.request",
        "log_level": "info",
        "method": "GET",
        "route": "/v1/people/{person_id}",
        "status": 404,
    }
