"""Pictures of every page, light and dark, on a desk and on a phone, of a service that is filled with made-up data.

    python -m tests.browser.screenshots [--out build/screenshots] [--data FOLDER] [--only PART] [--language vi]

`--data` keeps the filled service in a folder and uses it again. `--only` takes the pages whose name has this in it.
`index.html` beside the pictures shows all of them together.
"""

import argparse
import html
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal

import httpx
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from rich.console import Console

from tests.browser.conftest import CHROMIUM, set_up, sign_in
from tests.browser.sample import fill
from tests.server import Server

WIDTHS: Final = {"desk": 1440, "phone": 390}
THEMES: Final[tuple[Literal["light", "dark"], ...]] = ("light", "dark")
# For what a page draws after it has loaded: charts, pictures of faces.
SETTLE_MS: Final = 900
# Where nobody is signed in.
_OUTSIDE: Final = {"login"}


@dataclass(frozen=True, slots=True)
class View:
    """One page to take: the button, if any, that is pressed first opens a dialog on it."""

    name: str
    path: str
    press: str | None = None


def main() -> None:
    options = _options()
    console = Console()
    with _service(options.data) as server, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", "--no-sandbox"],
        )
        with server.client(server.new_key("admin")) as api:
            views = [view for view in views_of(api) if options.only in view.name]
        options.out.mkdir(parents=True, exist_ok=True)
        troubles = [
            trouble
            for theme in THEMES
            for width in WIDTHS
            for trouble in take(chromium, server, views, options.out, theme, width, options.language)
        ]
        chromium.close()
    (options.out / "index.html").write_text(contact_sheet(views), encoding="utf-8")
    for trouble in troubles:
        console.print(trouble, style="red", markup=False)
    console.print(f"{len(views) * len(THEMES) * len(WIDTHS)} pictures: {options.out / 'index.html'}")


def views_of(api: httpx.Client) -> list[View]:
    """Every page, with ids of what the service holds."""
    people = _items(api, "/v1/people", query="E1003") + _items(api, "/v1/people", query="E1066")
    cameras = _items(api, "/v1/cameras")
    event = _first(api, "/v1/events", outcome="identified", camera_id=cameras[0]["id"])
    days = _items(api, "/v1/days", person_id=people[0]["id"])
    fixed = [
        View("login", "/login"),
        View("today", "/"),
        View("attendance", "/attendance"),
        View("unknown", "/unknown"),
        View("people", "/people"),
        View("people-import", "/people/import"),
        View("threshold", "/threshold"),
        View("cameras", "/cameras"),
        View("kiosk", "/kiosk"),
        View("models", "/models"),
        View("jobs", "/jobs"),
        View("settings", "/settings"),
        View("settings-sites", "/settings/sites"),
        View("settings-site-dialog", "/settings/sites", "Add a site"),
        View("settings-holiday-dialog", "/settings/sites", "Add holidays"),
        View("settings-shifts", "/settings/shifts"),
        View("settings-shift-dialog", "/settings/shifts", "Add a shift"),
        View("settings-webhooks", "/settings/webhooks"),
        View("users", "/users"),
        View("keys", "/keys"),
        View("account", "/account"),
        View("audit", "/audit"),
        View("not-found", "/people/per_nobody"),
    ]
    of_one = [
        ("person", "/people", people[0]["id"]),
        ("person-without-face", "/people", people[-1]["id"]),
        ("event", "/events", event),
        ("day", f"/attendance/{people[0]['id']}", days[-1]["date"] if days else None),
        ("unknown-one", "/unknown", _first(api, "/v1/unknowns")),
        ("camera", "/cameras", cameras[0]["id"]),
        ("settings-shift", "/settings/shifts", _first(api, "/v1/shifts")),
        ("settings-webhook", "/settings/webhooks", _first(api, "/v1/webhooks")),
    ]
    return fixed + [View(name, f"{folder}/{id_}") for name, folder, id_ in of_one if id_]


