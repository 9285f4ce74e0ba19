"""``/healthz`` (this process), ``/readyz`` (speech can be had), ``/get_metrics`` (what goes on)."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Literal

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict

from serve_app.ingress.service import Service
from serve_app.readiness import Readiness

_RETRY_AFTER_S = "2"
_DRAINING = "this process ends after its last stream; another one serves new requests"
_PAUSED = "all cards are paused, for they are too hot or ill; /get_metrics tells why"


class Health(BaseModel):
    """A process that answers."""

    status: Literal["ok"]


class Ready(BaseModel):
    """Whether speech can be had, with the reasons if it can not."""

    model_config = ConfigDict(
        extra="allow",
        use_attribute_docstrings=True,
        json_schema_extra={"examples": [{"status": "ready", "spoke_s_ago": 3.2}]},
    )

    status: Literal["ready", "not_ready"]
    reasons: tuple[str, ...] = ()
    """What is missing."""


class Metrics(BaseModel):
    """Cards of all nodes over the last minute, the last 20 syntheses, and totals."""

    model_config = ConfigDict(extra="allow", use_attribute_docstrings=True)

    gpu: list[dict[str, Any]]
    """Samples of all cards."""
    inference: list[dict[str, Any]]
    """The last syntheses."""


def router(service: Service) -> APIRouter:
    """The routes for operators."""
    routes = APIRouter()

    @routes.head("/healthz", include_in_schema=False)  # which load balancers like to ask
    @routes.get("/healthz")
    async def healthz() -> Health:
        """This process answers."""
        return Health(status="ok")

    @routes.head("/readyz", include_in_schema=False)
    @routes.get(
        "/readyz",
        response_model=Ready,
        responses={503: {"model": Ready, "description": "Not now; the reasons say why."}},
    )
    async def readyz() -> JSONResponse:
        """200 if a replica speaks, its stores can be written to and not all cards are paused."""
        found = await _readiness(service)
        status = "ready" if found.ready else "not_ready"
        return JSONResponse(
            {"status": status, **found.reasons},
            status_code=200 if found.ready else 503,
            headers={} if found.ready else {"retry-after": _RETRY_AFTER_S},
        )

    @routes.get("/get_metrics", response_model=Metrics)
    async def get_metrics(
        since: float | None = Query(
            default=None,
            allow_inf_nan=False,
            description="Unix time, s; only newer samples",
            examples=[1.8e9],
        ),
    ) -> Response:
        """Cards of all nodes over the last minute, the last 20 syntheses, and totals."""
        body = await service.metrics(since)
        # A fleet's minute is megabytes: a thread writes it, and FastAPI does not walk it again.
        return Response(await asyncio.to_thread(json.dumps, body), media_type="application/json")

    return routes


async def _readiness(service: Service) -> Readiness:
    """Everything that speech needs, asked side by side; each part is bounded in time."""
    spoken, stores = await asyncio.gather(
        service.replicas.readiness(),
        asyncio.gather(*(store.problem() for store in service.stores)),
    )
    missing = [
        *([_DRAINING] if service.drain.draining else []),
        *([_PAUSED] if service.all_paused() else []),
        *(problem for problem in stores if problem is not None),
        *spoken.reasons.get("reasons", ()),
    ]
    if missing or not spoken.ready:
        return Readiness(False, {"reasons": missing})
    return spoken
