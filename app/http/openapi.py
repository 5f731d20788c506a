"""The API reference, with the one error shape that every call can answer."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app.errors import MEDIA_TYPE, Problem

GENERATED_ERRORS = ("HTTPValidationError", "ValidationError")


def openapi_schema(app: FastAPI) -> dict[str, Any]:
    """FastAPI's schema with `Problem` in place of its own validation error."""
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes, tags=app.openapi_tags
        )
        _document_problems(schema)
        app.openapi_schema = schema
    return app.openapi_schema


def _document_problems(schema: dict[str, Any]) -> None:
    schemas = schema.setdefault("components", {}).setdefault("schemas", {})
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs"), Problem=problem)
    for name in GENERATED_ERRORS:
        schemas.pop(name, None)
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for operation in (call for path in schema["paths"].values() for call in path.values()):
        operation["responses"].pop("422", None)
        operation["responses"]["default"] = {"description": "Refused or failed; see `code`.", "content": content}
