"""``/healthz`` (this process), ``/readyz`` (speech can be had), ``/get_metrics`` (what goes on)."""

from __future__ import annotations

import asyncio
import json

from fastapi import APIRouter, Query, Response
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
    ) -> Response:
        """Cards of all nodes over the last minute, the last 20 syntheses, and totals."""
        body = await service.metrics(since)
        # A fleet's minute is megabytes: a thread writes it, and FastAPI does not walk it again.
        return Response(await asyncio.to_thread(json.dumps, body), media_type="application/json")

    return routes
