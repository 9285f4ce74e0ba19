"""A replica's start inside its Ray process: its engine, its card, its node's telemetry."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial

import ray
from ray import serve

from serve_app.capacity import load_name
from serve_app.config import Settings
from serve_app.engines.base import Chunk, SpeakTask
from serve_app.engines.registry import create
from serve_app.errors import CardPausedError
from serve_app.gather import gathered
from serve_app.permit import Permit, Refused, TakeBatch
from serve_app.pieces import TakeItem
from serve_app.replica import ReplicaIdentity, ReplicaInfo, Speaker
from serve_app.watching import telemetry_config
from telemetry import logs
from telemetry.actor import ensure_actor
from telemetry.card_spans import CardSpans
from telemetry.node_link import NodeLink, NodeSearch, assigned_card
from telemetry.otel import Metrics, flush_spans, start_metrics
from telemetry.speech_metrics import NoSynthesisHook, SynthesisMetrics

logger = logging.getLogger(__name__)

_LOAD_PERIOD_S = 5.0
_BATCH_BYTES = 256 * 1024
"""Of PCM in one item of a stream between processes: about five seconds."""


class RunningReplica:
    """A speaker with what it needs in this process; made by :func:`start_replica`.

    Args:
        speaker: Speaks.
        link: The speaker's line to its node.
        search: Connects the line, and again if its node's telemetry was made anew.
        metrics: Its exporter, or None where nothing is exported.
    """

    def __init__(
        self, speaker: Speaker, link: NodeLink, search: NodeSearch, metrics: Metrics | None
    ) -> None:
        self.speaker, self._link, self._search, self._metrics = speaker, link, search, metrics
        self._background = (
            asyncio.create_task(self._report_load()),
            asyncio.create_task(speaker.permit.follow()),
        )

    @property
    def info(self) -> ReplicaInfo:
        """Engine, card and slots."""
        return self.speaker.info

    async def speak(self, task: SpeakTask) -> AsyncGenerator[TakeBatch, None]:
        """Speak one segment, or refuse it.

        Raises:
            ServeError: As the engine's.
        """
        spoken = gathered(self._spoken(task), _size_bytes, _BATCH_BYTES)
        async with aclosing(spoken) as batches:
            async for batch in batches:
                yield batch

    async def _spoken(self, task: SpeakTask) -> AsyncGenerator[TakeItem | Refused, None]:
        try:
            async with aclosing(self.speaker.speak(task)) as items:
                async for item in items:
                    yield item
        except CardPausedError as error:
            yield Refused(self.info.identity.replica, error.message)

    async def close(self) -> None:
        """Stop the engine and flush what is still to be exported; bounded."""
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self.speaker.close()
        self._link.flush()
        await asyncio.to_thread(flush_spans)
        if self._metrics is not None:
            await asyncio.to_thread(self._metrics.close)

    async def _report_load(self) -> None:
        while True:
            if not self._link.connected and await self._search.connect(self._link):
                self.speaker.on_card(self._link.card_uuid)
            self.speaker.report_load()
            await asyncio.sleep(_LOAD_PERIOD_S)


def _size_bytes(item: TakeItem | Refused) -> int:
    return len(item.pcm) if isinstance(item, Chunk) else 0


async def start_replica(settings: Settings) -> RunningReplica:
    """Make the engine, find the card, speak a test sentence.

    Raises:
        ConfigError: The engine can't be made on this machine.
        EngineError, BadAudioError: It does not speak; Serve tries again, a bounded number of times.
    """
    logs.install()
    engine = await asyncio.to_thread(create, settings.engine.kind, settings.engine_options)
    context = serve.get_replica_context()
    replica = context.replica_id.unique_id
    # Nodes hear of the replicas of all applications; each ingress counts its own.
    reporter = load_name(context.app_name, replica)
    node = ray.get_runtime_context().get_node_id()
    card = await asyncio.to_thread(assigned_card) if settings.cards == "nvml" else None
    metrics = start_metrics(f"replica-{replica}", {"ray.node_id": node})
    link = NodeLink(None, reporter, card, tuple if metrics is None else metrics.exports)
    simulated_card = settings.cards == "simulated"
    ensure = partial(ensure_actor, node, telemetry_config(settings))
    search = NodeSearch(ensure, simulated=simulated_card)
    await search.connect(link)
    # A card whose guard is not there yet has one all the same: nobody's word eases it.
    guarded = simulated_card or card is not None
    period_s = settings.telemetry.sample_period_s
    identity = ReplicaIdentity(
        replica=replica,
        node=node,
        card_uuid=link.card_uuid,
        simulated=simulated_card or engine.info.name == "simulated",
    )
    speaker = Speaker(
        engine,
        identity,
        link,
        NoSynthesisHook() if metrics is None else SynthesisMetrics(metrics.meter),
        permit=Permit(link.permit if guarded else None),
        card=CardSpans(link.card_over, period_s=period_s) if guarded else None,
    )
    try:
        await speaker.warm_up()
    except BaseException:
        await speaker.close()
        raise
    logger.info("replica %s speaks with %s on card %s", replica, engine.info.model, link.card_uuid)
    return RunningReplica(speaker, link, search, metrics)
