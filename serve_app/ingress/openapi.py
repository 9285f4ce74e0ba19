"""The API's description: what every route answers, refusals included.

FastAPI writes what it sees in the routes. It can not see the gate before them, nor that bad bodies
are answered with 400 in OpenAI's shape and not with its own 422. Both are added here by rule, so
that no route can forget them. A route adds what it alone answers through ``responses=``; where
such an answer is an error and says nothing of its body, it gets the shape of all errors.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from serve_app.ingress.gate import ADMIN_PATHS, OPEN_PATHS, STREAM_PATHS

_ERROR: Final = "Error"
_KEY: Final = "key"
_SCHEMA: Final = {
    "type": "object",
    "description": "What went wrong, in the shape that OpenAI's clients read.",
    "required": ["error"],
    "additionalProperties": False,
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "additionalProperties": False,
            "properties": {
                "message": {"type": "string", "description": "What happened and what to do."},
                "type": {"type": "string", "description": "The kind of error, by its status."},
                "param": {
                    "anyOf": [{"type": "string"}, {"type": "null"}],
                    "description": "The field at fault, if one is.",
                },
                "code": {"type": "string", "description": "Stable, for machines."},
            },
        }
    },
}
_MEANINGS: Final = {
    400: ("The request is wrong.", "invalid_request_error", "invalid_request"),
    401: ("No key, or one that nobody knows.", "authentication_error", "invalid_api_key"),
    403: (
        "A key, or a page of another origin, that may not do this.",
        "permission_error",
        "insufficient_permissions",
    ),
    404: ("What the request names does not exist.", "not_found_error", "not_found"),
    408: ("The body did not come in time.", "invalid_request_error", "body_timeout"),
    409: ("Not in the state that this resource is in.", "invalid_request_error", "conflict"),
    413: ("More than one request may carry.", "invalid_request_error", "input_too_long"),
    415: (
        "A body that is neither JSON nor a form with files.",
        "invalid_request_error",
        "unsupported_media_type",
    ),
    431: (
        "More address and headers than a request may have.",
        "invalid_request_error",
        "head_too_large",
    ),
    429: ("Too much at once, or for this key.", "rate_limit_error", "rate_limit_exceeded"),
    500: ("It failed here; the log tells where.", "server_error", "internal_error"),
    503: ("Nothing can be spoken right now.", "server_error", "not_ready"),
    504: ("The engine gave no audio in time.", "server_error", "engine_timeout"),
}
_RETRY_HEADERS: Final = {
    "retry-after": {
        "description": "Seconds after which another try may help.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "x-should-retry": {
        "description": "Whether the same request may succeed later.",
        "schema": {"type": "string", "enum": ["true", "false"]},
    },
}


def install(app: FastAPI, *, keys: bool) -> None:
    """Give *app* its full description, made when it is first asked for.

    Args:
        app: Its routes are all there.
        keys: Whether callers need a key.
    """

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = describe(app, keys=keys)
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign] # as FastAPI's own documentation has it


def describe(app: FastAPI, *, keys: bool) -> dict[str, Any]:
    """The description of *app*'s routes with all that they may answer."""
    schema = get_openapi(
        title=app.title,
        version=app.version,
        description="Long, many-voiced speech. OpenAI's speech clients work unchanged.",
        routes=app.routes,
    )
    components = schema.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas[_ERROR] = _SCHEMA
    for path, method, operation in _operations(schema):
        _complete(path, method, operation)
        if keys and path not in OPEN_PATHS:
            operation["security"] = [{_KEY: []}]
    if keys:
        components["securitySchemes"] = {_KEY: {"type": "http", "scheme": "bearer"}}
    return schema


def _operations(schema: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def _complete(path: str, method: str, operation: dict[str, Any]) -> None:
    answers: dict[str, Any] = operation["responses"]
    answers.pop("422", None)
    for status in sorted(_statuses(path, method, operation)):
        answers.setdefault(str(status), {})
    for code, answer in answers.items():
        if int(code) >= 400 and "content" not in answer:
            answer.update(_error(int(code), answer.get("description", "")))


def _statuses(path: str, method: str, operation: dict[str, Any]) -> Iterator[int]:
    """What the gate, the checks before a route and a bug may answer."""
    yield from (413, 431)
    if operation.get("parameters") or "requestBody" in operation:
        yield 400
    if "requestBody" in operation:
        yield from (404, 408, 415)
    if "{" in path:
        yield 404
    if path in STREAM_PATHS:
        yield 504
    if path in OPEN_PATHS:
        return
    yield from (401, 429, 500, 503)
    if path.startswith(ADMIN_PATHS) or method != "get":
        yield 403


def _error(status: int, description: str) -> dict[str, Any]:
    meaning, kind, code = _MEANINGS.get(
        status, ("Refused.", "invalid_request_error", "invalid_request")
    )
    example = {"error": {"message": meaning, "type": kind, "param": None, "code": code}}
    answer: dict[str, Any] = {
        "description": description or meaning,
        "content": {
            "application/json": {
                "schema": {"$ref": f"#/components/schemas/{_ERROR}"},
                "example": example,
            }
        },
    }
    if status in {429, 503}:
        answer["headers"] = _RETRY_HEADERS
    return answer
