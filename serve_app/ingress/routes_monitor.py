"""``/monitor``: a static page of our own, its files, and plotly.js out of the installed package.

Everything is served from here and the page's policy forbids any other host. The page works without
plotly.js (it then shows numbers, tiles and tables without charts), so the package stays optional.
"""

from __future__ import annotations

import gzip
import hashlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response

from serve_app.errors import NotFoundError
from serve_app.ingress.service import Service
from telemetry.report import find_plotly_js

_PAGE: Final = "monitor.html"
_ICON: Final = "icon.svg"
_MEDIA_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
# Plotly writes its rules into a style element; it needs neither eval nor another origin.
_POLICY: Final = "; ".join(
    (
        "default-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'self'",
    )
)
_HEADERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "content-security-policy": _POLICY,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "vary": "accept-encoding",
    }
)
_OWN_CACHE: Final = "no-cache"  # asks each time, and is mostly answered with 304
_PLOTLY_CACHE: Final = "public, max-age=604800"
_NO_PLOTLY: Final = (
    "The package plotly is not installed where this service runs, so the monitor draws no charts. "
    "Install the extra 'ui' there: pip install 'vibevoice-serve[ui]'.\n"
)


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it is sent.

    Args:
        packed: Its bytes, compressed with gzip.
        media_type: MIME type.
        etag: Quoted hash of its bytes.
        cache_control: How long a browser may keep it.
    """

    packed: bytes
    media_type: str
    etag: str
    cache_control: str

    def answer(self, request: Request) -> Response:
        """The file, or 304 to a browser that has it."""
        headers = {**_HEADERS, "etag": self.etag, "cache-control": self.cache_control}
        if self.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers["content-encoding"] = "gzip"
            return Response(self.packed, media_type=self.media_type, headers=headers)
        return Response(gzip.decompress(self.packed), media_type=self.media_type, headers=headers)


def load_asset(name: str, content: bytes, cache_control: str) -> Asset:
    """Compress *content*, the file *name*."""
    digest = hashlib.sha256(content).hexdigest()[:20]
    media_type = _MEDIA_TYPES[Path(name).suffix]
    return Asset(gzip.compress(content, 6, mtime=0), media_type, f'"{digest}"', cache_control)


def own_assets() -> dict[str, Asset]:
    """The page's own files by name."""
    folder = resources.files("serve_app.ui") / "monitor"
    return {
        file.name: load_asset(file.name, file.read_bytes(), _OWN_CACHE)
        for file in folder.iterdir()
        if Path(file.name).suffix in _MEDIA_TYPES
    }


class PlotlyScript:
    """plotly.js, read and compressed when it is first asked for; 1.4 MB are kept.

    Args:
        path: Where it is, or None if it is not installed.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._asset: Asset | None = None

    def answer(self, request: Request) -> Response:
        """The script, or 503 that says what to install; the first call takes 0.3 s."""
        if self._path is None:
            return PlainTextResponse(_NO_PLOTLY, status_code=503, headers=dict(_HEADERS))
        with self._lock:
            if self._asset is None:
                content = self._path.read_bytes()
                self._asset = load_asset(self._path.name, content, _PLOTLY_CACHE)
        return self._asset.answer(request)


def router(_service: Service) -> APIRouter:
    """The routes of the monitor page."""
    return monitor_routes(own_assets(), PlotlyScript(find_plotly_js()))


def monitor_routes(assets: Mapping[str, Asset], plotly: PlotlyScript) -> APIRouter:
    """The routes over these files; they are plain functions, which FastAPI runs in threads."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/monitor")
    def page(request: Request) -> Response:
        """The page; its links are relative, so that it also works behind a path prefix."""
        return assets[_PAGE].answer(request)

    @routes.get("/monitor/assets/plotly.min.js")
    def plotly_script(request: Request) -> Response:
        """plotly.js of the installed package."""
        return plotly.answer(request)

    @routes.get("/monitor/assets/{name}")
    def asset(request: Request, name: str) -> Response:
        """One of the page's own files."""
        found = assets.get(name)
        if found is None:
            raise NotFoundError(f"The monitor has no file {name!r}.")
        return found.answer(request)

    @routes.get("/favicon.ico")
    def icon(request: Request) -> Response:
        """What browsers ask every host for."""
        return assets[_ICON].answer(request)

    return routes