def take(
    chromium: Browser, server: Server, views: Sequence[View], out: Path, theme: Any, width: str, language: str
) -> Iterator[str]:
    """Pictures in one theme and width; yields what went wrong on a page, in words."""
    context = chromium.new_context(
        base_url=server.url,
        color_scheme=theme,
        locale=language,
        timezone_id="Europe/Berlin",
        viewport={"width": WIDTHS[width], "height": 900 if width == "desk" else 844},
        reduced_motion="reduce",
    )
    _visit(context, server)
    for view in views:
        page = _opened(context, view, outside=view.name in _OUTSIDE)
        failures: list[str] = []
        page.on("pageerror", lambda error, failures=failures: failures.append(str(error)))
        page.on("console", lambda said, failures=failures: failures.append(said.text) if said.type == "error" else None)
        try:
            answer = page.goto(view.path, wait_until="load")
            if view.press:
                page.get_by_role("button", name=view.press).first.click()
            page.evaluate("document.querySelectorAll('img[loading=lazy]').forEach((each) => (each.loading = 'eager'))")
            page.wait_for_timeout(SETTLE_MS)
            page.screenshot(path=out / _file(view, theme, width), full_page=view.press is None)
            yield from (f"{view.name} ({theme}, {width}): {words}" for words in _wrong(page, answer, view, failures))
        finally:
            page.close()
    context.close()


def _opened(context: BrowserContext, view: View, *, outside: bool) -> Page:
    if not outside:
        return context.new_page()
    browser = context.browser
    assert browser is not None
    kept = context.cookies()
    context.clear_cookies()
    page = context.new_page()
    page.on("close", lambda _: context.add_cookies(kept))  # type: ignore[arg-type]
    return page


def _visit(context: BrowserContext, server: Server) -> None:
    context.set_default_timeout(20_000)
    sign_in(context, server)


def _wrong(page: Page, answer: Any, view: View, failures: Sequence[str]) -> Iterator[str]:
    is_expected = view.name == "not-found"
    if answer is not None and answer.status >= 400 and not is_expected:
        yield f"answered {answer.status}"
    if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth + 1"):
        yield "is wider than the screen"
    if not is_expected:
        yield from dict.fromkeys(failures)


def contact_sheet(views: Sequence[View]) -> str:
    """All pictures of a page in one row."""
    columns = [(theme, width) for width in WIDTHS for theme in THEMES]
    rows = "".join(
        f"<section><h2>{html.escape(view.name)} <small>{html.escape(view.path)}</small></h2>"
        f"<div>{''.join(_linked(_file(view, *each)) for each in columns)}</div></section>"
        for view in views
    )
    style = "body{font:15px sans-serif;margin:24px;background:#888}div{display:flex;gap:12px;align-items:start}"
    style += "img{max-height:420px;max-width:600px;border:1px solid #444}"
    return f"<!doctype html><meta charset=utf-8><title>Rollcall</title><style>{style}</style>{rows}"


def _linked(file: str) -> str:
    return f'<a href="{file}"><img src="{file}" alt="{file}"></a>'


@contextmanager
def _service(folder: Path | None) -> Iterator[Server]:
    """A filled service: that of the folder, if it was made before."""
    with TemporaryDirectory() as temporary:
        data = (folder or Path(temporary)) / "data"
        is_filled = data.with_name("filled").exists()
        if not is_filled:
            shutil.rmtree(data, ignore_errors=True)
        data.parent.mkdir(parents=True, exist_ok=True)
        server = Server(data)
        try:
            server.start()
            if not is_filled:
                set_up(server)
                fill(server)
                data.with_name("filled").touch()
            yield server
        finally:
            server.kill()


def _items(api: httpx.Client, path: str, **query: str) -> list[Any]:
    answer = api.get(path, params=query)
    assert answer.is_success, answer.text
    return list(answer.json()["items"])


def _first(api: httpx.Client, path: str, **query: str) -> str | None:
    return next((item["id"] for item in _items(api, path, **query)), None)


def _file(view: View, theme: str, width: str) -> str:
    return f"{view.name}-{width}-{theme}.png"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/screenshots"))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--language", default="en-GB")
    return parser.parse_args()


if __name__ == "__main__":
    main()
