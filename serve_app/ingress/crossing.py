"""No page of another site changes anything here, whoever its reader is.

A browser sends a page's request along with what it keeps for this address: a password that a person
gave for the monitor, or, where no key is asked for, simply that it runs on this machine. CORS hides
the answers, but lets "simple" requests through: those with the methods and the content types that
forms have. So these are refused: methods that change something, from a page of another origin, and
bodies that a form could send as text. Who is no browser sends none of the headers looked at.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from serve_app.errors import ForbiddenError, UnsupportedTypeError

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN: Final = frozenset({"same-origin", "none"})
_UPLOAD: Final = "multipart/form-data"
_SHOWN: Final = 100


def check_site(method: str, headers: Headers, allowed: Collection[str]) -> None:
    """Refuse what a page of another origin wants to change.

    Args:
        method: HTTP's.
        headers: Of the request.
        allowed: Origins whose pages may; ``*`` is any.

    Raises:
        ForbiddenError: It is such a page.
    """
    origin = headers.get("origin")
    if method in _SAFE or "*" in allowed or (origin is not None and origin in allowed):
        return
    site = headers.get("sec-fetch-site")
    if site in _OWN or (site is None and origin is None):
        return
    if site is None and origin is not None and _host(origin) == headers.get("host", "").lower():
        return
    raise ForbiddenError(
        "Pages of other origins may change nothing here; name theirs in access.cors_origins of the "
        "service's config if they may."
    )


def check_type(method: str, headers: Headers) -> None:
    """Refuse a body that is neither JSON nor a form with files.

    Raises:
        UnsupportedTypeError: It is something else.
    """
    empty = headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers
    if method in _SAFE or empty:
        return
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in {"application/json", _UPLOAD} or (
        kind.startswith("application/") and kind.endswith("+json")
    ):
        return
    raise UnsupportedTypeError(
        f"The content-type {kind[:_SHOWN]!r} is not read here: send JSON as application/json, "
        f"files as {_UPLOAD}."
    )


def _host(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
