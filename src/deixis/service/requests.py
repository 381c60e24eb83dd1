"""A request's body to the fields that a route reads: JSON, or a form whose files are pictures and videos.

Knows content types. Does not know what the fields mean. Nothing is written to disk: what came is in memory already.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from deixis.errors import BodyError

B = TypeVar("B", bound=BaseModel)
_FORM = "multipart/form-data"
_MAX_FIELDS = 32
_LARGE = 2**20


async def read_json(request: Request, body: type[B]) -> B:
    """Raises BodyError."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise BodyError(f"the body is {kind[:60] or 'of no named type'}; expected application/json")
    data = await request.body()
    # Reading a large one takes as long as answering many others.
    return _checked(body, data) if len(data) < _LARGE else await asyncio.to_thread(_checked, body, data)


async def read_form_or_json(request: Request, body: type[B], file: str) -> tuple[B, bytes | None]:
    """The fields, and the bytes of the file called `file`, if it was uploaded. Raises BodyError."""
    if not request.headers.get("content-type", "").lower().startswith(_FORM):
        return await read_json(request, body), None
    data = await request.body()

    async def stream() -> AsyncGenerator[bytes, None]:
        yield data

    parser = MultiPartParser(request.headers, stream(), max_files=1, max_fields=_MAX_FIELDS)
    parser.spool_max_size = len(data) + 1
    try:
        form = await parser.parse()
    except (MultiPartException, ValueError, KeyError, UnicodeError) as error:
        raise BodyError(f"the form cannot be read ({getattr(error, 'message', type(error).__name__)})") from None
    try:
        fields, upload = await _fields(form, file)
    finally:
        await form.close()
    return _checked(body, fields), upload


async def _fields(form: FormData, file: str) -> tuple[dict[str, Any], bytes | None]:
    fields: dict[str, Any] = {}
    upload: bytes | None = None
    for name, value in form.multi_items():
        if name in fields:
            raise BodyError(f"the form has two fields {name[:60]!r}")
        if isinstance(value, UploadFile):
            if name != file:
                raise BodyError(f"the form has a file {name[:60]!r}; expected {file}")
            upload = await value.read()
        fields[name] = value if isinstance(value, str) else "upload"
    return fields, upload


def _checked(body: type[B], value: bytes | dict[str, Any]) -> B:
    try:
        return body.model_validate_json(value) if isinstance(value, bytes) else body.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"]))
        found = BodyError(f"{where + ': ' if where else ''}{first['msg'].removeprefix('Value error, ')}"[:500])
        found.param = where[:200] or None
        raise found from None
