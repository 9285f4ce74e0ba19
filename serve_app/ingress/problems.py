"""Errors as OpenAI's clients expect them: ``{"error": {message, type, param, code}}``.

What a request was about stays out of logs: a bug is told by the route's pattern and by where in the
code it came up, never by the path that was asked for or by a message, which may quote a text.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from serve_app.core.trail import trail
from serve_app.errors import ConfigError, EngineError, InvalidInputError, ServeError

logger = logging.getLogger(__name__)

_RETRY_AFTER_S = 5
_FOR_OPERATORS = "It failed here, not by your request; the log has it."
_QUOTING = (ConfigError, EngineError)
"""Their messages are for operators: they name places of the machine and quote libraries."""
_MOST_FIELDS = 8
_MOST_CHARACTERS = 128
_FORMS = frozenset({"str", "constrained-str", "VoiceId", "constrained-int"})
_NO_OBJECT = frozenset({"json_invalid", "model_attributes_type", "model_type", "dict_type"})
_HTTP_ERRORS = {
    404: ("not_found", "There is no such resource here; /openapi.json lists all that there are."),
    405: ("method_not_allowed", "This resource does not take this method; see the header Allow."),
}
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


def problem(error: ServeError) -> JSONResponse:
    """The answer for an error of our tree."""
    message = error.message
    if isinstance(error, _QUOTING):
        logger.error("%s: %s", error.code, trail(error))
        message = _FOR_OPERATORS
    return _answer(
        error.status,
        message,
        error.code,
        error.param,
        retry_helps=error.retry_helps,
        retry_after_s=error.retry_after_s or _RETRY_AFTER_S,
    )


def bug(scope: Mapping[str, Any], error: Exception) -> JSONResponse:
    """The answer for an error that nobody foresaw; the log tells where it came up."""
    route = getattr(scope.get("route"), "path", "(no route)")
    logger.error("%s %s failed: %s", scope["method"], route, trail(error))
    return internal_error()


def internal_error() -> JSONResponse:
    """What a client is told of it."""
    return _answer(
        500, "Internal error; the log has it.", "internal_error", None, retry_helps=False
    )


def install(app: FastAPI) -> None:
    """Give *app* handlers for our errors and FastAPI's own."""

    @app.exception_handler(ServeError)
    async def on_serve_error(_request: Request, error: ServeError) -> JSONResponse:
        return problem(error)

    @app.exception_handler(RequestValidationError)
    async def on_bad_body(_request: Request, error: RequestValidationError) -> JSONResponse:
        return problem(wrong_fields([(item["loc"][1:], item) for item in error.errors()]))

    @app.exception_handler(HTTPException)
    async def on_http_error(_request: Request, error: HTTPException) -> JSONResponse:
        code, message = _HTTP_ERRORS.get(error.status_code, ("http_error", str(error.detail)))
        answer = _answer(error.status_code, message, code, None, retry_helps=False)
        answer.headers.update(error.headers or {})
        return answer


def wrong_fields(found: Sequence[tuple[Sequence[object], Mapping[str, Any]]]) -> InvalidInputError:
    """What is wrong with a request, within bounds, however much it is.

    Args:
        found: Where in the body or among the parameters, and pydantic's word on it.
    """
    if any(
        item["type"] in _NO_OBJECT and not (place and _is_field(place)) for place, item in found
    ):
        return InvalidInputError(
            "The body is no JSON object; send one, with the content-type application/json."
        )
    told = [(_shown(place), str(item["msg"])) for place, item in found[:_MOST_FIELDS]]
    message = "; ".join(f"{place or 'body'}: {what}" for place, what in told)
    if len(found) > _MOST_FIELDS:
        message += f"; and {len(found) - _MOST_FIELDS} more"
    return InvalidInputError(message, _shown(found[0][0]) or None)


def _is_field(place: Sequence[object]) -> bool:
    """Not a position in a text that is no JSON."""
    return isinstance(place[0], str)


def _shown(place: Sequence[object]) -> str:
    """A place, without the form that a value of several forms was taken for."""
    steps = [str(step) for step in place]
    return ".".join(step for step in steps if step not in _FORMS)[:_MOST_CHARACTERS]


def _answer(
    status: int,
    message: str,
    code: str,
    param: str | None,
    *,
    retry_helps: bool,
    retry_after_s: int = _RETRY_AFTER_S,
) -> JSONResponse:
    kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    headers = {"x-should-retry": "true" if retry_helps else "false"}
    if retry_helps and status in {429, 503}:
        headers["retry-after"] = str(retry_after_s)
    body = {"error": {"message": message, "type": kind, "param": param, "code": code}}
    return JSONResponse(body, status_code=status, headers=headers)
