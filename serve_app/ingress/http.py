"""The FastAPI application, made of its routes, behind its gate."""

from __future__ import annotations

from dataclasses import replace

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from serve_app.access import Access
from serve_app.ingress import (
    openapi,
    problems,
    routes_catalog,
    routes_health,
    routes_jobs,
    routes_metrics,
    routes_monitor,
    routes_speech,
)
from serve_app.ingress.answer import JOB_ROUTE
from serve_app.ingress.bounded import BodyBounds, GateRules
from serve_app.ingress.gate import Gate
from serve_app.ingress.jobs_body import body_bounds
from serve_app.ingress.service import Service

_TAKEN_FROM_PAGES = (
    *("authorization", "content-type", "idempotency-key", "if-none-match", "if-range"),
    *("last-event-id", "range", "x-request-id"),
)
_SHOWN_TO_PAGES = (
    *("accept-ranges", "content-disposition", "content-length", "content-range", "etag"),
    *("location", "x-complete", "x-edition"),
    *("retry-after", "x-audio-seconds", "x-estimated-seconds", "x-finish-reason"),
    *("x-request-id", "x-segments", "x-should-retry", "x-speakers"),
    *("x-ai-generated", "x-unspoken-characters"),
)


def create_app(service: Service, access: Access | None = None) -> FastAPI:
    """Build the application.

    FastAPI's own tracing would start a second trace beside Ray Serve's: it is off.

    Args:
        service: The parts behind the routes.
        access: Who may call, and how much; without it nobody is asked for a key.
    """
    access = access or Access()
    app = FastAPI(
        title="vibevoice-serve",
        version="0.1.0",
        telemetry={"tracing": False},
        # Its pages of the description load scripts of other hosts.
        docs_url=None,
        redoc_url=None,
    )
    problems.install(app)
    for routes in (routes_speech, routes_catalog, routes_health, routes_monitor):
        app.include_router(routes.router(service))
    if service.fleet is not None:
        app.include_router(routes_metrics.router(service.fleet))
    if service.jobs is not None:
        app.include_router(routes_jobs.router(service.jobs))
    openapi.install(app, keys=access.keys is not None)
    # The last one added comes first: pages ask whether they may call before they have a key.
    rules = _with_jobs(access.rules, service)
    app.add_middleware(
        Gate,
        keys=access.keys,
        rules=rules,
        drain=service.drain,
        origins=frozenset(access.cors_origins),
    )
    if access.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=access.cors_origins,
            allow_methods=("GET", "POST", "DELETE", "PATCH"),
            allow_headers=_TAKEN_FROM_PAGES,
            expose_headers=_SHOWN_TO_PAGES,
        )
    return app


def _with_jobs(rules: GateRules, service: Service) -> GateRules:
    """The bounds of every request, with those of a job's order, which may be a whole book."""
    if service.jobs is None:
        return rules
    usual, own = rules.bodies, body_bounds(service.jobs.settings)
    largest = BodyBounds(
        max(usual.body_bytes, own.body_bytes), max(usual.upload_bytes, own.upload_bytes)
    )
    advised = replace(usual, advice=f"Send less, or a long script as a job ({JOB_ROUTE}).")
    return replace(rules, bodies=advised, bodies_of={routes_jobs.PREFIX: largest})
