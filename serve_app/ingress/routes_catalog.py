"""``GET /v1/models``: the model that is served, and the names that stand for it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from serve_app.errors import NotFoundError
from serve_app.ingress import routes_voices
from serve_app.ingress.service import Service


def router(service: Service) -> APIRouter:
    """The routes of what can be chosen: models, and below them voices."""
    routes = APIRouter(prefix="/v1")

    async def models() -> list[dict[str, Any]]:
        engine = await service.replicas.engine()
        return [
            {
                "id": name,
                "object": "model",
                "created": 0,
                "owned_by": "vibevoice-serve",
                "engine": engine.name,
                "alias_of": None if name == engine.model else engine.model,
            }
            for name in dict.fromkeys((engine.model, *service.settings.model_aliases))
        ]

    @routes.get("/models")
    async def list_models() -> dict[str, Any]:
        """The model that is served, and the names that stand for it."""
        return {"object": "list", "data": await models()}

    @routes.get("/models/{model:path}")
    async def get_model(model: str) -> dict[str, Any]:
        """One model."""
        for entry in await models():
            if entry["id"] == model:
                return entry
        raise NotFoundError(
            f"Model {model[:128]!r} does not exist; GET /v1/models lists them.", "model"
        )

    routes.include_router(routes_voices.router(service))
    return routes
