"""``GET /v1/models`` and ``GET /v1/audio/voices``."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from serve_app.errors import NotFoundError
from serve_app.ingress.service import Service


def router(service: Service) -> APIRouter:
    """The routes of these resources."""
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
            for name in (engine.model, *service.settings.model_aliases)
        ]

    @routes.get("/models")
    async def list_models() -> dict[str, Any]:
        """The model that is served, and the names that stand for it."""
        return {"object": "list", "data": await models()}

    @routes.get("/models/{model}")
    async def get_model(model: str) -> dict[str, Any]:
        """One model."""
        for entry in await models():
            if entry["id"] == model:
                return entry
        raise NotFoundError(f"Model {model!r} does not exist; GET /v1/models lists them.", "model")

    @routes.get("/audio/voices")
    async def list_voices() -> dict[str, Any]:
        """The engine's voices in the order in which speakers take them, then the aliases."""
        engine = await service.replicas.engine()
        voices = [
            {"id": voice.id, "name": voice.name, "languages": voice.languages, "alias_of": None}
            for voice in engine.voices
        ]
        by_id = {voice["id"]: voice for voice in voices}
        voices += [
            {**by_id[target], "id": alias, "alias_of": target}
            for alias, target in service.settings.voice_aliases.items()
            if target in by_id
        ]
        return {"object": "list", "data": voices, "voices": voices}

    return routes
