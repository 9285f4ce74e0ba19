"""What stands around an engine: packages, the port, the collector; only the standard library."""

from __future__ import annotations

import errno
import json
import re
import socket
import urllib.request
from contextlib import closing
from http.client import HTTPException
from importlib import metadata
from urllib.parse import urlsplit

from serve_app.core.machine import Engine, Port, Telemetry
from serve_app.engines.registry import KINDS

PACKAGE = "vibevoice-serve"
_TIMEOUT_S = 2.0
_OTLP_PORTS = {"http": 80, "https": 443}


def version_of(package: str) -> str | None:
    """Version of an installed package, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def find_engines(package: str = PACKAGE) -> tuple[Engine, ...]:
    """Each engine with the packages that it lacks, as this package's own metadata names them.

    An engine whose name is no extra needs nothing besides the base.
    """
    try:
        extras = metadata.metadata(package).get_all("Provides-Extra") or []
        needed = metadata.requires(package) or []
    except metadata.PackageNotFoundError:
        return tuple(Engine(kind, None, None) for kind in KINDS)
    return tuple(
        Engine(kind, kind, _missing(needed, kind)) if kind in extras else Engine(kind, None, ())
        for kind in KINDS
    )


def _missing(requirements: list[str], extra: str) -> tuple[str, ...]:
    found = []
    for requirement in requirements:
        name = re.match(r"[A-Za-z0-9._-]+", requirement)
        wanted = re.search(rf"extra\s*==\s*['\"]{re.escape(extra)}['\"]", requirement)
        if name and wanted and version_of(name[0]) is None:
            found.append(name[0])
    return tuple(found)


def look_at_port(host: str, port: int) -> Port:
    """Whether the service can listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return Port(host, port, "ours" if _is_ours(host, port) else "taken")
            denied = error.errno in {errno.EACCES, errno.EPERM}
            return Port(host, port, "denied" if denied else "foreign")
    return Port(host, port, "free")


def _is_ours(host: str, port: int) -> bool:
    asked = "127.0.0.1" if host in {"0.0.0.0", "::"} else host  # noqa: S104 - compared, not bound
    url = f"http://{f'[{asked}]' if ':' in asked else asked}:{port}/v1/audio/voices"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=_TIMEOUT_S) as answer:
            body = json.load(answer)
    except (OSError, ValueError, HTTPException):
        return False
    return isinstance(body, dict) and isinstance(body.get("voices", body.get("data")), list)


def look_at_collector(endpoint: str | None) -> Telemetry:
    """Whether something listens at the OTLP endpoint."""
    if endpoint is None:
        return Telemetry(None)
    parts = urlsplit(endpoint if "//" in endpoint else f"//{endpoint}")
    try:
        port = parts.port or _OTLP_PORTS.get(parts.scheme, 4317)
        with closing(socket.create_connection((parts.hostname or "", port), _TIMEOUT_S)):
            return Telemetry(endpoint, answers=True)
    except (OSError, ValueError):
        return Telemetry(endpoint, answers=False)
