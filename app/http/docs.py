"""The API reference as a page: Swagger UI from an installed package, so that no third party is asked at run time."""

from importlib.resources import files

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

PATH = "/docs"
ASSETS = f"{PATH}/assets"


def add_reference(app: FastAPI) -> None:
    """Serves `/docs`."""
    page = get_swagger_ui_html(
        openapi_url=app.openapi_url or "",
        title=f"{app.title} API",
        swagger_js_url=f"{ASSETS}/swagger-ui-bundle.js",
        swagger_css_url=f"{ASSETS}/swagger-ui.css",
        swagger_favicon_url=f"{ASSETS}/favicon.png",
        swagger_ui_parameters={"validatorUrl": None},  # Swagger UI would send the schema to a server of its makers
    )

    def reference() -> HTMLResponse:
        return page

    app.add_api_route(PATH, reference, include_in_schema=False)
    # Of this package only the files are used.
    app.mount(ASSETS, StaticFiles(directory=str(files("fastapi_offline") / "static")))
