"""The runner as a deployment: the same calls and errors over a handle as in one process."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray import serve

from serve_app.config import SpeechSettings
from serve_app.core.job_status import Status
from serve_app.engines.base import SpeakTask
from serve_app.errors import InvalidInputError, NotFoundError
from serve_app.jobs import rayjobs
from serve_app.jobs.bounds import job_rules
from serve_app.jobs.deployment import Jobs
from serve_app.jobs.handle import JobsHandle
from serve_app.jobs.hearing import Ears
from serve_app.jobs.order import JobOrder
from serve_app.jobs.settings import AsrSettings, JobSettings
from serve_app.permit import TakeBatch
from serve_app.replica import ReplicaInfo
from tests.unit.job_scene import FAST, TEXT, Cards
from tests.unit.test_hearing import stub_ears

ARGS = {"engine": {"kind": "simulated"}, "cards": "none", "replicas": 2}


@serve.deployment(name="Synth")
class Synth:
    """Simulated cards in place of the replicas."""

    def __init__(self) -> None:
        self._cards = Cards([FAST] * 2)

    async def speak(
        self, task: SpeakTask, _refused: tuple[str, ...] = ()
    ) -> AsyncGenerator[TakeBatch, None]:
        async for item in self._cards.speak(task):
            yield (item,)

    async def describe(self) -> ReplicaInfo:
        return self._cards.describe()


def runner(jobs: dict[str, object]) -> Any:
    """The runner with the stand-in bound to it; Ray adds ``bind`` and tells no types of it."""
    deployment: Any = Jobs
    synth: Any = Synth
    return deployment.bind(synth.bind(), ARGS, jobs, 2)


class Node:
    """What Ray would tell of this process; asking Ray itself would start a cluster here."""

    def get_node_id(self) -> str:
        return "here"


async def test_jobs_over_a_handle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "get_runtime_context", Node)
    application = runner({"store": str(tmp_path), "cache_gib": 0.1})
    bound = serve.run(application, name=uuid.uuid4().hex, _local_testing_mode=True)
    handle = JobsHandle(bound)
    view = await handle.submit(JobOrder(TEXT))
    kinds = set()
    async for event in handle.events(view.id):
        kinds.add(event.kind)
        if (await handle.get(view.id)).status is Status.COMPLETE:
            break
    assert "snapshot" in kinds
    blocks = [block async for block in handle.audio(view.id)]
    segments = await handle.segments(view.id)
    assert len(blocks) > 5
    assert sum(map(len, blocks)) / 48_000 == pytest.approx(segments[-1].end_s)
    with pytest.raises(InvalidInputError, match="takes no 'pause'"):
        await handle.pause(view.id)
    with pytest.raises(NotFoundError):
        await handle.get("job_nobody")
    await handle.report("here", 1)
    await handle.reading(view.id, "a file")
    assert (await handle.retry(view.id, 0)).edition == 1
    assert [job.id for job in await handle.list()] == [view.id]
    await bound.options(method_name="__del__").remote()  # as Serve does at a shutdown
    (owner,) = (tmp_path / "owner").iterdir()
    assert json.loads(owner.read_text())["released"]
    assert not ray.is_initialized()


async def test_the_runner_hears_back_what_it_spoke_if_it_is_told_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[AsrSettings] = []

    def stub(asr: AsrSettings) -> Ears:
        told.append(asr)
        return stub_ears(tmp_path)

    monkeypatch.setattr(ray, "get_runtime_context", Node)
    monkeypatch.setattr(rayjobs, "ears", stub)
    asr = {"model": "m", "processes": 2}
    application = runner({"store": str(tmp_path / "store"), "asr": asr})
    bound = serve.run(application, name=uuid.uuid4().hex, _local_testing_mode=True)
    handle = JobsHandle(bound)
    view = await handle.submit(JobOrder("Hello there."))
    async for _ in handle.events(view.id):
        view = await handle.get(view.id)
        if view.status.ended:
            break
    assert told == [AsrSettings(model="m", processes=2)]
    assert (view.status, view.warnings) == (Status.COMPLETE, ())
    assert (tmp_path / "Hello there.").exists()  # so the process was asked for it
    await bound.options(method_name="__del__").remote()


def test_settings_are_strict_and_make_the_bounds() -> None:
    settings = JobSettings(store="memory://x", max_age_days=2, max_gib=1, target_lufs=-23)
    rules = job_rules(settings, SpeechSettings(takes=2))
    assert (rules.max_age_s, rules.max_bytes, rules.speaking.takes) == (172_800, 2**30, 2)
    assert (rules.target_lufs, JobSettings().target_lufs) == (-23, -16)
    for wrong in (-41, -8, float("nan")):
        with pytest.raises(ValueError, match="target_lufs"):
            JobSettings(target_lufs=wrong)
    with pytest.raises(ValueError, match="extra"):
        JobSettings.model_validate({"stor": "x"})
