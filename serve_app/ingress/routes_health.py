"""``/healthz`` (this process), ``/readyz`` (speech can be had), ``/get_metrics`` (what goes on)."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse

from serve_app.ingress.service import Service


def router(service: Service) -> APIRouter:
    """The routes for operators."""
    routes = APIRouter()

    @routes.get("/healthz")
    async def healthz() -> dict[str, str]:
        """This process answers."""
        return {"status": "ok"}

    @routes.get("/readyz")
    async def readyz() -> JSONResponse:
        """200 once a replica has spoken a test word and can be reached; else 503."""
        found = await service.replicas.readiness()
        status = "ready" if found.ready else "not_ready"
        return JSONResponse(
            {"status": status, **found.reasons},
            status_code=200 if found.ready else 503,
            headers={} if found.ready else {"retry-after": "2"},
        )

    @routes.get("/get_metrics")
    async def get_metrics(
        since: float | None = Query(default=None, description="Unix time; only newer samples"),
    ) -> dict[str, Any]:
        """Cards of all nodes over the last minute, the last 20 syntheses, and totals."""
        return await service.metrics(since)

    return routes
