"""``vibevoice-serve check-gpu``: figures, metering, speaking, the report and the command."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from serve_app.checkup.check import NO_CARD as NO_CARD_REASON
from serve_app.checkup.check import Place, Plan, Progress, check, switches
from serve_app.checkup.commands import TEST_SCRIPT
from serve_app.checkup.meter import CardMeter, Tally
from serve_app.checkup.session import slot_counts
from serve_app.checkup.speak import speak_all
from serve_app.checkup.tasks import check_tasks
from serve_app.cli import app
from serve_app.config import load_serve_file
from serve_app.core.audio import bytes_from_pcm
from serve_app.core.check import CardUse, Take, compare, speed, statement
from serve_app.core.check_page import NO_CARD, page
from serve_app.core.machine import Card, Driver
from serve_app.engines.base import Chunk, Engine, EngineInfo, Line, SpeakTask, SpeechEnd, Voice
from serve_app.engines.registry import create
from serve_app.errors import ConfigError
from telemetry.core.sample import CardSample
from telemetry.core.window import AgedSample, Totals
from telemetry.snapshot import NodeSnapshot
from tests.driver.build import build, cards, environment, write_state

ROOT = Path(__file__).parents[2]
INFO = EngineInfo("vibevoice", "m", "r", (Voice("a", "a", ()), Voice("b", "b", ())), 7.5)
SAMPLE = CardSample(100.0, 0, "GPU-a", "H100", simulated=False)


def pcm(*samples: int) -> bytes:
    return bytes_from_pcm(np.array(samples, np.int16))


def second(value: int = 100, seconds: float = 1.0) -> bytes:
    return pcm(*[value] * round(24_000 * seconds))


class TestSpeed:
    def test_by_hand(self) -> None:
        takes = (
            Take(1, second(seconds=3), 2.0, first_audio_s=0.2, tokens=100, frames=22),
            Take(2, second(seconds=1), 1.0, first_audio_s=0.6, tokens=50, frames=8, cut_off=True),
            Take(3, second(), 9.0, first_audio_s=5.0, error="engine_out_of_memory: full"),
        )
        found = speed(takes, slots=4, slots_at_end=2, wall_s=2.0)
        assert (found.audio_s, found.real_time_factor, found.audio_s_per_s) == (4.0, 0.5, 2.0)
        assert (found.first_audio_median_s, found.first_audio_max_s) == (0.4, 0.6)
        assert (found.frames_per_s, found.tokens_per_s) == (15.0, 90.0)
        assert (found.segments, found.cut_off) == (2, 1)
        assert found.failed == ("segment 3: engine_out_of_memory: full",)

    def test_nothing_spoken_is_nothing_measured(self) -> None:
        found = speed((Take(1, b"", 3.0, error="broken"),), 1, 1, wall_s=3.0)
        untold = {name.name for name in fields(found) if getattr(found, name.name) is None}
        assert untold == {
            *("real_time_factor", "audio_s_per_s", "frames_per_s", "tokens_per_s"),
            *("first_audio_median_s", "first_audio_max_s"),
        }


class TestComparison:
    def test_the_same_bytes(self) -> None:
        takes = [Take(1, second(), 1.0), Take(2, second(7), 1.0)]
        found = compare(takes, takes, slots=8)
        assert found is not None
        assert (found.identical, found.segments, found.worst, found.worst_rms) == (2, 2, 0.0, 0.0)
        assert "2 of 2" in statement(found, "float32")
        assert "look into it" not in statement(found, "float32")

    @given(
        st.lists(st.integers(-32_768, 32_767), min_size=1, max_size=50),
        st.integers(0, 49),
        st.integers(1, 1000),
    )
    def test_one_sample_that_differs_is_seen(self, samples: list[int], at: int, by: int) -> None:
        other = list(samples)
        at %= len(samples)
        other[at] += by if other[at] + by <= 32_767 else -by
        found = compare([Take(1, pcm(*samples), 1.0)], [Take(1, pcm(*other), 1.0)], slots=2)
        assert found is not None
        assert found.identical == 0
        assert found.worst is not None
        assert found.worst_rms is not None
        loudest = max(map(abs, samples))
        assert found.worst == (pytest.approx(by / loudest) if loudest else float("inf"))
        assert found.worst_rms > 0
        assert "look into it" in statement(found, "float32")
        assert "no bar" in statement(found, "bfloat16")

    def test_another_length_is_told_and_failures_are_left_out(self) -> None:
        alone = [Take(1, pcm(1, 2), 1.0), Take(2, pcm(1), 1.0, error="x"), Take(3, pcm(5), 1.0)]
        batch = [Take(1, pcm(1, 2, 3), 1.0), Take(2, pcm(1), 1.0), Take(3, b"", 1.0, error="y")]
        found = compare(alone, batch, slots=2)
        assert found is not None
        assert (found.segments, found.other_length, found.worst) == (1, 1, None)
        assert "1 have another length" in statement(found, None)
        assert compare(alone[1:2], batch, slots=2) is None
        assert "Not compared" in statement(None, None)


def sample(at_s: float, **values: Any) -> CardSample:
    return replace(SAMPLE, timestamp=100.0 + at_s, **values)


class TestTally:
    def test_by_hand(self) -> None:
        tally = Tally()
        for at_s, mem, heat, held in ((0, 10, 50, ("idle",)), (1, 30, 61, ("power_cap",)),
                                      (2, 20, 60, ())):  # fmt: skip
            tally.add(
                sample(at_s, mem_used_bytes=mem, temp_c=float(heat), power_w=100.0 + 100 * at_s,
                       energy_j=1000.0 + 150 * at_s, throttle=held)
            )  # fmt: skip
        use = tally.use()
        assert (use.mem_before_bytes, use.mem_peak_bytes, use.mem_after_bytes) == (10, 30, 20)
        assert (use.temp_start_c, use.temp_max_c, use.power_mean_w) == (50.0, 61.0, 200.0)
        assert (use.energy_j, use.energy_from, use.metered_s) == (300.0, "counter", 2.0)
        assert use.throttle == ("power_cap",)
        assert use.throttled_share == pytest.approx(1 / 3)
        assert use.missing == {}

    @given(st.lists(st.floats(1, 700), min_size=2, max_size=20), st.floats(0.05, 2.0))
    def test_energy_from_power_where_there_is_no_counter(
        self, watts: list[float], period_s: float
    ) -> None:
        tally = Tally()
        for at, power_w in enumerate(watts):
            tally.add(sample(at * period_s, power_w=power_w))
        use = tally.use()
        times = 100.0 + np.arange(len(watts)) * period_s
        assert use.energy_j == pytest.approx(np.trapezoid(watts, times), rel=1e-6)
        assert use.energy_from == "power"

    def test_what_the_card_does_not_tell_has_its_reason(self) -> None:
        tally = Tally()
        assert tally.use() == CardUse(0, 0.0, missing={"card": "no sample came while it ran"})
        tally.add(sample(0))
        use = tally.use()
        untold = {one.name for one in fields(use) if getattr(use, one.name) is None}
        assert untold - {"energy_from", "throttled_share"} == set(use.missing)
        assert "single reading" in use.missing["energy_j"]


class Watch:
    """Cards whose samples come as they are asked for."""

    def __init__(self, *samples: CardSample) -> None:
        self.samples = list(samples)

    async def snapshot(self, _node: str, since: float | None) -> NodeSnapshot:
        later = tuple(one for one in self.samples if since is None or one.timestamp > since)
        newest = {one.uuid: one for one in self.samples}
        latest = tuple(AgedSample(one, 0.0) for one in newest.values())
        return NodeSnapshot("n", "h", 0.0, "nvml", later, latest, (), Totals(), (), ())


class TestMeter:
    async def test_counts_each_sample_of_its_card_once(self) -> None:
        watch = Watch(sample(-5, mem_used_bytes=99))
        meter = CardMeter(watch, "GPU-a", poll_s=0.001, wall=lambda: 100.0)
        async with meter.metering() as tally:
            for at in range(1, 4):
                watch.samples.append(sample(at, mem_used_bytes=at))
                watch.samples.append(replace(sample(at, mem_used_bytes=50), uuid="GPU-b"))
                await asyncio.sleep(0.01)
            watch.samples.append(sample(9, mem_used_bytes=4))
        use = tally.use()
        assert (use.samples, use.mem_before_bytes, use.mem_peak_bytes) == (4, 1, 4)

    async def test_an_unnamed_card_counts_only_if_it_is_the_only_one(self) -> None:
        watch = Watch(sample(1))
        meter = CardMeter(watch, None, wall=lambda: 100.0)
        async with meter.metering() as tally:
            pass
        assert tally.use().samples == 1
        watch.samples.append(replace(sample(2), uuid="GPU-b"))
        async with meter.metering() as tally:
            pass
        assert tally.use().samples == 0


class TestTasks:
    @given(st.floats(2, 90), st.integers(1, 12))
    def test_all_of_the_script_in_order_again_and_again(self, segment_s: float, count: int) -> None:
        text = TEST_SCRIPT.read_text(encoding="utf-8")
        tasks = check_tasks(text, INFO, count, segment_s)
        assert len(tasks) == count
        assert [task.seed for task in tasks] == list(range(count))
        assert all(task.est_s <= segment_s + 1 for task in tasks)
        whole = check_tasks(text, INFO, 200, segment_s)
        said = " ".join(line.text for task in whole for line in task.lines)
        spoken = " ".join(line.partition(": ")[2] for line in text.splitlines() if line)
        assert said.startswith(f"{spoken} {spoken}"[: len(said)])
        assert {line.voice for task in whole for line in task.lines} == {"a", "b"}

    def test_the_test_voice_stands_in_and_no_voice_is_refused(self) -> None:
        mute = replace(INFO, voices=())
        spare = replace(mute, test_voice="test-voice")
        (task,) = check_tasks("Hello.", spare, 1, 30.0)
        assert task.lines == (Line("Narrator", "test-voice", "Hello."),)
        with pytest.raises(ConfigError, match="no voice"):
            check_tasks("Hello.", mute, 1, 30.0)


class Counting:
    """An engine that counts who speaks; the tag of a task tells it what to do."""

    def __init__(self) -> None:
        self.info, self.slots, self.now, self.most = INFO, 1, 0, 0

    async def close(self) -> None:
        pass

    def set_slots(self, slots: int) -> None:
        self.slots = slots

    def check(self, lines: tuple[Line, ...]) -> None:
        pass

    async def health(self) -> None:
        pass

    async def speak(self, task: SpeakTask) -> AsyncGenerator[Chunk | SpeechEnd, None]:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(0)
            yield Chunk(second())
            if task.tag == 1:
                raise RuntimeError("CUDA error: an illegal memory access")
            if task.tag == 2:
                await asyncio.Event().wait()
            yield SpeechEnd("length" if task.tag == 3 else "stop", 10, 7)
        finally:
            self.now -= 1


def tasks(*tags: int) -> list[SpeakTask]:
    return [SpeakTask(str(at), (Line("A", "a", "x"),), at, 1.0, tag=t) for at, t in enumerate(tags)]


class TestSpeaking:
    @pytest.mark.parametrize("slots", [1, 3, 8])
    async def test_so_many_at_once_in_order(self, slots: int) -> None:
        engine = Counting()
        ticks: Iterator[int] = iter(range(1000))
        spoken = await speak_all(engine, tasks(*[0] * 6), slots, clock=lambda: float(next(ticks)))
        assert engine.most == min(slots, 6)
        assert [take.number for take in spoken.takes] == [1, 2, 3, 4, 5, 6]
        assert spoken.wall_s >= max(take.wall_s for take in spoken.takes) > 0
        assert all(take.first_audio_s and take.first_audio_s > 0 for take in spoken.takes)

    async def test_whatever_happens_to_one_is_told_and_the_others_go_on(self) -> None:
        engine = Counting()
        spoken = await speak_all(engine, tasks(1, 2, 3, 0), 2, clock=lambda: 0.0, timeout_s=0.05)
        broken, hung, cut, well = spoken.takes
        assert "illegal memory access" in (broken.error or "")
        assert hung.error == "nothing came for 0.05 s"
        assert (cut.cut_off, cut.error, cut.frames) == (True, None, 7)
        assert (well.cut_off, well.error, well.tokens) == (False, None, 10)
        assert engine.now == 0


class Peak:
    """Memory that was reset, and then has a peak."""

    def __init__(self) -> None:
        self.resets = 0

    def reset(self) -> None:
        self.resets += 1

    def peak_bytes(self) -> int:
        return self.resets * 2**30


SIMULATED: Mapping[str, Any] = {
    "slots": 4, "first_chunk_s": 0.0, "real_time_factor": 0.0, "length_jitter": 0.2,
}  # fmt: skip


async def run(place: Place, options: Mapping[str, Any] = SIMULATED) -> list[Progress]:
    plan = Plan("simulated", options, (1, 2, 4), "A: Good morning.\nB: Is it?", 5, 4.0)
    noon = datetime(2026, 1, 2, 12, tzinfo=UTC)
    async with aclosing(check(plan, place, now=lambda: noon)) as runs:
        return [progress async for progress in runs]


class TestCheck:
    async def test_on_a_card_all_is_measured(self) -> None:
        told = {"mem_used_bytes": 3 * 2**30, "temp_c": 60.0, "power_w": 300.0, "throttle": ()}
        watch = Watch(*(sample(at, energy_j=50.0 * at, **told) for at in range(1, 4)))
        meter = CardMeter(watch, "GPU-a", wall=lambda: 100.0)
        card = Card(0, "GPU-a", "NVIDIA H100")
        place = Place(Driver("575", "12.9"), card, True, meter, Peak(), "12.8")
        done = await run(place)
        report = done[-1].report
        assert [run.speed.slots for run in report.runs] == [1, 2, 4]
        assert {run.speed.segments for run in report.runs} == {5}
        assert [run.torch_peak_bytes for run in report.runs] == [2**30, 2 * 2**30, 3 * 2**30]
        assert all(run.card and run.card.energy_j == 100.0 for run in report.runs)
        assert all(run.missing == {} for run in report.runs)
        assert report.comparisons[-1].identical == 5
        text = page(report)
        assert text.startswith("# ")
        assert "on NVIDIA H100" in text.splitlines()[0]
        assert "NO CARD" not in text
        assert "Not measured" not in text
        assert report.to_json()["notice"] is None
        assert report.to_json()["runs"][0]["joules_per_audio_s"] == pytest.approx(
            100.0 / report.runs[0].speed.audio_s
        )

    async def test_without_one_nothing_of_a_card_is_told(self) -> None:
        report = (await run(Place(Driver(missing="none"), None, False, None, None, None)))[
            -1
        ].report
        body = json.loads(json.dumps(report.to_json()))
        assert body["notice"] == NO_CARD
        for told in body["runs"]:
            assert told["card"] is told["torch_peak_bytes"] is told["joules_per_audio_s"] is None
            assert told["missing"] == {"card": NO_CARD_REASON, "torch_peak_bytes": NO_CARD_REASON}
        text = page(report)
        assert text.index(NO_CARD) < text.index("##")
        assert "None" not in text
        assert "## Card" not in text

    async def test_failed_segments_are_named_and_not_counted(self) -> None:
        faults = [{"kind": "oom", "text": "Good"}]
        place = Place(Driver(), None, False, None, None, None)
        report = (await run(place, {**SIMULATED, "faults": faults}))[-1].report
        (first, *_) = report.runs
        assert first.speed.segments + len(first.speed.failed) == 5
        assert first.speed.failed
        assert "engine_out_of_memory" in page(report)

    @pytest.mark.parametrize("switch", [None, "cuda_graphs", "torch_compile"])
    async def test_what_costs_time_once_is_not_measured(
        self, switch: str | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A recorded or compiled run is spoken as a whole before, within the engine's room."""
        engine = Counting()
        engine.slots = 3
        spoken: list[int] = []

        def counted(engine: Any, tasks: Sequence[SpeakTask], *args: Any, **kwargs: Any) -> Any:
            spoken.append(len(tasks))
            return speak_all(engine, tasks, *args, **kwargs)

        for module in ("check", "speak"):
            monkeypatch.setattr(f"serve_app.checkup.{module}.speak_all", counted)
        monkeypatch.setattr("serve_app.checkup.check.create", lambda *_: engine)
        done = await run(Place(Driver(), None, False, None, None, None), {switch or "steps": True})
        assert [each.speed.slots for each in done[-1].report.runs] == [1, 2, 3]
        assert "4 slots: the engine has room for 3" in page(done[-1].report)
        assert engine.most == 3
        assert spoken == ([5, 5] * 3 if switch else [1, 5, 2, 5, 3, 5])

    async def test_the_engine_is_closed_whatever_happens(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made: list[Engine] = []
        closed: list[bool] = []

        def watched(kind: str, options: Mapping[str, Any]) -> Engine:
            engine = create(kind, options)
            stock_close = engine.close

            async def close() -> None:
                closed.append(True)
                await stock_close()

            monkeypatch.setattr(engine, "close", close)
            made.append(engine)
            return engine

        monkeypatch.setattr("serve_app.checkup.check.create", watched)
        plan = Plan("simulated", SIMULATED, (1,), "Hello.", 1, 4.0)
        place = Place(Driver(), None, False, None, None, None)
        async with aclosing(check(plan, place)) as runs:
            await anext(runs)
        assert len(made) == len(closed) == 1


def test_a_report_holds_no_keys_of_a_store() -> None:
    options = {"steps": 10, "library": "s3://b/v", "library_storage": {"secret": "hunter2"}}
    assert switches(options) == {"steps": 10, "library": "s3://b/v"}


def test_slots_are_rising_and_begin_with_one() -> None:
    assert slot_counts("8, 2,2") == (1, 2, 8)
    for wrong in ("", "0", "two", "65", "-1"):
        with pytest.raises(ConfigError, match="--slots"):
            slot_counts(wrong)


@pytest.fixture
def tiny_config(tmp_path: Path) -> Path:
    """The vibevoice engine over the tiny model."""
    pytest.importorskip("torch")
    from tests.tiny_vibevoice import checkpoint, voice

    recordings = {}
    for number in (1, 2):
        path = tmp_path / f"voice-{number}.wav"
        soundfile.write(path, voice(number, 2.0), 24_000)
        recordings[f"voice-{number}"] = str(path)
    options = {"model": str(checkpoint()), "voices": recordings, "steps": 3, "threads": 1}
    args = {"engine": {"kind": "vibevoice", "options": options}, "cards": "none"}
    application = {"name": "a", "import_path": "serve_app.app:build", "args": args}
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps({"applications": [application]}), encoding="utf-8")
    return config


