"""Rendering: a template and its data to an answer, in the visitor's language."""

from functools import cache, partial
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from app import __version__
from app.dashboard.frame.formats import Formats
from app.dashboard.frame.messages import catalogue, translate
from app.dashboard.frame.navigation import menu_for
from app.dashboard.frame.taste import LANGUAGES, Taste, taste_of
from app.dashboard.frame.visitor import Visitor

TEMPLATES: Final = Path(__file__).parents[1] / "templates"


def render(request: Request, visitor: Visitor, template: str, *, status: int = 200, **data: Any) -> HTMLResponse:
    """A page for somebody who is signed in; templates see `data`, and what `base.html` says."""
    shared = {"visitor": visitor, "menu": menu_for(visitor), "csrf_token": visitor.signed_in.csrf_token}
    return _rendered(request, visitor.taste, template, status, shared | data)


def render_outside(request: Request, template: str, *, status: int = 200, **data: Any) -> HTMLResponse:
    """A page for whoever comes."""
    return _rendered(request, taste_of(request), template, status, {"visitor": None, "menu": []} | data)


def _rendered(request: Request, taste: Taste, template: str, status: int, data: dict[str, Any]) -> HTMLResponse:
    formats = Formats(taste)
    shown = (
        _environment(taste.language)
        .get_template(template)
        .render(
            request=request,
            path=request.url.path,
            taste=taste,
            languages=LANGUAGES,
            version=__version__,
            style_nonce=request.state.style_nonce,
            **{name: getattr(formats, name) for name in ("moment", "clock", "ago", "day", "hours", "number", "share")},
            **data,
        )
    )
    return HTMLResponse(shown, status)


@cache
def _environment(language: str) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        extensions=["jinja2.ext.i18n"],
        trim_blocks=True,
        lstrip_blocks=True,
    )

    def several(one: str, many: str, n: int) -> str:
        return translate(language, one) if language != "en" and one in catalogue(language) else one if n == 1 else many

    environment.install_gettext_callables(  # type: ignore[attr-defined]
        lambda message: translate(language, message), several, newstyle=True
    )
    # For messages that come in a variable: what `_` returns counts as HTML, and % in it as a place for a value.
    environment.globals["said"] = partial(translate, language)
    return environment
