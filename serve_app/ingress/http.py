"""The FastAPI application, made of its routes."""

from __future__ import annotations

from fastapi import FastAPI

from serve_app.ingress import (
    problems,
    routes_catalog,
    routes_health,
    routes_monitor,
    routes_speech,
)
from serve_app.ingress.service import Service


def create_app(service: Service) -> FastAPI:
    """Build the application.

    FastAPI's own tracing would start a second trace beside Ray Serve's: it is off.
    """
    app = FastAPI(title="vibevoice-serve", version="0.1.0", telemetry={"tracing": False})
    problems.install(app)
    for routes in (routes_speech, routes_catalog, routes_health, routes_monitor):
        app.include_router(routes.router(service))
    return app
