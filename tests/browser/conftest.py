"""A real browser on a real service: Chromium without a window, driven by Playwright.

Whatever a page writes to the console as an error, throws, or is refused by its own content security policy, fails the
test that did it. Tests of a file share one service; each has a browser profile of its own.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from tests.server import Server, running_server

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
AXE = Path(__file__).parents[2] / ".cache" / "axe" / "node_modules" / "axe-core" / "axe.min.js"
PASSWORD = "a long sentence to remember"
SERIOUS = {"serious", "critical"}
WAIT_MS = 60_000
expect.set_options(timeout=WAIT_MS)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium, with a fake camera that nobody has to allow."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed (Debian's package chromium)")
    with sync_playwright() as playwright:
        options = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=[*options, "--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def n_workers() -> int:
    """Most pages need none; a worker takes as long to start as the service. Files whose tests have jobs done say 1."""
    return 0


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, n_workers: int) -> Iterator[Server]:
    """One service for the tests of a file, whose first administrator is anna."""
    with running_server(tmp_path_factory.mktemp("service") / "data", ROLLCALL_WORKERS=str(n_workers)) as server:
        set_up(server)
        yield server


def set_up(server: Server, username: str = "anna", name: str = "Anna Nguyễn") -> None:
    """Makes the first administrator, as the setup page does."""
    form = {"key": server.new_key("admin"), "username": username, "name": name, "password": PASSWORD}
    assert httpx.post(f"{server.url}/setup", data=form, trust_env=False).status_code == 303


@pytest.fixture(scope="module")
def api(service: Server) -> Iterator[httpx.Client]:
    """The service's REST interface with an administrator's key, to prepare what pages show."""
    with service.client(service.new_key("admin")) as client:
        yield client


@pytest.fixture
def context(browser: Browser, service: Server) -> Iterator[BrowserContext]:
    """A browser profile of this test's own, on a desktop screen in Berlin."""
    made = browser.new_context(
        base_url=service.url, locale="en-GB", timezone_id="Europe/Berlin", viewport={"width": 1440, "height": 900}
    )
    made.set_default_timeout(WAIT_MS)
    yield made
    made.close()


@pytest.fixture
def stranger(context: BrowserContext) -> Iterator[Page]:
    """A page of somebody who is not signed in."""
    yield from watched(context.new_page())


@pytest.fixture
def page(context: BrowserContext, service: Server) -> Iterator[Page]:
    """A page of anna, the administrator, who is signed in."""
    sign_in(context, service)
    yield from watched(context.new_page())


def sign_in(context: BrowserContext, server: Server, username: str = "anna", password: str = PASSWORD) -> None:
    """Puts a new session's cookie into the browser."""
    form = {"username": username, "password": password}
    answer = httpx.post(f"{server.url}/login", data=form, trust_env=False)
    assert answer.status_code == 303, answer.text
    cookie = answer.cookies["rollcall_session"]
    context.add_cookies([{"name": "rollcall_session", "value": cookie, "url": server.url, "httpOnly": True}])


def watched(page: Page) -> Iterator[Page]:
    """The page; in the end, nothing may have gone wrong in it but what the test has taken from `page.failures`."""
    failures: list[str] = []
    page.failures = failures  # type: ignore[attr-defined]

    def note(message: ConsoleMessage) -> None:
        if message.type == "error":
            failures.append(f"console: {message.text} {message.location}")

    page.on("console", note)
    page.on("pageerror", lambda error: failures.append(f"thrown: {error}"))
    yield page
    assert not failures, failures


@pytest.fixture
def assert_accessible() -> Callable[[Page], None]:
    """Fails where axe-core finds something serious on a page."""
    if not AXE.exists():
        pytest.skip("axe-core is not installed (`make .cache/axe`)")
    script = AXE.read_text(encoding="utf-8")

    def check(page: Page) -> None:
        page.evaluate(script)  # run by the browser's debugger, which no content security policy concerns
        result: dict[str, Any] = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        found = [each for each in result["violations"] if each["impact"] in SERIOUS]
        shown = [(each["id"], each["help"], [node["html"] for node in each["nodes"]]) for each in found]
        assert not shown, f"{page.url}: {shown}"

    return check
