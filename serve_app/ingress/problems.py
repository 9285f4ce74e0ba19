"""Errors as OpenAI's clients expect them: ``{"error": {message, type, param, code}}``."""

from __future__ import annotations

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from serve_app.errors import InvalidInputError, ServeError

logger = logging.getLogger(__name__)

_RETRY_AFTER_S = 5
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


def problem(error: ServeError) -> JSONResponse:
    """The answer for an error of our tree."""
    return _answer(
        error.status,
        error.message,
        error.code,
        error.param,
        retry_helps=error.retry_helps,
        retry_after_s=error.retry_after_s or _RETRY_AFTER_S,
    )


def install(app: FastAPI) -> None:
    """Give *app* handlers for our errors, FastAPI's own and anything unexpected."""

    @app.exception_handler(ServeError)
    async def on_serve_error(_request: Request, error: ServeError) -> JSONResponse:
        return problem(error)

    @app.exception_handler(RequestValidationError)
    async def on_bad_body(_request: Request, error: RequestValidationError) -> JSONResponse:
        found = error.errors()
        places = [".".join(str(step) for step in item["loc"][1:]) for item in found]
        message = "; ".join(
            f"{place or 'body'}: {item['msg']}" for place, item in zip(places, found, strict=True)
        )
        return problem(InvalidInputError(message, places[0] if places and places[0] else None))

    @app.exception_handler(HTTPException)
    async def on_http_error(request: Request, error: HTTPException) -> JSONResponse:
        message = f"{request.method} {request.url.path}: {error.detail}"
        code = "not_found" if error.status_code == 404 else "http_error"
        return _answer(error.status_code, message, code, None, retry_helps=False)

    @app.exception_handler(Exception)
    async def on_bug(request: Request, error: Exception) -> JSONResponse:
        logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return _answer(
            500, "Internal error; the log has it.", "internal_error", None, retry_helps=False
        )


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
