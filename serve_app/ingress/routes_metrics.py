"""``/metrics`` for Prometheus, ``/get_history`` for charts, ``/report`` for people."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from dataclasses import asdict
from typing import Annotated, Any, Final, Literal, Protocol, TypeVar

from fastapi import APIRouter, Query, Response
from pydantic.config import JsonDict

from serve_app.errors import InvalidInputError, NotReadyError
from serve_app.fleet_link import Watch
from telemetry.core.history import STEPS, TRACKS
from telemetry.prometheus import MEDIA_TYPE

logger = logging.getLogger(__name__)

T = TypeVar("T")
_MEDIA_TYPES = {"html": "text/html; charset=utf-8", "md": "text/markdown; charset=utf-8"}
# The page carries its own script and charts and needs nothing from anywhere.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; base-uri 'none'; form-action 'none'"
)
# Told only: what is not among them is refused by the watch, in words of its own.
_TRACKS: JsonDict = {"enum": [track.name for track in TRACKS]}
_STEPS: JsonDict = {"enum": [step.step_s for step in STEPS]}
_ANSWERS: dict[int | str, dict[str, Any]] = {503: {"description": "The watch does not answer."}}
_TEXT: Final = {"schema": {"type": "string"}}
_METRICS: Final[dict[int | str, dict[str, Any]]] = {200: {"content": {MEDIA_TYPE: _TEXT}}}
_REPORTS: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": dict.fromkeys(_MEDIA_TYPES.values(), _TEXT)},
    **_ANSWERS,
}
_NO_WATCH = "Nobody watches the fleet here, so there is no history and no report."


class Fleet(Protocol):
    """What these routes stand on; :class:`serve_app.fleet_link.FleetLink` in production."""

    @property
    def watch(self) -> Watch | None:
        """The fleet's watch, or None."""
        ...

    async def metrics(self) -> str:
        """The fleet in Prometheus' text format."""
        ...


def router(fleet: Fleet) -> APIRouter:
    """The routes over a fleet."""
    routes = APIRouter()

    @routes.get("/metrics", response_class=Response, responses=_METRICS)
    async def metrics() -> Response:
        """Cards, replicas and requests for Prometheus; METRICS.md names them."""
        return Response(await fleet.metrics(), media_type=MEDIA_TYPE)

    @routes.get("/get_history", responses=_ANSWERS)
    async def get_history(
        uuid: Annotated[list[str], Query(min_length=1, max_length=64, description="Cards")],
        track: Annotated[str, Query(description="Signal", json_schema_extra=_TRACKS)] = "temp_c",
        step: Annotated[
            int, Query(description="Length of a window, s", json_schema_extra=_STEPS)
        ] = 10,
        since: Annotated[float, Query(description="Unix time, s", allow_inf_nan=False)] = 0.0,
    ) -> dict[str, Any]:
        """Minimum, mean and maximum of a signal over windows of a card's last day."""
        watch = _watch(fleet)
        try:
            found = await _asked(watch.windows(tuple(uuid), track, step, since))
        except ValueError as error:
            # Ray's own text is the actor's trace; the cause is what the watch said.
            raise InvalidInputError(str(getattr(error, "cause", error)), "track") from error
        return {
            "track": track,
            "step_s": step,
            "cards": {card: [asdict(one) for one in windows] for card, windows in found.items()},
        }

    @routes.get("/report", response_class=Response, responses=_REPORTS)
    async def report(
        kind: Annotated[Literal["html", "md"], Query(alias="format")] = "html",
        hours: Annotated[float, Query(ge=0.01, le=24, allow_inf_nan=False)] = 24.0,
        language: Literal["en", "zh"] = "en",
    ) -> Response:
        """The fleet's health report about the last hours."""
        text = await _asked(_watch(fleet).report(hours, language, as_html=kind == "html"))
        headers = {"content-security-policy": _POLICY, "x-content-type-options": "nosniff"}
        return Response(text, media_type=_MEDIA_TYPES[kind], headers=headers)

    return routes


def _watch(fleet: Fleet) -> Watch:
    if fleet.watch is None:
        raise NotReadyError(_NO_WATCH)
    return fleet.watch


async def _asked(question: Awaitable[T]) -> T:
    """The watch's answer.

    Raises:
        ValueError: The question is wrong.
        NotReadyError: The watch does not answer.
    """
    try:
        return await question
    except Exception as error:
        if isinstance(error, ValueError):
            raise
        logger.warning("the fleet's watch does not answer: %s", type(error).__name__)
        raise NotReadyError("The fleet's watch does not answer; try again shortly.") from error
