"""The kiosk: a page for a tablet at the door. It works with a camera's key, so nobody signs in to see it."""

import json
from functools import cache
from hashlib import sha256
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

from app import __version__
from app.dashboard.frame.assets import STATIC
from app.dashboard.frame.messages import as_module
from app.dashboard.frame.pages import TEMPLATES, render_outside
from app.dashboard.frame.taste import LANGUAGES

router = APIRouter(include_in_schema=False)

PAGE: Final = "/kiosk"
MANIFEST: Final = "/kiosk.webmanifest"
_SHARED: Final = (
    "css/rollcall.css",
    "css/kiosk.css",
    "icons/icons.svg",
    "icons/favicon.svg",
    "js/i18n.js",
    "js/ui.js",
    "js/field-errors.js",  # which ui.js asks for
)
_WORKER: Final = STATIC / "js" / "kiosk-worker.js"
_ASK_AGAIN: Final = {"Cache-Control": "no-cache"}


@router.get(PAGE)
def kiosk_page(request: Request) -> HTMLResponse:
    return render_outside(request, "kiosk.html")


@router.get("/kiosk-worker.js")
def kiosk_worker() -> Response:
    """The service worker, which keeps these files, in this version, on the device."""
    return Response(_worker(), media_type="text/javascript", headers=_ASK_AGAIN)


@router.get(MANIFEST)
def kiosk_manifest() -> Response:
    """Lets a tablet put the page on its home screen, where it opens without the browser around it."""
    manifest = {
        "name": "Rollcall",
        "short_name": "Rollcall",
        "start_url": PAGE,
        "scope": PAGE,
        "display": "fullscreen",
        "background_color": "#0f131a",
        "theme_color": "#0f131a",
        "icons": [{"src": "/assets/icons/favicon.svg", "sizes": "any", "type": "image/svg+xml"}],
    }
    return Response(json.dumps(manifest), media_type="application/manifest+json", headers=_ASK_AGAIN)


@cache
def _worker() -> str:
    modules = sorted(path.relative_to(STATIC).as_posix() for path in (STATIC / "js" / "kiosk").glob("*.js"))
    files = [*_SHARED, *modules]
    messages = {f"/assets/messages/{language}.js": as_module(language) for language in LANGUAGES}
    digest = sha256(__version__.encode())
    for content in (*((STATIC / name).read_bytes() for name in files), *(each.encode() for each in messages.values())):
        digest.update(content)
    for path in (_WORKER, TEMPLATES / "kiosk.html"):
        digest.update(path.read_bytes())
    paths = [PAGE, MANIFEST, *(f"/assets/{name}" for name in files), *messages]
    head = f"const VERSION = {json.dumps(digest.hexdigest()[:16])};\nconst FILES = {json.dumps(paths)};\n"
    return head + _WORKER.read_text(encoding="utf-8")
