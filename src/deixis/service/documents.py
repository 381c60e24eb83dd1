"""The API's own description: which bodies a route reads, which answers it gives, which errors.

Knows OpenAPI. Bodies are read by hand (JSON or form), so they are described by hand, from the same classes that read them.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from deixis.service.bodies import ErrorTold, JobTold

_WORK_ERRORS = {
    400: "The request cannot be served as it stands.",
    401: "An API key is needed.",
    403: "Another host or page is meant.",
    404: "No such model.",
    413: "Too many bytes.",
    422: "The model's checkpoint is broken.",
    429: "Too many requests of this key.",
    500: "The engine failed at this request.",
    502: "A model server failed.",
    503: "No room now, or the engine was lost.",
    504: "No answer in time.",
}


def documented(
    body: type[BaseModel] | None,
    told: type[BaseModel] | None,
    *,
    file: str = "",
    job: bool = False,
    missing: bool = False,
    stream: bool = False,
    errors: tuple[int, ...] = (),
) -> dict[str, Any]:
    """What a route's decorator says of it. `file` is the field that a form may upload."""
    codes = (*_WORK_ERRORS,) if body is not None and not errors else (400, 401, 403, *((404,) if missing else ()), *errors)
    responses: dict[int | str, dict[str, Any]] = {
        code: {"model": ErrorTold, "description": _WORK_ERRORS.get(code, "Not possible now.")} for code in sorted(set(codes))
    }
    if told is not None:
        responses[200] = {"model": told}
    if stream:
        responses.setdefault(200, {}).setdefault("content", {})["text/event-stream"] = {"schema": {"type": "string"}}
    if job:
        responses[202] = {"model": JobTold, "description": "A job was begun."}
    said: dict[str, Any] = {"responses": responses, "response_model": None}
    if body is not None:
        content = {"application/json": _content(body)}
        if file:
            content["multipart/form-data"] = _form(body, file)
        said["openapi_extra"] = {"requestBody": {"required": True, "content": content}}
    return said


def _content(body: type[BaseModel]) -> dict[str, Any]:
    schema = body.model_json_schema(ref_template=f"#/components/schemas/{body.__name__}_{{model}}")
    examples = schema.pop("examples", [])
    content: dict[str, Any] = {"schema": schema}
    if examples:
        content["example"] = examples[0]
    return content


def _form(body: type[BaseModel], file: str) -> dict[str, Any]:
    schema = _content(body)["schema"]
    properties = {
        name: {"type": "string", "format": "binary"}
        if name == file
        else {"type": "string", "description": one.get("description", "")}
        for name, one in schema["properties"].items()
    }
    return {"schema": {"type": "object", "properties": properties, "required": schema.get("required", [])}}


def describe(app: FastAPI, title: str, version: str, text: str) -> dict[str, Any]:
    """The whole document. Definitions of bodies move to the components, where their references point."""
    document = get_openapi(title=title, version=version, description=text, routes=app.routes)
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"key": []}, {}]
    for path in document["paths"].values():
        for operation in path.values():
            operation.get("responses", {}).pop("422", None) if "requestBody" not in operation else None
            for content in operation.get("requestBody", {}).get("content", {}).values():
                schema = content["schema"]
                owner = schema.get("title", "")
                for name, definition in schema.pop("$defs", {}).items():
                    schemas[f"{owner}_{name}"] = definition
    return document