class TestCommand:
    def test_the_tiny_model_on_the_cpu(self, tiny_config: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        asked = ["--slots", "1,3", "--segments", "4", "--segment-s", "3", "--allow-cpu"]
        done = CliRunner().invoke(
            app, ["check-gpu", "--config", str(tiny_config), "-o", str(out), *asked]
        )
        assert done.exit_code == 0, done.output
        assert "NO CARD" in done.output
        body = json.loads((out / "report.json").read_text(encoding="utf-8"))
        assert body["notice"] == NO_CARD
        assert body["on_card"] is False
        assert body["model"]["dtype"] == "float32"
        assert body["switches"]["device"] == "cpu"
        assert [told["speed"]["slots"] for told in body["runs"]] == [1, 3]
        assert {told["card"] for told in body["runs"]} == {None}
        (compared,) = body["comparisons"]
        assert (compared["segments"], compared["identical"], compared["worst"]) == (4, 4, 0.0)
        for told in body["runs"]:
            files = sorted((out / f"slots-{told['speed']['slots']}").glob("*.wav"))
            lengths_s = [soundfile.info(path).duration for path in files]
            assert len(files) == 4
            assert sum(lengths_s) == pytest.approx(told["speed"]["audio_s"])
            assert soundfile.info(files[0]).samplerate == 24_000
        text = (out / "report.md").read_text(encoding="utf-8")
        assert text.index(NO_CARD) < text.index("## Speed")

    def test_without_a_card_it_refuses(self, tiny_config: Path) -> None:
        import torch

        if torch.cuda.is_available():
            pytest.skip("this machine has a card")
        done = CliRunner().invoke(app, ["check-gpu", "--config", str(tiny_config)])
        assert isinstance(done.exception, ConfigError)
        assert "No card to check" in str(done.exception)
        assert "--allow-cpu" in str(done.exception)

    def test_the_production_config_names_the_command_for_its_weights(self, tmp_path: Path) -> None:
        """And starts once they are there."""
        pytest.importorskip("torch")
        from tests.tiny_vibevoice import checkpoint

        path = ROOT / "configs" / "vibevoice-1.5b.yaml"
        asked = ["check-gpu", "--config", str(path), "-o", str(tmp_path), "--allow-cpu"]
        done = CliRunner().invoke(app, asked)
        assert isinstance(done.exception, ConfigError)
        command = r"'hf download \S+ --revision COMMIT --local-dir /models/VibeVoice-1.5B-hf'"
        assert re.search(command, str(done.exception))
        options = load_serve_file(path).settings.engine_options
        there = {"model": str(checkpoint()), "library": str(tmp_path), "device": "cpu"}
        engine = create("vibevoice", {**options, **there})
        assert (engine.slots, engine.info.voices, bool(engine.info.test_voice)) == (4, (), True)
        asyncio.run(engine.close())

    def test_another_engine_is_refused(self) -> None:
        path = str(ROOT / "configs" / "local.yaml")
        done = CliRunner().invoke(app, ["check-gpu", "--config", path])
        assert "piper" in str(done.exception)

    def test_the_card_of_torch_is_found_by_the_driver(self, tmp_path: Path) -> None:
        """torch's word on cards is replaced; the driver is the stand-in."""
        pytest.importorskip("torch")
        state = tmp_path / "cards.state"
        write_state(state, cards(2))
        uuid = cards(2)[1].uuid
        program = f"""
import asyncio, json, types, torch
from dataclasses import asdict
from serve_app.checkup.place import chosen_place
torch.cuda.is_available = lambda: True
torch.cuda.device_count = lambda: 2
torch.cuda.current_device = lambda: 1
torch.cuda.get_device_properties = lambda at: types.SimpleNamespace(uuid={uuid[4:]!r})

async def metered(meter):
    async with meter.metering() as tally:
        await asyncio.sleep(0.7)
    return asdict(tally.use())

with chosen_place({{"device": "auto"}}, allow_cpu=False) as chosen:
    use = asyncio.run(metered(chosen.place.meter))
    print(json.dumps([chosen.place.on_card, chosen.place.card.uuid, chosen.options, use]))
"""
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=environment(build(tmp_path), state),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        on_card, found, options, use = json.loads(done.stdout)
        assert (on_card, found, options) == (True, uuid, {"device": "auto"})
        assert use["samples"] >= 2
        assert use["mem_peak_bytes"] == cards(2)[1].mem_used
        assert use["temp_max_c"] == float(cards(2)[1].temp)
        assert use["power_mean_w"] == pytest.approx(72.5)
